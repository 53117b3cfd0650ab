import { assert, assertEquals } from "@std/assert";
import { conformanceCases, runConformance } from "../../conformance/suite.ts";
import { conformanceCase, normal } from "../../conformance/fixture.ts";
import type { AttentionCode } from "./attention_plan.ts";
import { ATTENTION_THREADS, planHead, stagedVectors } from "./attention_tile.ts";
import { gpuTest } from "../device/device_test_util.ts";
import type { Backend } from "../../backend.ts";
import { createWebGpuBackend, type WebGpuBackend } from "../backend.ts";
import { everyWebGpu } from "../../../tests/devices.ts";
import { attention } from "./attention.ts";
import { attentionGrad } from "./attention_grad.ts";
import { AttentionArrays } from "../tune/attention.ts";

const PLAIN: AttentionCode = { masked: false, unrolled: false, groups: 1 };
const FULL: AttentionCode = { masked: true, unrolled: true, groups: 2 };

Deno.test("planHead() covers heads of any depth within WebGPU's default limits", () => {
  for (let depth = 1; depth <= 512; depth++) {
    for (const code of [PLAIN, FULL]) {
      for (const most of [80, 128]) {
        const plan = planHead(depth, most, code);
        const { slice, chunks, eights, parts } = plan;
        assert(slice % 4 === 0 && slice <= 32 && eights <= 2);
        const columns = 32 * chunks + 8 * eights;
        assert(columns <= 128 && columns * parts >= depth);
        assert(parts === 1 || eights === 0);
        const { left, right } = stagedVectors(plan);
        assert((left + right + ATTENTION_THREADS) * 16 <= 16384, `${depth} ${code.groups} ${most}`);
      }
    }
  }
  const shape = (depth: number, code: AttentionCode) => {
    const { slice, chunks, eights, parts } = planHead(depth, 128, code);
    return { slice, chunks, eights, parts };
  };
  assertEquals(shape(64, PLAIN), { slice: 32, chunks: 2, eights: 0, parts: 1 });
  assertEquals(shape(72, PLAIN), { slice: 24, chunks: 2, eights: 1, parts: 1 });
  assertEquals(shape(72, FULL), { slice: 12, chunks: 2, eights: 1, parts: 1 });
  assertEquals(shape(512, PLAIN), { slice: 32, chunks: 4, eights: 0, parts: 4 });
});

const LARGER = ["wide heads", "many tokens"];

gpuTest("attention agrees with the reference over many tiles of queries and keys", async (b) => {
  const cases = [
    ...conformanceCases({ kernel: "attention" }),
    ...conformanceCases({ kernel: "attentionGrad" }),
  ].filter(({ name, half }) => !half && LARGER.some((l) => name.startsWith(l)));
  assertEquals(cases.length, 4);
  for (const test of cases) await runConformance(b, test);
});

gpuTest("attention over a head of 512 with other keys than queries agrees", (b) =>
  runConformance(
    b,
    conformanceCase("attention", "the head of a VAE", { tolerance: { scaled: 2e-5 } }, (f) => ({
      q: f.input([1, 1, 67, 512], normal()),
      k: f.input([1, 1, 41, 512], normal()),
      v: f.input([1, 1, 41, 512], normal()),
      scale: 512 ** -0.5,
      out: f.output("out", [1, 1, 67, 512]),
      stats: f.output("stats", [1, 1, 67, 2]),
    })),
  ));

/** The device with all kernels of attention written in one way. */
function withCode(b: WebGpuBackend, code: AttentionCode): Backend {
  const run: Backend["run"] = (kernel, args, op) => {
    if (kernel === "attention") {
      attention(b.runtime, args as Parameters<typeof attention>[1], op, code);
    } else if (kernel === "attentionGrad") {
      const plan = { queries: code, keys: code };
      attentionGrad(b.runtime, args as Parameters<typeof attentionGrad>[1], op, plan);
    } else b.run(kernel, args, op);
  };
  return new Proxy(b, {
    get(target, name) {
      if (name === "run") return run;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Software adapters take a minute to compile the code that is written out. */
const OTHERS: readonly AttentionCode[] = [
  { ...PLAIN, masked: true, groups: 2, kept: true },
  ...(everyWebGpu ? [FULL, { ...FULL, groups: 1 } as const] : []),
];

gpuTest("attention agrees with the reference however its kernels are written", async (b) => {
  const cases = conformanceCases().filter(({ kernel, name, half }) =>
    kernel.startsWith("attention") &&
    (everyWebGpu || !half && (name.startsWith("wide heads") || name.startsWith("odd offsets")))
  );
  for (const code of OTHERS) {
    for (const test of cases) await runConformance(withCode(b, code), test);
  }
});

for (const join of [true, false]) {
  const how = join ? "share a launch" : "have launches of their own where they are told to";
  gpuTest(`gradients of queries and keys ${how}`, async (b) => {
    const keys: string[] = [];
    const [test] = conformanceCases({ kernel: "attentionGrad" });
    await runConformance(b, test!, (run) => {
      b.runtime.onDispatch = ({ key }) => keys.push(key);
      run();
      b.runtime.onDispatch = null;
    });
    const [dots, queries, ofKeys] = ["delta", "query", "keys"].map((kernel) =>
      `attentionGrad/${kernel}`
    );
    // On the smallest GPUs, whose shaders see too few arrays, they cannot share one.
    const mayShare = b.runtime.maxArrays >= 9;
    const apart = mayShare ? [[dots], [queries], [ofKeys]] : [[queries], [ofKeys]];
    const want = join && mayShare ? [[dots], [ofKeys, queries]] : apart;
    const names = keys.slice(0, want.length).map((key) =>
      key.split("+").map((part) => part.split("/").slice(0, 2).join("/"))
    );
    assertEquals(names, want);
  }, { join });
}

gpuTest("gradients have the same bits whether or not they share a launch", async (b) => {
  const bits = async (backend: WebGpuBackend) => {
    const heads = { dtype: "f32", batch: 1, heads: 2, tokens: 40, depth: 16 } as const;
    using arrays = new AttentionArrays(backend, heads);
    const { queries, keys } = arrays.usual;
    return [...await arrays.compute("queries", queries), ...await arrays.compute("keys", keys)];
  };
  const apart = await createWebGpuBackend({ join: false });
  assertEquals(await bits(b), await bits(apart));
  await apart.dispose();
});
