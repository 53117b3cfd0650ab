/**
 * How a Diffusion Transformer is trained: what `deno task train` and a page that trains in the
 * visitor's browser have in common.
 */
import { autocast, mean, mul } from "../autograd/mod.ts";
import type { Process, TimestepSampler } from "../diffusion/mod.ts";
import type { DiT } from "../dit/mod.ts";
import {
  type AdamW,
  constantSchedule,
  cosineSchedule,
  type Ema,
  type GradScaler,
  type Schedule,
  warmupSchedule,
} from "../nn/mod.ts";
import { Generator, type Share, type Tensor, tensor } from "../tensor/mod.ts";

/** Random streams of a run's seed, one a purpose. */
export const TRAINING_STREAMS = { weights: 0, noise: 1, labels: 2, timesteps: 3 } as const;

/** Where the random numbers of steps come from. */
export type TrainingGenerators = Readonly<Record<"noise" | "labels" | "timesteps", Generator>>;

/** Generators of a run's seed; the share of it that one of several processes draws. */
export function trainingGenerators(seed: number, share?: Share): TrainingGenerators {
  return {
    noise: new Generator(seed, TRAINING_STREAMS.noise, share),
    labels: new Generator(seed, TRAINING_STREAMS.labels, share),
    timesteps: new Generator(seed, TRAINING_STREAMS.timesteps, share),
  };
}

/** How the learning rate goes. */
export interface RateSettings {
  /** After the warm-up. */
  readonly schedule: "constant" | "cosine";
  /** Steps in which it rises. */
  readonly warmup: number;
}

/**
 * Factor of the learning rate by steps taken.
 *
 * @param steps Of the whole run.
 */
export function learningRates({ schedule, warmup }: RateSettings, steps: number): Schedule {
  const after = schedule === "cosine"
    ? cosineSchedule(Math.max(1, steps - warmup))
    : constantSchedule();
  return warmupSchedule(warmup, after);
}

/** What a loss is made of. */
export interface Denoising {
  /** What is trained. */
  readonly model: DiT;
  /** What it is trained for. */
  readonly process: Process;
  /** Which times of it a batch has. */
  readonly timesteps: TimestepSampler;
  /** Where noise, times and dropped labels are drawn from. */
  readonly generators: TrainingGenerators;
  /** Whether products and activations are half precision. */
  readonly mixedPrecision: "no" | "fp16";
}

/** The loss of a batch, or of a part of one. */
export interface DenoisingLoss {
  /** What gradients are taken of: the mean, weighted as the timestep sampler says. */
  readonly loss: Tensor;
  /** `[n]`: of each image, without weights. */
  readonly each: Tensor;
  /** `n` of them: the one of each image. */
  readonly timesteps: readonly number[];
}

/**
 * The loss of denoising images (arXiv 2006.11239, algorithm 1), each at a timestep of its own.
 *
 * @param xStart `[n, C, S, S]`, pixels or latents
 * @param y `[n]`, their classes
 */
export function denoisingLoss(parts: Denoising, xStart: Tensor, y: Tensor): DenoisingLoss {
  const { model, process, generators, mixedPrecision } = parts;
  const { timesteps, weights } = parts.timesteps.sample(xStart.shape[0]!, generators.timesteps);
  const { loss: each } = autocast(
    mixedPrecision === "fp16" ? "f16" : null,
    () =>
      process.trainingLosses(
        (x, t, { y }) => model.forward(x, t, y, { generator: generators.labels }),
        xStart,
        timesteps,
        { modelKwargs: { y }, generator: generators.noise },
      ),
  ); // [n]
  return { loss: mean(mul(each, tensor(weights))), each, timesteps };
}

/** What moves weights by their gradients. */
export interface Optimisation {
  /** Moves the weights. */
  readonly optimizer: AdamW;
  /** Unscales gradients, and skips steps that overflow. */
  readonly scaler: GradScaler;
  /** Follows the weights. */
  readonly ema: Ema;
}

/**
 * Moves the weights and their average by the gradients, which are cleared.
 *
 * @param gradClip Limit of the gradient's norm; 0 for none.
 * @returns the norm of all gradients before they were clipped, a scalar
 */
export function updateWeights(
  { optimizer, scaler, ema }: Optimisation,
  lr: number,
  gradClip: number,
): Tensor {
  optimizer.lr = lr;
  const norm = scaler.step(optimizer, {
    ...(gradClip > 0 ? { maxNorm: gradClip } : {}),
    skipNonFinite: true, // so that the weights survive to tell what went wrong
  });
  optimizer.zeroGrad();
  ema.update();
  return norm;
}
