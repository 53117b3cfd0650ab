import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { backward, init, linear, Parameter, randn, scope, sum } from "@dit/core";
import type { View } from "../tensor/view.ts";
import { Report } from "./measure.ts";
import { TINY_JOB, trainingSteps } from "./models/training.ts";
import { bytesOf, flopsOf, leastSeconds, profile } from "./models/work.ts";

const view = (...shape: number[]): View => ({
  buffer: { bytes: 1 << 20 },
  dtype: "f32",
  offset: 0,
  shape,
  strides: shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1)),
});

Deno.test("operations and bytes of a launch follow from its arguments", () => {
  const a = view(2, 3, 5, 7), b = { ...view(2, 3, 7, 11), strides: [0, 0, 11, 1] };
  const product = {
    a,
    b,
    bias: null,
    activation: "none",
    pre: null,
    out: view(2, 3, 5, 11),
    accumulate: true,
  } as const;
  assertEquals(flopsOf("matmul", product), 2 * 2 * 3 * 5 * 7 * 11);
  // b is the same in all batches, and the result is read as well
  assertEquals(bytesOf("matmul", product), 4 * (2 * 3 * 5 * 7 + 7 * 11 + 2 * (2 * 3 * 5 * 11)));
  const x = view(4, 6);
  assertEquals(flopsOf("softmax", { x, out: x, log: false }), 0);
  assertEquals(bytesOf("softmax", { x, out: x, log: false }), 2 * 4 * 24);

  const rates = { product: 1e9, copy: 1e6 };
  const work = { op: "", kernel: "matmul", launches: 1, seconds: 1, bytes: 1e6 } as const;
  assertEquals(leastSeconds({ ...work, flops: 5e8 }, rates), 0.5);
  assertEquals(leastSeconds({ ...work, flops: 0 }, rates), 1);
});

Deno.test("a profile counts the kernels of the fastest step, and leaves the device as it was", async () => {
  const device = await init({ device: "wasm" });
  const { backend } = device;
  const { run } = backend;
  using _ = scope();
  const [x, w] = [randn([4, 8]), new Parameter(randn([6, 8]))];
  const { kernels, seconds } = await profile(backend, () => {
    using _ = scope();
    backward(sum(linear(x, w, null)));
    w.zeroGrad();
  }, 3);
  assertEquals(backend.run, run);
  const products = kernels.filter(({ kernel }) => kernel === "matmul");
  assertEquals(products.reduce((n, { launches }) => n + launches, 0), 2, "x needs no gradient");
  assertEquals(products.reduce((n, { flops }) => n + flops, 0), 2 * 2 * 4 * 8 * 6);
  const all = kernels.reduce((total, each) => total + each.seconds, 0);
  assert(all > 0 && all <= seconds);
  w.dispose();
});

Deno.test({
  name: "steps are measured beside what they ask for",
  sanitizeResources: false, // the device's threads stay
  fn: async () => {
    const device = await init({ device: "wasm" });
    const report = new Report();
    await trainingSteps(report, device, [TINY_JOB], null, true);
    const [row] = report.tables["training steps beside PyTorch's"]!;
    const number = (head: string) => {
      const value = row![head];
      assert(typeof value === "number" && value > 0 && Number.isFinite(value), head);
      return value;
    };
    assertAlmostEquals(number("of least"), number("step, s") / number("least, s"));
    assert(!("ratio" in row!));
    const kernels = report.tables["kernels of a step of DiT-Mini/4, batch 2"]!;
    assert(kernels.some(({ kernel, GFLOPS }) => kernel === "attentionGrad" && Number(GFLOPS) > 0));
    assert(kernels.some(({ op }) => op === "the host, without replay"));
  },
});
