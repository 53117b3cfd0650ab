/** What a model can be trained to predict: what its output is to be, and what it says of x_0. */
import type { Tensor } from "../tensor/mod.ts";
import type { NoiseSchedule } from "./noise_schedule.ts";
import type { BatchTimesteps } from "./timesteps.ts";

/**
 * What a model predicts: the noise in x_t, x_0, or the velocity: that of arXiv 2202.00512 in Gaussian
 * diffusion, dx/dt of a flow.
 */
export type Objective = "epsilon" | "xstart" | "v";

/** Every {@link Objective}. */
export const OBJECTIVES: readonly Objective[] = ["epsilon", "xstart", "v"];

/**
 * Beside the objectives the original's fourth: `previousX`, x_{t-1} itself. It is known to the
 * squared error only: as there, whatever else reads the output takes it for the noise.
 */
export type AnyObjective = Objective | "previousX";

/** A noisy batch and what it was made of. */
export interface NoisedBatch {
  /** x_0, [N, C, ...] */
  readonly xStart: Tensor;
  /** x_t, [N, C, ...] */
  readonly xT: Tensor;
  /** The noise in x_t, [N, C, ...]. */
  readonly noise: Tensor;
  /** t */
  readonly at: BatchTimesteps;
}

/** One kind of prediction. */
export interface Prediction {
  /** What the model's output is to be, [N, C, ...]. */
  target(schedule: NoiseSchedule, batch: NoisedBatch): Tensor;
  /** The x_0 that an output for x_t means, [N, C, ...]. */
  toXstart(schedule: NoiseSchedule, xT: Tensor, at: BatchTimesteps, output: Tensor): Tensor;
  /**
   * Squared error of the prediction over that of x_0 at a signal-to-noise ratio (arXiv 2303.09556,
   * section 3.4); NaN where it is not known.
   */
  errorRatio(snr: number): number;
}

/** Every kind by its name. */
export const PREDICTIONS: Readonly<Record<AnyObjective, Prediction>> = {
  epsilon: {
    target: (_, { noise }) => noise,
    toXstart: (schedule, xT, at, eps) => schedule.predictXstartFromEps(xT, at, eps),
    errorRatio: (snr) => snr,
  },
  xstart: {
    target: (_, { xStart }) => xStart,
    toXstart: (_schedule, _xT, _at, xStart) => xStart,
    errorRatio: () => 1,
  },
  v: {
    target: (schedule, { xStart, at, noise }) => schedule.velocity(xStart, at, noise),
    toXstart: (schedule, xT, at, v) => schedule.predictXstartFromV(xT, at, v),
    errorRatio: (snr) => snr + 1,
  },
  previousX: {
    target: (schedule, { xStart, xT, at }) => schedule.qPosteriorMean(xStart, xT, at),
    toXstart: (schedule, xT, at, output) => schedule.predictXstartFromEps(xT, at, output),
    errorRatio: () => NaN,
  },
};
