/**
 * Walks the table of ops: every op, on every device, at every sample shape, forward against the
 * float64 reference and gradients against float64 central differences. On a software GPU it is one
 * shape an op: that kernels are right at all of them is for the conformance suite to say.
 */
import { assert } from "@std/assert";
import { expect } from "@std/expect";
import { type Device, init, isFloat, scope, setDevice, Tensor, tensor } from "../tensor/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { numbers } from "../tests/numbers.ts";
import { gradcheck, noGrad, ops, type Sample, type SampleInput } from "./mod.ts";

const FORWARD_TOLERANCE = 1e-5;
const GRADIENT = { tolerance: 1e-3, absolute: 2e-6 };

/** Elements of an operand, in the order they are stored. */
function elements(input: SampleInput, seed: number): number[] {
  const { shape, low = -2, high = 2, dtype = "f32" } = input;
  const next = numbers(seed);
  return Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
    const x = low + next() * (high - low);
    return isFloat(dtype) ? Math.fround(x) : Math.round(x);
  });
}

/** The operand; a strided one is every second element of a permuted larger tensor. */
function operand(input: SampleInput, seed: number): Tensor {
  const { shape, dtype = "f32", strided = false } = input;
  const data = elements(input, seed);
  if (!strided) return tensor(data, shape, { dtype });
  const permuted = [...shape].reverse();
  using whole = tensor(data.flatMap((v) => [v, 99]), [...permuted, 2], { dtype });
  const axes = shape.map((_, i) => shape.length - 1 - i);
  return whole.as(shape, axes.map((a) => whole.strides[a]!));
}

async function results(device: Device, sample: Sample, seed: number): Promise<number[][]> {
  setDevice(device);
  using _ = scope();
  const out = noGrad(() => sample.call(sample.inputs.map((x, i) => operand(x, seed + i))));
  const reads = (out instanceof Tensor ? [out] : out).map((t) => t.data());
  return (await Promise.all(reads)).map((a) => Array.from(a));
}

for (const [name, { samples }] of ops()) {
  Deno.test(`${name}: the table has samples`, () => expect(samples.length).toBeGreaterThan(0));

  for (const [i, sample] of samples.entries()) {
    eachDevice(`${name}: ${sample.name}`, async (device) => {
      const seed = 1000 * i + name.length;
      const want = await results(await init({ device: "reference" }), sample, seed);
      const got = await results(device, sample, seed);
      want.forEach((w, k) => {
        const error = scaledError(got[k]!, w);
        assert(error <= FORWARD_TOLERANCE, `output ${k} is off by ${error}`);
      });
      if (sample.differentiable === false) return;

      setDevice(device);
      const inputs = sample.inputs.map((x, k) => operand(x, seed + k));
      const floats = inputs.filter((t) => isFloat(t.dtype));
      const call = (...given: Tensor[]) => {
        let next = 0;
        return sample.call(inputs.map((t) => isFloat(t.dtype) ? given[next++]! : t));
      };
      try {
        await gradcheck(call, floats, { ...GRADIENT, samples: 40 });
      } finally {
        inputs.forEach((t) => t.dispose());
      }
    }, ["reference", "wasm", i === 0 ? "webgpu" : "gpu"]);
  }
}
