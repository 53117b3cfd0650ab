import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { backward, mul, Parameter, sum } from "../autograd/mod.ts";
import { init, scope, tensor } from "../tensor/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { numbers } from "../tests/numbers.ts";
import { AdamW } from "./adamw.ts";
import { clipGradNorm, countNonFinite } from "./gradients.ts";

function random(length: number, seed: number): Float32Array<ArrayBuffer> {
  const next = numbers(seed);
  return Float32Array.from({ length }, () => 2 * next() - 1);
}

/** Two parameters with known gradients. */
function withGradients(): {
  parameters: Parameter[];
  grads: Float32Array<ArrayBuffer>[];
  norm: number;
} {
  const grads = [random(33, 1), random(7, 2)];
  const parameters = grads.map((g) => new Parameter(tensor(random(g.length, 3))));
  for (const [i, p] of parameters.entries()) backward(sum(mul(p, tensor(grads[i]!))));
  const norm = Math.sqrt(grads.flatMap((g) => [...g]).reduce((s, v) => s + v * v, 0));
  return { parameters, grads, norm };
}

for (const [name, gather] of [["of parameters", false], ["of an optimiser", true]] as const) {
  eachDevice(`clipGradNorm() ${name} scales by max / (norm + 1e-6), as PyTorch`, async () => {
    using _ = scope();
    const { parameters, grads, norm } = withGradients();
    using optimizer = gather ? new AdamW(parameters) : null;
    const got = await clipGradNorm(optimizer ?? parameters, 0.5).item();
    assertAlmostEquals(got, norm, 1e-6 * norm);
    for (const [i, p] of parameters.entries()) {
      const want = grads[i]!.map((v) => v * 0.5 / (norm + 1e-6));
      assert(scaledError(await p.grad!.data(), want) < 1e-6);
    }
  });
}

eachDevice("clipGradNorm() leaves gradients below the norm as they are, bit for bit", async () => {
  using _ = scope();
  const { parameters, grads } = withGradients();
  clipGradNorm(parameters, 1e6);
  for (const [i, p] of parameters.entries()) assertEquals(await p.grad!.data(), grads[i]!);
});

eachDevice("clipGradNorm() counts a parameter that is named twice once", async () => {
  using _ = scope();
  const p = new Parameter(tensor([3, 4]));
  backward(sum(mul(p, 1)));
  backward(sum(mul(p, tensor([2, 3]))));
  assertAlmostEquals(await clipGradNorm([p, p], 2.5).item(), 5, 1e-5);
  assert(scaledError(await p.grad!.data(), [1.5, 2]) < 1e-5);
});

eachDevice("clipGradNorm() passes over parameters without a gradient", async () => {
  using _ = scope();
  const [p, q] = [new Parameter(tensor([3, 4])), new Parameter(tensor([1]))];
  backward(sum(mul(p, p)));
  assertAlmostEquals(await clipGradNorm([p, q], 1).item(), 10, 1e-5);
  assertEquals(q.grad, null);
  assertEquals(await clipGradNorm([q], 1).item(), 0);
});

eachDevice("clipGradNorm() measures f16 gradients whose squares f16 does not hold", async () => {
  using _ = scope();
  const p = new Parameter(tensor([1, 1, 1], [3], { dtype: "f16" }));
  backward(sum(mul(p, 1000)));
  assertAlmostEquals(await clipGradNorm([p], 1).item(), 1000 * Math.sqrt(3), 1e-2);
  assert(scaledError(await p.grad!.data(), [0.57735, 0.57735, 0.57735]) < 1e-3);
});

Deno.test("clipGradNorm() refuses a norm that is not above 0", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  const p = new Parameter(tensor([1]));
  backward(sum(p));
  for (const wrong of [0, -1, NaN]) {
    assertThrows(() => clipGradNorm([p], wrong), RangeError, `expected a norm above 0 but got`);
  }
});

eachDevice("countNonFinite() counts infinities and NaNs over all tensors", async () => {
  using _ = scope();
  const tensors = [tensor([1, NaN, -Infinity, 0]), tensor([Infinity]), tensor([3e38, -1e-45])];
  assertEquals(await countNonFinite(tensors).item(), 3);
  assertEquals(await countNonFinite([tensors[2]!]).item(), 0);
});
