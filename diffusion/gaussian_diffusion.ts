/**
 * Gaussian diffusion: a schedule, what the model predicts, a variance and a loss in one object, with
 * the methods of the original's `GaussianDiffusion`.
 */
import type { Shape, Tensor } from "../tensor/mod.ts";
import { type BoundOptions, type BpdResult, calcBpdLoop, priorBpd, vbTermsBpd } from "./bound.ts";
import {
  type BoundTerm,
  checkLossParts,
  type LossParts,
  type LossType,
  trainingLosses,
} from "./losses.ts";
import type { Model, ModelKwargs } from "./model.ts";
import type { NoiseOptions, NoiseSource } from "./noise.ts";
import { type GaussianMoments, NoiseSchedule } from "./noise_schedule.ts";
import type { AnyObjective } from "./predictions.ts";
import type {
  AncestralStep,
  CondFn,
  ModelOptions,
  NoiseLevel,
  PredictOptions,
  Process,
  Spacing,
  StepOptions,
  StepResult,
  TrainingLosses,
  TrainingOptions,
} from "./process.ts";
import { type Respacing, spaceTimesteps } from "./respace.ts";
import { isLearned, type ModelPrediction, type VarType } from "./reverse.ts";
import { spacedTimesteps } from "./samplers/grid.ts";
import {
  descending,
  lastSample,
  type SamplingStep,
  startNoise,
  type StartOptions,
  trajectory,
} from "./samplers/trajectory.ts";
import * as steps from "./steps.ts";
import type { DdimOptions } from "./steps.ts";
import {
  createTimestepSampler,
  type TimestepSampler,
  type TimestepSamplerName,
} from "./timestep_samplers.ts";
import type { Timesteps } from "./timesteps.ts";

/** What a {@link GaussianDiffusion} is made of. */
export interface GaussianDiffusionConfig {
  /** Noise levels: one beta a timestep, or a schedule. */
  betas: ArrayLike<number> | NoiseSchedule;
  /** What the model predicts. */
  objective: AnyObjective;
  /** Where the variance comes from. */
  varType: VarType;
  /** What training minimises. */
  lossType: LossType;
  /** Weighs squared errors by min(SNR, this) (Hang et al., arXiv 2303.09556; 5 there). */
  minSnrGamma?: number | undefined;
}

/** Settings of the DDPM loops. */
export type SampleLoopOptions<K extends object = ModelKwargs> = StepOptions<K> & StartOptions;

/** Settings of the DDIM loops. */
export type DdimLoopOptions<K extends object = ModelKwargs> = DdimOptions<K> & StartOptions;

/**
 * A diffusion process over continuous data; {@link createDiffusion} makes one from the original's
 * flags. Loops run without gradients and read nothing back.
 */
export class GaussianDiffusion implements Process, LossParts {
  /** Noise levels and q. */
  readonly schedule: NoiseSchedule;
  /** What the model predicts. */
  readonly objective: AnyObjective;
  /** Where the variance comes from. */
  readonly varType: VarType;
  /** What training minimises. */
  readonly lossType: LossType;
  /** Weight limit of min-SNR; undefined where errors are not weighted. */
  readonly minSnrGamma: number | undefined;

  /**
   * A process of any combination of settings.
   *
   * @throws {RangeError} where the settings do not go together.
   */
  constructor({ betas, objective, varType, lossType, minSnrGamma }: GaussianDiffusionConfig) {
    this.schedule = betas instanceof NoiseSchedule ? betas : new NoiseSchedule(betas);
    this.objective = objective;
    this.varType = varType;
    this.lossType = lossType;
    this.minSnrGamma = minSnrGamma;
    checkLossParts(this);
  }

  /** Number of timesteps, T. */
  get numTimesteps(): number {
    return this.schedule.numTimesteps;
  }

  /** What the model is given for each timestep: those of the process it was trained on. */
  get timestepMap(): readonly number[] {
    return this.schedule.timestepMap;
  }

  /** Whether the model's output has channels for the variance. */
  get learnsVariance(): boolean {
    return isLearned(this.varType);
  }

  /**
   * The same process visiting only some of its timesteps (arXiv 2102.09672, section 4). The model
   * still sees the numbers of the process it was trained on.
   */
  respaced(respacing: Respacing): GaussianDiffusion {
    return this.#visiting(spaceTimesteps(this.numTimesteps, respacing));
  }

