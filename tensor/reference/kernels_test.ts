/** Gradient kernels against finite differences of their forward kernels, and rules of the others. */
import { assert, assertEquals } from "@std/assert";
import type { Backend } from "../backend.ts";
import type { KernelArgs } from "../kernels.ts";
import type { View } from "../view.ts";
import { program } from "../expr.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { createReferenceBackend } from "./backend.ts";
import { download, empty, upload } from "./testing_test_util.ts";

/** Smooth numbers without a pattern, the same at every run. */
function wave(length: number, phase: number): Float64Array<ArrayBuffer> {
  return Float64Array.from({ length }, (_, i) => Math.sin(1.7 * i * i + phase + 0.3 * i));
}

function filled(backend: Backend, shape: Shape, phase: number): View {
  const view = empty(backend, shape);
  backend.write(view.buffer, 0, wave(sizeOf(shape), phase));
  return view;
}

/**
 * Asserts that `gradient` holds the derivatives of sum(out * g) by the elements of `input`, where
 * `forward` computes `out` anew.
 */
async function checkGradient(
  backend: Backend,
  name: string,
  forward: () => void,
  out: View,
  g: View,
  input: View,
  gradient: View,
): Promise<void> {
  const weights = await download(backend, g);
  const objective = async () => {
    forward();
    return (await download(backend, out)).reduce((sum, y, i) => sum + y * weights[i]!, 0);
  };
  const values = await download(backend, input);
  const got = await download(backend, gradient);
  const step = 1e-5;
  for (let i = 0; i < values.length; i++) {
    backend.write(input.buffer, i, Float64Array.of(values[i]! + step));
    const above = await objective();
    backend.write(input.buffer, i, Float64Array.of(values[i]! - step));
    const below = await objective();
    backend.write(input.buffer, i, Float64Array.of(values[i]!));
    const want = (above - below) / (2 * step);
    const close = Math.abs(got[i]! - want) <= 1e-7 * (1 + Math.abs(want));
    assert(close, `${name}: gradient ${i} is ${got[i]}, by differences ${want}`);
  }
}

const NORMS = (["weight", "modulate"] as const).flatMap((affine) =>
  [true, false].map((centred) => ({ affine, centred }))
);
for (const { affine, centred } of NORMS) {
  const kind = `${affine}${centred ? "" : ", not centred"}`;
  Deno.test(`layerNormGrad() is the gradient of layerNorm() with ${kind}`, async () => {
    const backend = createReferenceBackend();
    const [B, T, N] = [2, 3, 5];
    const [x, g] = [filled(backend, [B, T, N], 0), filled(backend, [B, T, N], 1)];
    const [out, dx] = [empty(backend, [B, T, N]), empty(backend, [B, T, N])];
    const [mean, rstd] = [empty(backend, [B, T]), empty(backend, [B, T])];
    const shape = affine === "weight" ? [N] : [B, N];
    const [multiplier, added] = [filled(backend, shape, 2), filled(backend, shape, 3)];
    const [dMultiplier, dAdded] = [empty(backend, shape), empty(backend, shape)];
    const when = (wanted: string, view: View) => affine === wanted ? view : null;
    const weight = when("weight", multiplier);
    const scale = when("modulate", multiplier);
    const forward = () =>
      backend.run("layerNorm", {
        x,
        weight,
        bias: when("weight", added),
        scale,
        shift: when("modulate", added),
        eps: 1e-3,
        centred,
        out,
        mean,
        rstd,
      }, "test");
    forward();
    backend.run("layerNormGrad", {
      x,
      g,
      weight,
      scale,
      centred,
      mean,
      rstd,
      dx,
      dWeight: when("weight", dMultiplier),
      dBias: when("weight", dAdded),
      dScale: when("modulate", dMultiplier),
      dShift: when("modulate", dAdded),
    }, "test");
    await checkGradient(backend, "x", forward, out, g, x, dx);
    await checkGradient(backend, "multiplier", forward, out, g, multiplier, dMultiplier);
    await checkGradient(backend, "added", forward, out, g, added, dAdded);
  });
}

