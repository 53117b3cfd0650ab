/** The suite must see the faults it is for: each test here breaks the reference in one way. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Backend } from "../backend.ts";
import type { KernelArgs, KernelName } from "../kernels.ts";
import type { View } from "../view.ts";
import { type ConformanceCase, conformanceCases, runConformance } from "./suite.ts";
import { isFloat } from "../dtype.ts";
import { createReferenceBackend } from "../reference/backend.ts";
import { elementsOf } from "../reference/buffer.ts";

/** A case by its name. */
function caseNamed(kernel: KernelName, name: string): ConformanceCase {
  const found = conformanceCases({ kernel }).find((test) => test.name === name);
  if (!found) throw new Error(`there is no case ${kernel}: ${name}`);
  return found;
}

/** The reference with something done to its memory after each kernel. */
function faulty(spoil: (args: KernelArgs[KernelName]) => void): Backend {
  const backend = createReferenceBackend();
  const run = backend.run.bind(backend);
  return Object.assign(backend, {
    run<K extends KernelName>(kernel: K, args: KernelArgs[K], op: string): void {
      run(kernel, args, op);
      spoil(args);
    },
  });
}

const product = caseNamed("matmul", "17x29 . 29x33");
const outOf = (args: KernelArgs[KernelName]): View => (args as KernelArgs["matmul"]).out;

Deno.test("every kernel has cases, and no two of one kernel share a name", () => {
  const all = conformanceCases();
  const names = all.map(({ kernel, name }) => `${kernel}: ${name}`);
  assertEquals(new Set(names).size, names.length);
  const kernels = new Set(all.map(({ kernel }) => kernel));
  assertEquals([...createReferenceBackend().halfKernels].filter((k) => !kernels.has(k)), []);
  const small = new Set(conformanceCases({ maxCost: 20_000 }).map(({ kernel }) => kernel));
  assertEquals(small.size, kernels.size);
});

Deno.test("f16 cases are for kernels that read f16, and for elementwise always", () => {
  const halves = conformanceCases({ halfKernels: new Set() }).filter(({ half }) => half);
  assert(halves.length > 0);
  assert(halves.every(({ kernel }) => kernel === "elementwise"));
  const kernels = conformanceCases().filter(({ half }) => half).map(({ kernel }) => kernel);
  assert(kernels.includes("matmul"));
});

Deno.test("the reference conforms to itself", async () => {
  const backend = createReferenceBackend();
  for (const test of conformanceCases({ maxCost: 20_000 })) await runConformance(backend, test);
  assertEquals(backend.memory().reservedBytes, 0);
});

Deno.test("a wrong element is found and named", async () => {
  const backend = faulty((args) => elementsOf(outOf(args))[outOf(args).offset + 34]! += 0.01);
  const error = await assertRejects(() => runConformance(backend, product), Error);
  for (const part of ["matmul: 17x29 . 29x33: out", "[0, 0, 1, 1] of [1, 1, 17, 33]"]) {
    assert(error.message.includes(part), error.message);
  }
});

Deno.test("an element that was not written is found", async () => {
  const backend = faulty((args) => elementsOf(outOf(args))[outOf(args).offset + 560] = NaN);
  await assertRejects(() => runConformance(backend, product), Error, "got NaN");
});

Deno.test("writes before, after and between an output's elements are found", async () => {
  const window = caseNamed("elementwise", "f32 into columns");
  const firstOut = (args: KernelArgs[KernelName]) => (args as KernelArgs["elementwise"]).outs[0]!;
  for (const place of [-1, 9, 4 * 30 + 9]) {
    const backend = faulty((args) => {
      const out = firstOut(args);
      elementsOf(out)[out.offset + place] = 0;
    });
    await assertRejects(() => runConformance(backend, window), Error, "not its own");
  }
});

Deno.test("a kernel that changes what it only reads is found", async () => {
  const backend = faulty((args) => {
    const { a } = args as KernelArgs["matmul"];
    elementsOf(a)[a.offset + 3] = 0;
  });
  await assertRejects(() => runConformance(backend, product), Error, "input 0 changed from");
});

Deno.test("a case that takes an input for an output is refused, and the reverse", async () => {
  const backend = createReferenceBackend();
  const settings = { kernel: "softmax", cost: 1, half: false, tolerance: {}, lead: 0 } as const;
  const refused = async (build: ConformanceCase["build"], message: string) => {
    const error = await assertRejects(
      () => runConformance(backend, { ...settings, name: "wrong", build }),
      Error,
    );
    assert(error.message.includes(message), error.message);
  };
  const log = false;
  await refused((f) => ({ x: f.input([2, 3]), out: f.input([2, 3]), log }), "out is one of what");
  await refused((f) => {
    const x = f.input([2, 3]);
    f.output("more", [2, 3]);
    return { x, out: f.output("out", [2, 3]), log };
  }, "more is an output of the case but not of the kernel");
});

Deno.test("results that change from run to run are found", async () => {
  let launches = 0;
  const backend = faulty((args) => {
    elementsOf(outOf(args))[outOf(args).offset]! += 1e-9 * launches++;
  });
  await assertRejects(() => runConformance(backend, product), Error, "differs between two runs");
});

Deno.test("a sum of float32 numbers one by one is not good enough", async () => {
  const test = caseNamed("reduce", "sum of [1,262144,1], a tenth, over and over");
  const backend = faulty((args) => {
    const { ins: [x], out } = args as KernelArgs["reduce"];
    let sum = 0;
    for (let i = 0; i < x!.shape[1]!; i++) {
      sum = Math.fround(sum + elementsOf(x!)[x!.offset + i]!);
    }
    elementsOf(out)[out.offset] = sum;
  });
  await assertRejects(() => runConformance(backend, test), Error, "scaled error");
});

Deno.test("what float32 makes of every result is close enough", async () => {
  const backend = faulty((args) => {
    for (const view of (Object.values(args) as unknown[]).flat()) {
      if (typeof view !== "object" || view === null || !("buffer" in view)) continue;
      if (!isFloat((view as View).dtype)) continue;
      const data = elementsOf(view as View);
      for (let i = 0; i < data.length; i++) data[i] = Math.fround(data[i]!);
    }
  });
  for (const test of conformanceCases({ maxCost: 20_000 })) await runConformance(backend, test);
});
