/**
 * What training, samplers and guidance ask of a generative process: how x_t comes about, what a
 * model predicts of it and how x_0 comes back from that, the loss, and noise levels to sample at.
 * Times are the process's own: whole timesteps of Gaussian diffusion, 0 to 1 of a flow, or any other
 * numbers.
 */
import { checkOptionNames, type Tensor } from "../tensor/mod.ts";
import type { Model, ModelKwargs } from "./model.ts";
import type { NoiseOptions } from "./noise.ts";
import type { TimeOptions, TimestepSampler, TimestepSamplerName } from "./timestep_samplers.ts";
import type { Timesteps } from "./timesteps.ts";

/** How a model is to be called. */
export interface ModelOptions<K extends object = ModelKwargs> {
  /** Further inputs of the model, such as `{ y }`. */
  modelKwargs?: K;
}

/** What is done to the predicted x_0. */
export interface XstartOptions {
  /** Limits the predicted x_0 to [-1, 1]; true by default. */
  clipDenoised?: boolean;
  /** Changes the predicted x_0, before it is clipped. */
  denoisedFn?: (xStart: Tensor) => Tensor;
}

/** How x_0 is to be predicted. */
export type PredictOptions<K extends object = ModelKwargs> = ModelOptions<K> & XstartOptions;

/**
 * Gradient of log p(y | x_t) by x_t, for guidance by a classifier.
 *
 * @param t As a model sees it.
 */
export type CondFn<K extends object = ModelKwargs> = (
  x: Tensor,
  t: Tensor,
  kwargs: K,
) => Tensor;

/** How a step is to be taken. */
export interface StepOptions<K extends object = ModelKwargs>
  extends ModelOptions<K>, XstartOptions {
  /** Guides the step. */
  condFn?: CondFn<K>;
}

/** Every option of a step, a loss or a loop, whichever reads it. */
const STEP_OPTIONS = {
  modelKwargs: true,
  clipDenoised: true,
  denoisedFn: true,
  condFn: true,
  eta: true,
  noise: true,
  noiseFn: true,
  generator: true,
  step: true,
} as const;

/**
 * Refuses options that no step has. The loops hand theirs down, so one list is for all.
 *
 * @throws {TypeError}
 */
export function checkStepOptions(op: string, options: object): void {
  checkOptionNames(op, options, STEP_OPTIONS as Record<string, true>);
}

/** A step taken. */
export interface StepResult {
  /** x at the time that the step leads to: [N, C, ...]. */
  sample: Tensor;
  /** The x_0 predicted on the way: [N, C, ...]. */
  predXstart: Tensor;
}

/** How a loss is to be computed. */
export type TrainingOptions<K extends object = ModelKwargs> = ModelOptions<K> & NoiseOptions;

/** Losses of a batch, one number a sample. */
export interface TrainingLosses {
  /** [N]: what to take the mean of and minimise. */
  loss: Tensor;
  /** [N]: squared error of the prediction, unweighted. */
  mse?: Tensor;
  /** [N]: the bound's part, which trains the variance only. */
  vb?: Tensor;
}

/** How much signal and noise there is at a time: x = alpha x_0 + sigma eps. */
export interface NoiseLevel {
  /** The time; that of the data is -1 where timesteps are counted. */
  readonly t: number;
  /** What the model is given as its timestep. */
  readonly modelTime: number;
  /** Weight of x_0: 1 for the data, 0 where nothing of them is left. */
  readonly alpha: number;
  /** Standard deviation of the noise: 0 for the data. */
  readonly sigma: number;
}

/**
 * How the stops of a sampler are spread: evenly in time, evenly in the logarithm of the
 * signal-to-noise ratio (Lu et al., arXiv 2206.00927, section 5), evenly in sigma^(1/7) (Karras et
 * al., arXiv 2206.00364, eq. 5), or, for the SDE of a flow, evenly in time but for a longer last step
 * (Ma et al., arXiv 2401.08740).
 */
export type Spacing = "time" | "logSnr" | "karras" | "sde";

/** Takes step `step`, counted from 0, with the x [N, C, ...] of its stop. */
export type AncestralStep<K extends object = ModelKwargs> = (
  model: Model<K>,
  x: Tensor,
  step: number,
  options: StepOptions<K> & NoiseOptions,
) => StepResult;

/** A way from data to noise and back that a model is trained for. */
export interface Process {
  /** What messages call it. */
  readonly name: string;
  /** Whether the model's output has as many channels again, for a variance. */
  readonly learnsVariance: boolean;
  /** Most steps that a sampler can take: each stops at another time. */
  readonly maxSteps: number;
  /**
   * Draws the times that training is done at.
   *
   * @throws {RangeError} where the process has no such distribution of times.
   */
  timestepSampler(name: TimestepSamplerName, options?: TimeOptions): TimestepSampler;
  /**
   * Losses of a batch at times `t`. Take the mean of `loss` and call `backward` on it.
   *
   * @param xStart x_0, [N, C, ...]
   * @throws {ShapeError} where the model's output does not fit.
   */
  trainingLosses<K extends object>(
    model: Model<K>,
    xStart: Tensor,
    t: Timesteps,
    options?: TrainingOptions<K>,
  ): TrainingLosses;
  /**
   * The x_0 that the model predicts, guided where there is a `condFn`: all that samplers need of a
   * model.
   *
   * @param x x_t, [N, C, ...]
   */
  predictXstart<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options?: StepOptions<K>,
  ): Tensor;
  /** The noise level of a time; that of the data for a time below 0. */
  levelAt(t: number): NoiseLevel;
  /**
   * Times at which samplers call the model in `steps` steps, from the most noise on; the last step
   * leads to the data.
   *
   * @throws {RangeError} where the number is not in [1, maxSteps].
   */
  stops(steps: number, spacing: Spacing): number[];
  /**
   * Draws from p(x_{t-1} | x_t) with the variance that the model was trained with, between these
   * stops; missing where a process has no such distribution.
   */
  ancestral?<K extends object>(stops: readonly number[]): AncestralStep<K>;
  /**
   * The velocity dx/dt of the probability flow, [N, C, ...]; undefined for a time at which what the
   * model predicts does not say it. Missing where time is counted in steps.
   */
  velocity?<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: number,
    options?: StepOptions<K>,
  ): Tensor | undefined;
}
