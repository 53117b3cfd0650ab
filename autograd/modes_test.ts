import { assert, assertEquals, assertThrows } from "@std/assert";
import { randn, type Tensor } from "../tensor/mod.ts";
import { Generator, init, scope, tensor } from "../tensor/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { backward } from "./backward.ts";
import { autocast, autocastDtype, isRecording, noGrad, withGrad } from "./modes.ts";
import { cast } from "./op.ts";
import {
  add,
  attention,
  concat,
  conv2d,
  exp,
  gelu,
  layerNorm,
  linear,
  matmul,
  mean,
  mse,
  mul,
  selfAttention,
  softmax,
  sum,
} from "./ops/mod.ts";
import { Parameter } from "./parameter.ts";
import { requiresGrad } from "./tape.ts";

Deno.test("noGrad() stops recording, and what was is again after it, also after an error", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  const p = new Parameter(tensor([1]));
  noGrad(() => {
    assertEquals(requiresGrad(mul(p, 2)), false);
    withGrad(() => assertEquals(requiresGrad(mul(p, 2)), true));
    assertEquals(isRecording(), false);
  });
  assertThrows(
    () =>
      noGrad(() => {
        throw new Error("inside");
      }),
    Error,
    "inside",
  );
  assertEquals(isRecording(), true);
});

Deno.test("noGrad(), withGrad() and autocast() refuse functions that return a promise", () => {
  const later = () => Promise.resolve(1);
  const message = "expected a synchronous function but it returned a promise";
  assertThrows(() => noGrad(later), TypeError, `noGrad: ${message}`);
  assertThrows(() => withGrad(later), TypeError, `withGrad: ${message}`);
  assertThrows(() => autocast("f16", later), TypeError, `autocast: ${message}`);
  assertEquals([isRecording(), autocastDtype()], [true, null]);
});

eachDevice("autocast() computes products in f16, sums in f32, the rest in what it is given", () => {
  using _ = scope();
  const x = randn([2, 4, 12], { generator: new Generator(1) });
  const half = cast(x, "f16");
  const w = randn([12, 12], { generator: new Generator(2) });
  const image = randn([1, 2, 4, 4], { generator: new Generator(3) });
  const heads = randn([1, 2, 3, 4], { generator: new Generator(4) });
  const results: Record<string, () => Tensor> = {
    "f16: matmul": () => matmul(x, w),
    "f16: linear": () => linear(x, w, null, { activation: "gelu" }),
    "f16: conv2d": () => conv2d(image, randn([3, 2, 2, 2])),
    "f16: attention": () => attention(heads, heads, heads),
    "f16: selfAttention": () => selfAttention(x, 2),
    "f16: gelu of f16": () => gelu(half),
    "f16: layerNorm of f16": () => layerNorm(half),
    "f32: exp of f32": () => exp(x),
    "f32: add of both": () => add(half, x),
    "f32: layerNorm of f32": () => layerNorm(x),
    "f32: sum": () => sum(half),
    "f32: mean": () => mean(half),
    "f32: mse": () => mse(half, half),
    "f32: softmax": () => softmax(half, -1),
  };
  autocast("f16", () => {
    for (const [name, run] of Object.entries(results)) {
      assertEquals(`${run().dtype}: ${name.slice(5)}`, name);
    }
    autocast(null, () => assertEquals(matmul(x, w).dtype, "f32"));
    assertEquals(autocastDtype(), "f16");
  });
  assertEquals(matmul(x, w).dtype, "f32");
});

eachDevice("autocast() joins tensors of both types as f32", () => {
  using _ = scope();
  const x = tensor([1, 2]);
  assertEquals(autocast("f16", () => concat([x, cast(x, "f16")])).dtype, "f32");
});

eachDevice("autocast() comes near the f32 loss and its f32 gradients", async () => {
  using _ = scope();
  const generator = new Generator(5);
  const x = randn([8, 16], { generator });
  const [w1, w2] = [[32, 16], [4, 32]].map((shape) =>
    new Parameter(mul(randn(shape, { generator }), 0.2))
  );
  const target = randn([8, 4], { generator });
  const run = async (precision: "f16" | null) => {
    for (const w of [w1!, w2!]) w.zeroGrad();
    const loss = autocast(precision, () => {
      const hidden = layerNorm(linear(x, w1!, null, { activation: "geluTanh" }));
      return mse(linear(hidden, w2!), target);
    });
    assertEquals(loss.dtype, "f32");
    backward(loss);
    for (const w of [w1!, w2!]) assertEquals(w.grad!.dtype, "f32");
    return [await loss.data(), await w1!.grad!.data(), await w2!.grad!.data()];
  };
  const [single, half] = [await run(null), await run("f16")];
  single.forEach((want, i) => {
    const error = scaledError(half[i]!, want);
    assert(error > 0 && error < 5e-3, `tensor ${i} is off by ${error}`);
  });
});
