import { type Addition, after, before, copyOf, file, replace } from "./addition.ts";

/** The code of a device's argReduce under another name. */
const again = (path: string) => [
  ...copyOf(path),
  (text: string | undefined) => text!.replaceAll("argReduce", "argAgain"),
];

/** Positions of extremes, once more, as a kernel of its own with the op `argAgain`. */
export const kernel: Addition = {
  heading: "A fused kernel",
  files: {
    "tensor/kernels.ts": [
      after(
        `  argReduce: { op: "max" | "min"; x: View; out: View };\n`,
        `  /** As argReduce. */\n  argAgain: { op: "max" | "min"; x: View; out: View };\n`,
      ),
      after(
        `  argReduce: { arrays: { x: "read", out: "write" }, cut: [] },\n`,
        `  argAgain: { arrays: { x: "read", out: "write" }, cut: [] },\n`,
      ),
    ],
    "tensor/reference/arg_again.ts": file([
      `import type { KernelArgs } from "../kernels.ts";`,
      `import { argReduce, argReduceTrials } from "./reduce.ts";`,
      `import type { Trials } from "./trial.ts";`,
      `export const argAgain = (args: KernelArgs["argAgain"]): void => argReduce(args);`,
      `export const argAgainTrials: Trials<"argAgain"> = argReduceTrials;`,
    ].join("\n")),
    "tensor/reference/backend.ts": [
      before(
        `import {\n  argReduce,`,
        `import { argAgain, argAgainTrials } from "./arg_again.ts";\n`,
      ),
      before(
        `  argReduce: { run:`,
        `  argAgain: { run: argAgain, trials: argAgainTrials },\n`,
      ),
    ],
    "tensor/wasm/kernels/arg_again.ts": again("tensor/wasm/kernels/arg_reduce.ts"),
    "tensor/wasm/backend.ts": [
      after(
        `import { argReduce } from "./kernels/arg_reduce.ts";\n`,
        `import { argAgain } from "./kernels/arg_again.ts";\n`,
      ),
      replace(`  argReduce,\n`, `  argReduce,\n  argAgain,\n`),
    ],
    "tensor/webgpu/kernels/arg_again.ts": again("tensor/webgpu/kernels/arg_reduce.ts"),
    "tensor/webgpu/kernels/table.ts": [
      after(
        `import { argReduce } from "./arg_reduce.ts";\n`,
        `import { argAgain } from "./arg_again.ts";\n`,
      ),
      replace(`  argReduce,\n`, `  argReduce,\n  argAgain,\n`),
    ],
    "autograd/ops/reduce.ts": [
      replace(`  cumulate,\n`, `  cumulate,\n  dispatch,\n  empty,\n`),
      before(
        `/** Index (i32) of the first largest element along`,
        `/** Index (i32) of the first largest element along the middle axis of [O, R, I]: [O, I]. */
export function argAgain(x: Tensor): Tensor {
  const out = empty(x.device, "i32", [x.shape[0]!, x.shape[2]!], "argAgain");
  dispatch("argAgain", "argAgain", x.device, { op: "max", x, out });
  return out;
}

`,
      ),
    ],
  },
  tests: {
    "tensor/conformance/cases_reduce.ts": [
      before(
        `function runningSums(`,
        `/** Cases of argAgain. */
export function argAgainCases(): ConformanceCase[] {
  return [
    conformanceCase("argAgain", "max", { cost: 111 }, (f) => ({
      op: "max",
      x: f.input([3, 37, 5]),
      out: f.output("out", [3, 5], "i32"),
    })),
  ];
}

`,
      ),
    ],
    "tensor/conformance/suite.ts": [
      replace(
        `import { reduceCases }`,
        `import { argAgainCases, reduceCases }`,
      ),
      before(
        `    ...casesOf(["reduce", "argReduce"`,
        `    ...casesOf(["argAgain"], argAgainCases()),\n`,
      ),
    ],
  },
  proof: `
    const { KERNEL_NAMES, selfTest } = await load("tensor/mod.ts");
    for (const device of ["wasm", "reference"]) {
      const set = await core.init({ device });
      const out = core.argAgain(core.tensor([1, 5, 2], [1, 3, 1]));
      assert((await out.data())[0] === 1, "the largest is at 1 on " + device);
    }
    const { conformanceCases, runConformance } = await load("tensor/conformance/suite.ts");
    const { createWasmBackend } = await load("tensor/wasm/backend.ts");
    const wasm = await createWasmBackend({ threads: 1 });
    const cases = conformanceCases({ kernel: "argAgain" });
    assert(cases.length === 1, "the conformance suite has it");
    for (const each of cases) await runConformance(wasm, each);
    await wasm.dispose();
  `,
};