for (const silu of [false, true]) {
  Deno.test(`groupNormGrad() is the gradient of groupNorm()${silu ? " with SiLU" : ""}`, async () => {
    const backend = createReferenceBackend();
    const shape = [2, 6, 4];
    const [x, g] = [filled(backend, shape, 0), filled(backend, shape, 1)];
    const [out, dx] = [empty(backend, shape), empty(backend, shape)];
    const [mean, rstd] = [empty(backend, [2, 3]), empty(backend, [2, 3])];
    const [weight, bias] = [filled(backend, [6], 2), filled(backend, [6], 3)];
    const [dWeight, dBias] = [empty(backend, [6]), empty(backend, [6])];
    const given = { x, weight, bias, groups: 3, silu, mean, rstd };
    const forward = () => backend.run("groupNorm", { ...given, eps: 1e-3, out }, "test");
    forward();
    backend.run("groupNormGrad", { ...given, g, dx, dWeight, dBias }, "test");
    await checkGradient(backend, "x", forward, out, g, x, dx);
    await checkGradient(backend, "weight", forward, out, g, weight, dWeight);
    await checkGradient(backend, "bias", forward, out, g, bias, dBias);
  });
}

for (const log of [false, true]) {
  Deno.test(`softmaxGrad() is the gradient of softmax()${log ? " in logarithms" : ""}`, async () => {
    const backend = createReferenceBackend();
    const [x, g] = [filled(backend, [3, 5], 0), filled(backend, [3, 5], 1)];
    const [y, dx] = [empty(backend, [3, 5]), empty(backend, [3, 5])];
    const forward = () => backend.run("softmax", { x, out: y, log }, "test");
    forward();
    backend.run("softmaxGrad", { y, g, out: dx, log }, "test");
    await checkGradient(backend, "x", forward, y, g, x, dx);
  });
}

Deno.test("attentionGrad() is the gradient of attention()", async () => {
  const backend = createReferenceBackend();
  const [q4, k4] = [[1, 2, 3, 4], [1, 2, 5, 4]];
  const [q, k, v] = [filled(backend, q4, 0), filled(backend, k4, 1), filled(backend, k4, 2)];
  const [out, stats, g] = [
    empty(backend, q4),
    empty(backend, [1, 2, 3, 2]),
    filled(backend, q4, 3),
  ];
  const [dq, dk, dv] = [empty(backend, q4), empty(backend, k4), empty(backend, k4)];
  const scale = 0.7;
  const forward = () => backend.run("attention", { q, k, v, scale, out, stats }, "test");
  forward();
  backend.run("attentionGrad", { q, k, v, out, stats, g, scale, dq, dk, dv }, "test");
  await checkGradient(backend, "q", forward, out, g, q, dq);
  await checkGradient(backend, "k", forward, out, g, k, dk);
  await checkGradient(backend, "v", forward, out, g, v, dv);
});

Deno.test("conv2dGradWeight() is the gradient of conv2d(), negative padding included", async () => {
  const backend = createReferenceBackend();
  const [x, w] = [filled(backend, [2, 2, 6, 5], 0), filled(backend, [3, 2, 3, 2], 1)];
  const [out, g] = [empty(backend, [2, 3, 2, 3]), filled(backend, [2, 3, 2, 3], 2)];
  const dw = empty(backend, w.shape);
  const place = { stride: 2, padTop: -1, padLeft: 1 };
  const forward = () =>
    backend.run("conv2d", { x, w, bias: null, ...place, dilation: 1, out }, "test");
  forward();
  backend.run("conv2dGradWeight", { x, g, ...place, out: dw }, "test");
  await checkGradient(backend, "w", forward, out, g, w, dw);
});

