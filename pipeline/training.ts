/**
 * How a Diffusion Transformer is trained: what `deno task train` and a page that trains in the
 * visitor's browser have in common.
 */
import { add, autocast, concat, detach, mean, mul, noGrad, slice, sub } from "../autograd/mod.ts";
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
import { full, Generator, randn, type Share, type Tensor, tensor } from "../tensor/mod.ts";

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
  /** Guidance in what the model learns, see {@linkcode guidedInTraining}; 0, none, by default. */
  readonly modelGuidance?: number;
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
  const { each, ofEarly } = autocast(
    mixedPrecision === "fp16" ? "f16" : null,
    () => {
      if (model.earlyLayer) return lossesOfHeads(parts, xStart, y, timesteps);
      const { modelGuidance = 0 } = parts;
      const { loss } = process.trainingLosses(
        (x, t, { y }) => {
          const out = model.forward(x, t, y, { generator: generators.labels });
          return modelGuidance === 0 ? out : guidedInTraining(model, out, x, t, modelGuidance);
        },
        xStart,
        timesteps,
        { modelKwargs: { y }, generator: generators.noise },
      );
      return { each: loss, ofEarly: null };
    },
  ); // [n] each
  const whole = ofEarly ? add(each, ofEarly) : each;
  return { loss: mean(mul(whole, tensor(weights))), each, timesteps };
}

/**
 * Model guidance (arXiv 2502.12154): the model learns target + s (out - without), of which the
 * difference, between its prediction and that without a class, is a constant. It is of the model that
 * learns, so this ends at out = without + (target - without) / (1 - s), and moves the model without
 * end from an s of 1 on. To draw in one call what classifier-free guidance of 1 + w draws in two, s is
 * w / (1 + w); the 0.45 of the paper is a w of 0.82. As |out - (target + s d)| is |(out - s d) -
 * target|, what is given back is moved and the target left. Where the label was dropped both
 * predictions are the same, and nothing is moved.
 *
 * @param out What the model predicts of x [N, C, S, S] at t [N], with gradients.
 */
function guidedInTraining(model: DiT, out: Tensor, x: Tensor, t: Tensor, w: number): Tensor {
  const fill = (value: number) => full([x.shape[0]!], value, { dtype: "i32", device: x.device });
  const dropped = { forceDropIds: fill(1) }; // so that none are drawn
  const without = noGrad(() => model.forward(x, t, fill(model.nullClass!), dropped));
  return sub(out, mul(sub(detach(out), without), w / (1 + w)));
}

/**
 * The losses of both heads of a model, `[n]` each, at the same noise and times; the early one's is
 * added to the other (arXiv 2512.24176). To the process they are a batch of 2 n whose halves are
 * alike; the model computes one half.
 */
function lossesOfHeads(
  { model, process, generators }: Denoising,
  xStart: Tensor,
  y: Tensor,
  timesteps: readonly number[],
): { each: Tensor; ofEarly: Tensor } {
  const noise = randn(xStart.shape, { generator: generators.noise });
  const half = (t: Tensor) => slice(t, 0, { end: xStart.shape[0]! });
  const { loss } = process.trainingLosses(
    (x, t, { y }) => {
      const drop = { generator: generators.labels };
      const { out, early } = model.forwardHeads(half(x), half(t), y, drop);
      return concat([out, early]);
    },
    concat([xStart, xStart]),
    [...timesteps, ...timesteps],
    { modelKwargs: { y }, noise: concat([noise, noise]) },
  );
  return { each: half(loss), ofEarly: slice(loss, 0, { start: xStart.shape[0]! }) };
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
    ema,
    skipNonFinite: true, // so that the weights survive to tell what went wrong
  });
  optimizer.zeroGrad();
  return norm;
}
