/** Gaussian diffusion as one object: the processes, their losses, and the sampling loops. */
import type { Shape, Tensor } from "../tensor/mod.ts";
import { TrainableProcess, type TrainableProcessConfig } from "./losses.ts";
import type { Model, ModelKwargs } from "./model.ts";
import { respacedBetas, type Respacing, spaceTimesteps } from "./respace.ts";
import type { DdimOptions, StepOptions } from "./reverse_process.ts";
import {
  descending,
  lastSample,
  type SamplingStep,
  startNoise,
  type StartOptions,
  trajectory,
} from "./samplers/trajectory.ts";

/** What a {@link GaussianDiffusion} is made of. */
export type GaussianDiffusionConfig = TrainableProcessConfig;

/** Settings of the DDPM loops. */
export type SampleLoopOptions<K extends object = ModelKwargs> = StepOptions<K> & StartOptions;

/** Settings of the DDIM loops. */
export type DdimLoopOptions<K extends object = ModelKwargs> = DdimOptions<K> & StartOptions;

/**
 * A diffusion process over continuous data; {@link createDiffusion} makes one from the original's
 * flags. Loops run without gradients and read nothing back.
 */
export class GaussianDiffusion extends TrainableProcess {
  readonly #config: GaussianDiffusionConfig;

  /**
   * A process of any combination of settings.
   *
   * @throws {RangeError} where the settings do not go together.
   */
  constructor(config: GaussianDiffusionConfig) {
    super(config);
    this.#config = config;
  }

  /**
   * The same process visiting only some of its timesteps (arXiv 2102.09672, section 4). The model
   * still sees the numbers of the process it was trained on.
   */
  respaced(respacing: Respacing): GaussianDiffusion {
    const kept = spaceTimesteps(this.numTimesteps, respacing);
    return new GaussianDiffusion({
      ...this.#config,
      betas: respacedBetas(this.alphasCumprod, kept),
      timestepMap: kept.map((t) => this.timestepMap[t]!),
    });
  }

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
    return trajectory(
      this.timestepMap,
      () => startNoise("pSampleLoop", shape, options),
      descending(this.numTimesteps),
      ({ x, t, step }) => this.pSample(model, x, t, { ...each, step }),
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
    return trajectory(
      this.timestepMap,
      () => startNoise("ddimSampleLoop", shape, options),
      descending(this.numTimesteps),
      ({ x, t, step }) => this.ddimSample(model, x, t, { ...each, step }),
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
    return trajectory(
      this.timestepMap,
      () => xStart,
      descending(this.numTimesteps).reverse(),
      ({ x, t }) => this.ddimReverseSample(model, x, t, options),
    );
  }
}