const itself = program("kernels_test.itself", [{ kind: "input", ty: "f32" }], (x) => x);

async function reduced(op: KernelArgs["reduce"]["op"], values: number[], shape: Shape) {
  const backend = createReferenceBackend();
  const out = empty(backend, [shape[0]!, shape[2]!]);
  const ins = [upload(backend, shape, values)];
  backend.run("reduce", { op, program: itself, ins, scalars: [], out }, "test");
  return await download(backend, out);
}

Deno.test("reduce() takes the middle axis", async () => {
  const values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
  assertEquals(await reduced("sum", values, [2, 3, 2]), [9, 12, 27, 30]);
  assertEquals(await reduced("max", values, [2, 3, 2]), [5, 6, 11, 12]);
  assertEquals(await reduced("min", values, [2, 3, 2]), [1, 2, 7, 8]);
});

Deno.test("reduce() lets NaN win in max and min", async () => {
  assertEquals(await reduced("max", [1, NaN, Infinity], [1, 3, 1]), [NaN]);
  assertEquals(await reduced("min", [1, NaN, -Infinity], [1, 3, 1]), [NaN]);
});

Deno.test("argReduce() gives the first of equals", async () => {
  const backend = createReferenceBackend();
  const x = upload(backend, [1, 5, 1], [1, 3, 0, 3, 0]);
  const out = empty(backend, [1, 1], "i32");
  backend.run("argReduce", { op: "max", x, out }, "test");
  assertEquals(await download(backend, out), [1]);
  backend.run("argReduce", { op: "min", x, out }, "test");
  assertEquals(await download(backend, out), [2]);
});

Deno.test("cumsum() runs from either end", async () => {
  const backend = createReferenceBackend();
  const x = upload(backend, [1, 4, 1], [1, 2, 3, 4]);
  const out = empty(backend, [1, 4, 1]);
  backend.run("cumsum", { x, out, reverse: false }, "test");
  assertEquals(await download(backend, out), [1, 3, 6, 10]);
  backend.run("cumsum", { x, out, reverse: true }, "test");
  assertEquals(await download(backend, out), [10, 9, 7, 4]);
});

Deno.test("matmul() adds into out when accumulate is set", async () => {
  const backend = createReferenceBackend();
  const a = upload(backend, [1, 1, 1, 2], [2, 3]);
  const b = upload(backend, [1, 1, 2, 2], [1, 2, 3, 4]);
  const out = upload(backend, [1, 1, 1, 2], [100, 200]);
  const bias = null;
  const pre = null;
  backend.run(
    "matmul",
    { a, b, bias, activation: "none", pre, out, accumulate: true },
    "test",
  );
  assertEquals(await download(backend, out), [111, 216]);
});

Deno.test("matmul() keeps what came before the activation", async () => {
  const backend = createReferenceBackend();
  const a = upload(backend, [1, 1, 1, 1], [2]);
  const b = upload(backend, [1, 1, 1, 2], [1, -3]);
  const bias = upload(backend, [2], [0.5, 0.5]);
  const [out, pre] = [empty(backend, [1, 1, 1, 2]), empty(backend, [1, 1, 1, 2])];
  backend.run(
    "matmul",
    { a, b, bias, activation: "relu", pre, out, accumulate: false },
    "test",
  );
  assertEquals(await download(backend, pre), [2.5, -5.5]);
  assertEquals(await download(backend, out), [2.5, 0]);
});

Deno.test("scatterAdd() sums rows that share an index and clears the others", async () => {
  const backend = createReferenceBackend();
  const g = upload(backend, [3, 2], [1, 2, 3, 4, 5, 6]);
  const index = upload(backend, [3], [2, 0, 2], "i32");
  const out = empty(backend, [3, 2]);
  backend.run("scatterAdd", { g, index, out }, "test");
  assertEquals(await download(backend, out), [3, 4, 0, 0, 6, 8]);
});
