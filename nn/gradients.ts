/** The size of gradients, and keeping it in bounds, without waiting for the device. */
import type { Parameter } from "../autograd/mod.ts";
import {
  ADD,
  constant,
  copy,
  evaluateInto,
  evaluateOne,
  type Formula,
  full,
  reduceKeep,
  reshaped,
  SCALE,
  scope,
  type Tensor,
} from "../tensor/mod.ts";
import type { AdamW } from "./adamw.ts";

const SQUARE: Formula = { name: "square", build: (x) => x!.mul(x!) };
const UNSCALED_SQUARE: Formula = {
  name: "unscaled square",
  build: (x, scale) => {
    const unscaled = x!.div(scale!);
    return unscaled.mul(unscaled);
  },
};
const NON_FINITE: Formula = { name: "nonFinite", build: (x) => x!.isNonFinite().to("f32") };
const ROOT: Formula = { name: "root", build: (x) => x!.sqrt() };
/** min(1, max / (norm + 1e-6)), as PyTorch clips. */
const COEFFICIENT: Formula = {
  name: "clip coefficient",
  build: (norm, max) => max!.div(norm!.add(1e-6)).min(constant(1)),
};

/**
 * Sum of `formula` over all elements of all tensors and what goes with each: one f32 on the device.
 */
function total(
  op: string,
  formula: Formula,
  tensors: readonly Tensor[],
  ...others: Tensor[]
): Tensor {
  using s = scope(op);
  const parts = tensors.map((t) => {
    const wide = t.dtype === "f32" ? t : copy(t, "f32", op); // f16 holds no sum of its squares
    const axes = t.shape.map((_, i) => i);
    return reshaped(reduceKeep(op, "sum", formula, [wide, ...others], axes), []);
  });
  const first = parts[0] ?? full([], 0);
  return s.keep(parts.slice(1).reduce((a, b) => evaluateOne(op, ADD, [a, b]), first));
}

/**
 * Root of the sum of all squares, each divided by `scale` first, so that the squares of scaled
 * gradients do not overflow: one number on the device.
 */
export function globalNorm(tensors: readonly Tensor[], scale?: Tensor): Tensor {
  using squares = scale
    ? total("globalNorm", UNSCALED_SQUARE, tensors, scale)
    : total("globalNorm", SQUARE, tensors);
  return evaluateOne("globalNorm", ROOT, [squares]);
}

/** Number of infinities and NaNs: one number on the device. */
export function countNonFinite(tensors: readonly Tensor[]): Tensor {
  return total("countNonFinite", NON_FINITE, tensors);
}

/** The factor that brings a norm down to `maxNorm`: one number on the device. */
export function clipFactor(norm: Tensor, maxNorm: number): Tensor {
  if (!(maxNorm > 0)) throw new RangeError(`clip: expected a norm above 0 but got ${maxNorm}`);
  return evaluateOne("clip", COEFFICIENT, [norm, maxNorm]);
}

/**
 * Scales gradients down, in place, so that their global norm is at most `maxNorm`.
 *
 * @param of Parameters (those without a gradient are passed over), or the optimiser of them, which
 * does it in fewer kernels.
 * @returns The norm before, one number on the device.
 */
export function clipGradNorm(of: AdamW | readonly Parameter[], maxNorm: number): Tensor {
  const grads = "flatGrads" in of
    ? of.flatGrads()
    : [...new Set(of)].flatMap((p) => p.grad ? [p.grad] : []);
  const norm = globalNorm(grads);
  using factor = clipFactor(norm, maxNorm);
  for (const g of grads) evaluateInto("clip", SCALE, [g, factor], [g]);
  return norm;
}
