/**
 * The whole variational bound that a model reaches. Of the original's API; nothing else in the
 * library calls it.
 */
import { scope, type Tensor } from "../tensor/mod.ts";
import { add, mul, noGrad, square, stack, sub, sum } from "../autograd/mod.ts";
import { bitsPerDimension } from "./likelihood.ts";
import { type BoundTerm, boundTerm } from "./losses.ts";
import type { Model } from "./model.ts";
import { drawNoise, type NoiseSource } from "./noise.ts";
import type { NoiseSchedule } from "./noise_schedule.ts";
import { checkStepOptions, type PredictOptions } from "./process.ts";
import { modelOutput, type ReverseParts } from "./reverse.ts";
import { keepAll, meanFlat } from "./tensors.ts";
import type { Timesteps } from "./timesteps.ts";

/** The variational bound, in bits per dimension. Column k belongs to timestep T - 1 - k. */
export interface BpdResult {
  /** [N]: the whole bound. */
  totalBpd: Tensor;
  /** [N]: its part that no model changes. */
  priorBpd: Tensor;
  /** [N, T]: the bound's term of each timestep. */
  vb: Tensor;
  /** [N, T]: squared error of the predicted x_0. */
  xstartMse: Tensor;
  /** [N, T]: squared error of the noise that follows from it. */
  mse: Tensor;
}

/** How the bound's terms are to be computed. */
export type BoundOptions<K extends object> = Omit<PredictOptions<K>, "denoisedFn">;

/** One timestep's term of the bound: see {@link boundTerm}. */
export function vbTermsBpd<K extends object>(
  parts: ReverseParts,
  model: Model<K>,
  xStart: Tensor,
  xT: Tensor,
  t: Timesteps,
  options: BoundOptions<K>,
): BoundTerm {
  checkStepOptions("vbTermsBpd", options);
  const { clipDenoised = true, modelKwargs } = options;
  using s = scope("vbTermsBpd");
  const at = parts.schedule.timestepsOf("vbTermsBpd", t, xStart);
  const output = modelOutput("vbTermsBpd", parts, model, xT, at, modelKwargs);
  return keepAll(s, boundTerm(parts, output, xStart, xT, at, clipDenoised));
}

/**
 * KL divergence of q(x_T | x_0) from a standard normal, in bits per dimension [N]: the term of the
 * bound that training cannot change (L_T of arXiv 2006.11239, eq. 5).
 */
export function priorBpd(schedule: NoiseSchedule, xStart: Tensor): Tensor {
  using s = scope("priorBpd");
  const last = schedule.numTimesteps - 1;
  const { mean } = schedule.qMeanVariance(xStart, last);
  // what the variance contributes is a difference that float32 would lose
  const bar = schedule.alphasCumprod[last]!;
  return s.keep(bitsPerDimension(mul(sub(square(mean), bar + Math.log1p(-bar)), 0.5)));
}

/** The bound of a batch, timestep by timestep from T - 1 down, without gradients. */
export function calcBpdLoop<K extends object>(
  parts: ReverseParts,
  model: Model<K>,
  xStart: Tensor,
  options: BoundOptions<K> & NoiseSource,
): BpdResult {
  const { schedule } = parts;
  checkStepOptions("calcBpdLoop", options);
  const columns: Tensor[][] = [[], [], []];
  using s = scope("calcBpdLoop");
  return noGrad(() => {
    for (let step = 0; step < schedule.numTimesteps; step++) {
      const t = schedule.numTimesteps - 1 - step;
      using inner = scope("calcBpdLoop step");
      const { shape, device } = xStart;
      const noise = drawNoise("calcBpdLoop", shape, device, { ...options, step });
      const xT = schedule.qSample(xStart, t, noise);
      const { output, predXstart } = vbTermsBpd(parts, model, xStart, xT, t, options);
      const eps = schedule.predictEpsFromXstart(xT, t, predXstart);
      const errors = [
        meanFlat(square(sub(predXstart, xStart))),
        meanFlat(square(sub(eps, noise))),
      ];
      inner.keep([output, ...errors]).forEach((column, i) => columns[i]!.push(column));
    }
    const [vb, xstartMse, mse] = columns.map((list) => stack(list, 1)) as [Tensor, Tensor, Tensor];
    const prior = priorBpd(schedule, xStart);
    const totalBpd = add(sum(vb, 1), prior);
    return keepAll(s, { totalBpd, priorBpd: prior, vb, xstartMse, mse });
  });
}