  #visiting(timesteps: readonly number[]): GaussianDiffusion {
    const { objective, varType, lossType, minSnrGamma } = this;
    const betas = this.schedule.respaced(timesteps);
    return new GaussianDiffusion({ betas, objective, varType, lossType, minSnrGamma });
  }

  // What training and samplers ask of any process

  /** What messages call it. */
  get name(): string {
    return "gaussian";
  }

  /** One step a timestep. */
  get maxSteps(): number {
    return this.numTimesteps;
  }

  /** Draws timesteps to train at. */
  timestepSampler(name: TimestepSamplerName): TimestepSampler {
    return createTimestepSampler(name, this);
  }

  /**
   * Losses of a batch for timesteps `t` (arXiv 2006.11239, algorithm 1). Take the mean of `loss`
   * and call `backward` on it.
   *
   * @param xStart x_0, [N, C, ...]
   * @throws {ShapeError} where the model's output does not fit.
   */
  trainingLosses<K extends object>(
    model: Model<K>,
    xStart: Tensor,
    t: Timesteps,
    options: TrainingOptions<K> = {},
  ): TrainingLosses {
    return trainingLosses(this, model, xStart, t, options);
  }

  /**
   * The x_0 that the model predicts, guided where there is a `condFn`.
   *
   * @param x x_t, [N, C, ...]
   */
  predictXstart<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options: StepOptions<K> = {},
  ): Tensor {
    return steps.predictXstart(this, model, x, t, options);
  }

  /** The noise level of a timestep; that of the data at -1. */
  levelAt(t: number): NoiseLevel {
    return this.schedule.levelAt(t);
  }

  /** `steps` timesteps from T - 1 down to 0; T - 1 where it is one step. */
  stops(steps: number, spacing: Spacing): number[] {
    return spacedTimesteps(this.schedule, steps, spacing);
  }

  /** Steps of {@link pSample} between these timesteps, the largest first. */
  ancestral<K extends object>(stops: readonly number[]): AncestralStep<K> {
    const short = this.#visiting(stops.toReversed());
    return (model, x, step, options) => {
      return short.pSample(model, x, stops.length - 1 - step, options);
    };
  }

  // One step of the reverse process

  /**
   * p(x_{t-1} | x_t) by the model, and the x_0 it predicts.
   *
   * @param x x_t, [N, C, ...]
   * @throws {ShapeError} where the model's output does not fit.
   */
  pMeanVariance<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options: PredictOptions<K> = {},
  ): ModelPrediction {
    return steps.pMeanVariance(this, model, x, t, options);
  }

  /**
   * The mean of p(x_{t-1} | x_t) moved by variance times the classifier's gradient (algorithm 1 of
   * Dhariwal & Nichol, arXiv 2105.05233).
   */
  conditionMean<K extends object>(
    condFn: CondFn<K>,
    prediction: ModelPrediction,
    x: Tensor,
    t: Timesteps,
    options: ModelOptions<K> = {},
  ): Tensor {
    return steps.conditionMean(this, condFn, prediction, x, t, options);
  }

  /**
   * The prediction with its score moved by the classifier's gradient, for DDIM (algorithm 2 of
   * Dhariwal & Nichol, arXiv 2105.05233). Of the original's API.
   */
  conditionScore<K extends object>(
    condFn: CondFn<K>,
    prediction: ModelPrediction,
    x: Tensor,
    t: Timesteps,
    options: ModelOptions<K> = {},
  ): ModelPrediction {
    return steps.conditionScore(this, condFn, prediction, x, t, options);
  }

  /**
   * A sample of p(x_{t-1} | x_t) (arXiv 2006.11239, algorithm 2). No noise is added at t = 0.
   *
   * @param x x_t, [N, C, ...]
   */
  pSample<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options: StepOptions<K> & NoiseOptions = {},
  ): StepResult {
    return steps.pSample(this, model, x, t, options);
  }

  /**
   * A step of DDIM (Song et al., arXiv 2010.02502, eq. 12, with sigma of eq. 16).
   *
   * @param x x_t, [N, C, ...]
   */
  ddimSample<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options: DdimOptions<K> & NoiseOptions = {},
  ): StepResult {
    return steps.ddimSample(this, model, x, t, options);
  }

  /**
   * A step of the deterministic DDIM towards more noise, x_t to x_{t+1}: encodes an image. Of the
   * original's API.
   *
   * @param x x_t, [N, C, ...]
   */
  ddimReverseSample<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options: StepOptions<K> = {},
  ): StepResult {
    return steps.ddimReverseSample(this, model, x, t, options);
  }

  // The original's loops; `sample()` runs any sampler in any number of steps

  /**
   * Samples by the reverse process (DDPM, arXiv 2006.11239, algorithm 2).
   *
   * @param shape [N, C, ...]
   * @returns x_0, [N, C, ...]
   */
  async pSampleLoop<K extends object>(
    model: Model<K>,
    shape: Shape,
    options: SampleLoopOptions<K> = {},
  ): Promise<Tensor> {
    return await lastSample(this.pSampleLoopProgressive(model, shape, options));
  }

  /** As {@link pSampleLoop}, step by step. */
  pSampleLoopProgressive<K extends object>(
    model: Model<K>,
    shape: Shape,
    options: SampleLoopOptions<K> = {},
  ): AsyncGenerator<SamplingStep, void> {
    const { noise: _, ...each } = options; // of the first x, not of each step
    return this.#loop(
      () => startNoise("pSampleLoop", shape, options),
      descending(this.numTimesteps),
      (x, t, step) => this.pSample(model, x, t, { ...each, step }),
    );
  }

  /**
   * Samples by DDIM (arXiv 2010.02502).
   *
   * @param shape [N, C, ...]
   * @returns x_0, [N, C, ...]
   */
  async ddimSampleLoop<K extends object>(
    model: Model<K>,
    shape: Shape,
    options: DdimLoopOptions<K> = {},
  ): Promise<Tensor> {
    return await lastSample(this.ddimSampleLoopProgressive(model, shape, options));
  }

  /** As {@link ddimSampleLoop}, step by step. */
  ddimSampleLoopProgressive<K extends object>(
    model: Model<K>,
    shape: Shape,
    options: DdimLoopOptions<K> = {},
  ): AsyncGenerator<SamplingStep, void> {
    const { noise: _, ...each } = options;
    return this.#loop(
      () => startNoise("ddimSampleLoop", shape, options),
      descending(this.numTimesteps),
      (x, t, step) => this.ddimSample(model, x, t, { ...each, step }),
    );
  }

  /**
   * Encodes data as the noise that deterministic DDIM would make it from.
   *
   * @param xStart x_0, [N, C, ...]
   * @returns x_T, [N, C, ...]
   */
  async ddimReverseSampleLoop<K extends object>(
    model: Model<K>,
    xStart: Tensor,
    options: StepOptions<K> = {},
  ): Promise<Tensor> {
    return await lastSample(this.ddimReverseSampleLoopProgressive(model, xStart, options));
  }

  /** As {@link ddimReverseSampleLoop}, step by step. */
  ddimReverseSampleLoopProgressive<K extends object>(
    model: Model<K>,
    xStart: Tensor,
    options: StepOptions<K> = {},
  ): AsyncGenerator<SamplingStep, void> {
    return this.#loop(
      () => xStart,
      descending(this.numTimesteps).reverse(),
      (x, t) => this.ddimReverseSample(model, x, t, options),
    );
  }

  #loop(
    start: () => Tensor,
    timesteps: readonly number[],
    take: (x: Tensor, t: number, step: number) => StepResult,
  ): AsyncGenerator<SamplingStep, void> {
    const modelTimes = timesteps.map((t) => this.timestepMap[t]!);
    return trajectory(start, modelTimes, ({ x, step }) => take(x, timesteps[step]!, step));
  }

  // The schedule's closed forms and tables, and the bound, by the original's names

  /** See {@link NoiseSchedule.qMeanVariance}. */
  qMeanVariance(xStart: Tensor, t: Timesteps): GaussianMoments {
    return this.schedule.qMeanVariance(xStart, t);
  }

  /** See {@link NoiseSchedule.qSample}. */
  qSample(xStart: Tensor, t: Timesteps, noise: Tensor | NoiseOptions = {}): Tensor {
    return this.schedule.qSample(xStart, t, noise);
  }

  /** See {@link NoiseSchedule.qPosteriorMeanVariance}. */
  qPosteriorMeanVariance(xStart: Tensor, xT: Tensor, t: Timesteps): GaussianMoments {
    return this.schedule.qPosteriorMeanVariance(xStart, xT, t);
  }

  /** See {@link boundTerm}. */
  vbTermsBpd<K extends object>(
    model: Model<K>,
    xStart: Tensor,
    xT: Tensor,
    t: Timesteps,
    options: BoundOptions<K> = {},
  ): BoundTerm {
    return vbTermsBpd(this, model, xStart, xT, t, options);
  }

  /** The bound's part that no model changes, in bits per dimension, [N]. */
  priorBpd(xStart: Tensor): Tensor {
    return priorBpd(this.schedule, xStart);
  }

  /**
   * The whole variational bound of a batch, without reading anything back.
   *
   * @param xStart x_0, [N, C, ...]
   * @param options `noiseFn` is asked for the noise of iteration 0, 1, ... that makes x_t.
   */
  calcBpdLoop<K extends object>(
    model: Model<K>,
    xStart: Tensor,
    options: BoundOptions<K> & NoiseSource = {},
  ): BpdResult {
    return calcBpdLoop(this, model, xStart, options);
  }

  /** See {@link NoiseSchedule.predictXstartFromEps}. */
  predictXstartFromEps(xT: Tensor, t: Timesteps, eps: Tensor): Tensor {
    return this.schedule.predictXstartFromEps(xT, t, eps);
  }

  /** See {@link NoiseSchedule.predictEpsFromXstart}. */
  predictEpsFromXstart(xT: Tensor, t: Timesteps, xStart: Tensor): Tensor {
    return this.schedule.predictEpsFromXstart(xT, t, xStart);
  }

  /** See {@link NoiseSchedule.betas}. */
  get betas(): Float64Array {
    return this.schedule.betas;
  }

  /** See {@link NoiseSchedule.alphasCumprod}. */
  get alphasCumprod(): Float64Array {
    return this.schedule.alphasCumprod;
  }

  /** See {@link NoiseSchedule.alphasCumprodPrev}. */
  get alphasCumprodPrev(): Float64Array {
    return this.schedule.alphasCumprodPrev;
  }

  /** See {@link NoiseSchedule.alphasCumprodNext}. */
  get alphasCumprodNext(): Float64Array {
    return this.schedule.alphasCumprodNext;
  }

  /** See {@link NoiseSchedule.sqrtAlphasCumprod}. */
  get sqrtAlphasCumprod(): Float64Array {
    return this.schedule.sqrtAlphasCumprod;
  }

  /** See {@link NoiseSchedule.sqrtOneMinusAlphasCumprod}. */
  get sqrtOneMinusAlphasCumprod(): Float64Array {
    return this.schedule.sqrtOneMinusAlphasCumprod;
  }

  /** See {@link NoiseSchedule.logOneMinusAlphasCumprod}. */
  get logOneMinusAlphasCumprod(): Float64Array {
    return this.schedule.logOneMinusAlphasCumprod;
  }

  /** See {@link NoiseSchedule.sqrtRecipAlphasCumprod}. */
  get sqrtRecipAlphasCumprod(): Float64Array {
    return this.schedule.sqrtRecipAlphasCumprod;
  }

  /** See {@link NoiseSchedule.sqrtRecipm1AlphasCumprod}. */
  get sqrtRecipm1AlphasCumprod(): Float64Array {
    return this.schedule.sqrtRecipm1AlphasCumprod;
  }

  /** See {@link NoiseSchedule.posteriorVariance}. */
  get posteriorVariance(): Float64Array {
    return this.schedule.posteriorVariance;
  }

  /** See {@link NoiseSchedule.posteriorLogVarianceClipped}. */
  get posteriorLogVarianceClipped(): Float64Array {
    return this.schedule.posteriorLogVarianceClipped;
  }

  /** See {@link NoiseSchedule.posteriorMeanCoef1}. */
  get posteriorMeanCoef1(): Float64Array {
    return this.schedule.posteriorMeanCoef1;
  }

  /** See {@link NoiseSchedule.posteriorMeanCoef2}. */
  get posteriorMeanCoef2(): Float64Array {
    return this.schedule.posteriorMeanCoef2;
  }
}
