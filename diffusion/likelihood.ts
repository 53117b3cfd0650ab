/** Divergences and log-likelihoods of Gaussians: the terms of the variational bound, in nats. */
import type { Tensor } from "../tensor/mod.ts";
import {
  add,
  addcmul,
  clamp,
  exp,
  gt,
  log,
  lt,
  mul,
  neg,
  square,
  sub,
  tanh,
  type TensorLike,
  where,
} from "../autograd/mod.ts";
import { meanFlat } from "./tensors.ts";

/** Logarithms of probabilities below this are cut, as in the original. */
const SMALLEST = 1e-12;

/** Pixels beyond this are in an outermost bin; float32 also where more digits are compared. */
const OUTERMOST = Math.fround(0.999);

/**
 * KL divergence of N(mean1, e^logvar1) from N(mean2, e^logvar2), of each element. The shapes
 * broadcast.
 */
export function normalKl(
  mean1: Tensor,
  logvar1: Tensor,
  mean2: TensorLike,
  logvar2: TensorLike,
): Tensor {
  const ratio = sub(logvar1, logvar2);
  const precision = typeof logvar2 === "number" ? Math.exp(-logvar2) : exp(neg(logvar2));
  const apart = mul(square(sub(mean1, mean2)), precision);
  const shape = sub(sub(exp(ratio), 1), ratio); // in this order, exact where both are nearly equal
  return mul(add(shape, apart), 0.5);
}

/** The standard normal distribution function by the tanh approximation that GELU uses too. */
export function approxStandardNormalCdf(x: Tensor): Tensor {
  const cubic = addcmul(x, mul(square(x), 0.044715), x);
  return mul(add(tanh(mul(cubic, Math.sqrt(2 / Math.PI))), 1), 0.5);
}

/** Gaussians given by element; the shapes broadcast. */
export interface GaussianParameters {
  /** Means. */
  means: Tensor;
  /** Logarithms of the standard deviations. */
  logScales: Tensor;
}

/**
 * Log-density of a standard normal at (x - means) / e^logScales, of each element. As in the
 * original, that is without the term -logScales of a density by x.
 */
export function continuousGaussianLogLikelihood(
  x: Tensor,
  { means, logScales }: GaussianParameters,
): Tensor {
  const z = mul(sub(x, means), exp(neg(logScales)));
  return sub(mul(square(z), -0.5), 0.5 * Math.log(2 * Math.PI));
}

/**
 * Log-probability that a Gaussian gives to the bin of an 8-bit pixel, of each element (Ho et al.,
 * arXiv 2006.11239, eq. 13). The outermost bins reach to infinity.
 *
 * @param x Pixels of 0 to 255 scaled to [-1, 1].
 */
export function discretizedGaussianLogLikelihood(
  x: Tensor,
  { means, logScales }: GaussianParameters,
): Tensor {
  const centered = sub(x, means);
  const inverseStd = exp(neg(logScales));
  const above = approxStandardNormalCdf(mul(inverseStd, add(centered, 1 / 255)));
  const below = approxStandardNormalCdf(mul(inverseStd, sub(centered, 1 / 255)));
  const logClamped = (p: Tensor): Tensor => log(clamp(p, SMALLEST));
  const inside = logClamped(sub(above, below));
  const upper = where(gt(x, OUTERMOST), logClamped(sub(1, below)), inside);
  return where(lt(x, -OUTERMOST), logClamped(above), upper);
}

/** Mean over all dimensions but the first, converted from nats to bits: [N, ...] to [N]. */
export function bitsPerDimension(nats: Tensor): Tensor {
  return mul(meanFlat(nats), 1 / Math.LN2);
}
