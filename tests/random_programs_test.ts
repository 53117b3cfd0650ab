/**
 * Programs of ops drawn at random, forward and backward, against the float64 reference: ops meet
 * views, shapes and each other as no table of cases would have it. The seed is in the message.
 */
import { assert, assertEquals } from "@std/assert";
import {
  add,
  chunk,
  concat,
  conv2d,
  cumsum,
  expand,
  gelu,
  gradients,
  groupNorm,
  gt,
  layerNorm,
  linear,
  matmul,
  mean,
  mul,
  pad,
  Parameter,
  permute,
  reshape,
  silu,
  sin,
  slice,
  softmax,
  sum,
  tanh,
  transpose,
  unsqueeze,
  where,
} from "../autograd/mod.ts";
import {
  arange,
  type Device,
  full,
  init,
  scope,
  setDevice,
  type Shape,
  sizeOf,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import { absoluteError, eachDevice, everyWebGpu, scaledError } from "./devices.ts";
import { numbers } from "./numbers.ts";

/** WebGPU compiles a kernel for nearly every step. */
const PROGRAMS = { wasm: 200, webgpu: everyWebGpu ? 60 : 8, reference: 1 };
const LARGEST = 3000;

/** Draws that a step makes its choices from. */
interface Draw {
  /** A whole number below `n`. */
  below(n: number): number;
  /** An axis of `x`. */
  axis(x: Tensor): number;
}

/** Repeatable numbers of any shape, the same on every device. */
const waves = (shape: Shape): Tensor => mul(sin(reshape(arange(sizeOf(shape)), shape)), 0.4);

/** What may come next, by when it can be done; all keep the numbers small. */
const STEPS: [fits: (x: Tensor) => boolean, step: (x: Tensor, draw: Draw) => Tensor][] = [
  [(x) => x.rank > 0, (x, { below }) => {
    const left = x.shape.map((_, i) => i);
    return permute(x, x.shape.map(() => left.splice(below(left.length), 1)[0]!));
  }],
  [(x) => x.rank > 0, (x, draw) => {
    const axis = draw.axis(x);
    return slice(x, axis, { start: draw.below(x.shape[axis]!), step: 1 + draw.below(3) });
  }],
  [() => true, (x, { below }) => {
    const divisors = [2, 3, 5].filter((n) => x.size % n === 0 && below(3) > 0).slice(0, 1);
    return reshape(x, below(2) ? [...divisors, -1] : [-1, ...divisors]);
  }],
  [(x) => x.size < LARGEST, (x, { below }) => {
    const axis = below(x.rank + 1);
    const wide = unsqueeze(x, axis);
    return expand(wide, wide.shape.map((d, i) => i === axis ? 1 + below(3) : d));
  }],
  [(x) => x.rank > 0, (x, draw) => {
    const axis = draw.axis(x);
    return concat(chunk(x, 2, axis).reverse(), axis);
  }],
  [(x) => x.rank > 0 && x.size < LARGEST, (x, draw) => {
    const at = draw.axis(x);
    return pad(x, x.shape.map((_, i) => i === at ? [1, 2] : [0, 0]), 0.5);
  }],
  [() => true, (x) => tanh(x)],
  [() => true, (x) => silu(x)],
  [() => true, (x, { below }) => gelu(x, below(2) ? "tanh" : "none")],
  [() => true, (x) => where(gt(x, 0.1), x, mul(x, -0.5))],
  [(x) => x.rank > 0, (x, draw) => add(x, mul(sum(x, draw.axis(x), { keepdim: true }), 0.1))],
  [(x) => x.rank > 0, (x, draw) => mean(x, draw.axis(x))],
  [(x) => x.rank > 0, (x, draw) => mul(cumsum(x, draw.axis(x)), 0.3)],
  [(x) => x.rank > 0, (x, draw) => mul(softmax(x, draw.axis(x)), 3)],
  [(x) => x.rank > 0 && x.shape.at(-1)! > 2, (x) => layerNorm(x, { eps: 1e-2 })],
  [(x) => x.rank > 1 && x.size < LARGEST, (x) => mul(matmul(x, transpose(x)), 0.2)],
  [(x) => x.rank > 0 && x.shape.at(-1)! < 64, (x, { below }) => {
    const activation = (["none", "relu", "silu", "gelu", "geluTanh"] as const)[below(5)]!;
    return linear(x, waves([7, x.shape.at(-1)!]), waves([7]), { activation });
  }],
  [(x) => x.rank === 4 && x.size < LARGEST, (x) => {
    const c = x.shape[1]!;
    const affine = { weight: full([c], 1.3), bias: full([c], 0.2) };
    return groupNorm(x, c % 2 === 0 ? 2 : 1, { ...affine, eps: 1e-2, silu: true });
  }],
  [(x) => x.rank === 4 && x.size < LARGEST, (x, { below }) => {
    const options = { stride: 1 + below(2), padding: 1 + below(2) };
    return conv2d(x, waves([3, x.shape[1]!, 2, 2]), null, options);
  }],
];

/** Result and gradient of program `seed`. */
async function run(device: Device, seed: number): Promise<[Shape, number[], number[]]> {
  setDevice(device);
  using _ = scope();
  const next = numbers(seed);
  const below = (n: number) => Math.floor(next() * n);
  const shape = Array.from({ length: 1 + below(4) }, () => 1 + below(6));
  const data = Float32Array.from({ length: sizeOf(shape) }, () => 4 * next() - 2);
  const input = new Parameter(tensor(data, shape));
  let x: Tensor = mul(input, 1);
  for (let left = 4 + below(8); left > 0; left--) {
    const [fits, step] = STEPS[below(STEPS.length)]!;
    const draw = { below, axis: (t: Tensor) => below(t.rank) };
    if (fits(x)) x = step(x, draw);
  }
  const [grad] = gradients(sum(mul(x, add(waves(x.shape), 0.3))), [input]);
  return [x.shape, Array.from(await x.data()), Array.from(await grad!.data())];
}

/** Largest error over the largest number; differences of 2e-6 are none. */
function errorOf(got: number[], want: number[]): number {
  const [error, worst] = [scaledError(got, want), absoluteError(got, want)];
  return worst < 2e-6 ? 0 : error;
}

eachDevice(
  "random programs agree with the reference, and so do their gradients",
  async (device) => {
    const reference = await init({ device: "reference" });
    for (let seed = 1; seed <= PROGRAMS[device.name]; seed++) {
      const [shape, out, grad] = await run(reference, seed);
      const [gotShape, gotOut, gotGrad] = await run(device, seed);
      assertEquals(gotShape, shape, `program ${seed}`);
      const [outError, gradError] = [errorOf(gotOut, out), errorOf(gotGrad, grad)];
      assert(outError < 2e-5, `the result of program ${seed} is off by ${outError}`);
      assert(gradError < 2e-4, `the gradient of program ${seed} is off by ${gradError}`);
    }
  },
);
