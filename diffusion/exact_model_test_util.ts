/** The best possible model of data that are Gaussian, where everything is known in closed form. */
import { add, concat, mul, sub } from "../autograd/mod.ts";
import type { ModelFunction } from "./model.ts";
import type { GaussianDiffusion } from "./gaussian_diffusion.ts";
import { combine } from "./tensors.ts";
import { full, type Tensor } from "../tensor/mod.ts";

/** Data with this mean and standard deviation in every element. */
export interface GaussianData {
  readonly mean: number;
  readonly std: number;
}

/**
 * What a perfectly trained model of `data` predicts for `process`: E[x_0 | x_t] and what follows
 * from it. A variance to be learned is predicted as beta-tilde.
 *
 * @param process The process the model is trained on, not a respaced one.
 */
export function exactModel(process: GaussianDiffusion, data: GaussianData): ModelFunction {
  return (x, _t, _kwargs, at) => {
    const t = at![0]!;
    const [alpha, sigma] = [process.sqrtAlphasCumprod[t]!, process.sqrtOneMinusAlphasCumprod[t]!];
    const variance = alpha ** 2 * data.std ** 2 + sigma ** 2; // of x_t
    const centered = sub(x, alpha * data.mean);
    const xStart = add(mul(centered, alpha * data.std ** 2 / variance), data.mean);
    const main = predictionOf(process, x, xStart, alpha, sigma);
    return process.learnsVariance ? concat([main, full(x.shape, -1)], 1) : main;
  };
}

function predictionOf(
  { objective }: GaussianDiffusion,
  x: Tensor,
  xStart: Tensor,
  alpha: number,
  sigma: number,
): Tensor {
  const eps = combine(1 / sigma, x, -alpha / sigma, xStart);
  switch (objective) {
    case "xstart":
      return xStart;
    case "v":
      return combine(alpha, eps, -sigma, xStart);
    default:
      return eps;
  }
}

/**
 * Where the probability flow takes x_T, exactly: it keeps how many standard deviations x is from
 * the mean.
 *
 * @param alpha of the noise level to arrive at
 * @param sigma of it
 */
export function exactFlow(
  process: GaussianDiffusion,
  data: GaussianData,
  xT: ArrayLike<number>,
  alpha = 1,
  sigma = 0,
): number[] {
  const last = process.numTimesteps - 1;
  const [a, s] = [process.sqrtAlphasCumprod[last]!, process.sqrtOneMinusAlphasCumprod[last]!];
  const std = (a: number, s: number): number => Math.sqrt(a ** 2 * data.std ** 2 + s ** 2);
  return Array.from(xT, (x) => {
    return alpha * data.mean + std(alpha, sigma) * (x - a * data.mean) / std(a, s);
  });
}
