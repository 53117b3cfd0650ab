/** What a run does, made of the flags: defaults filled in, contradictions refused. */
import { basename } from "@std/path";
import { UsageError } from "../../shared/errors.ts";
import {
  type DiffusionConfig,
  isOriginalModel,
  type ModelConfig,
  modelSize,
} from "../../model/config.ts";
import type { DataShape } from "./open_data.ts";
import type { TrainFlags } from "./flags.ts";

/** All that decides a run's numbers, and how it is kept. Plain JSON, kept in its config.json. */
export interface TrainSettings {
  /** `mnist`, or a folder. */
  readonly data: string;
  /** Side of the images in pixels; null until the data say it. */
  readonly imageSize: number | null;
  /** The autoencoder of latents, `ema`, `mse` or a path, or `none`; null until the data say it. */
  readonly vae: string | null;
  /** Threads that decode images. */
  readonly workers: number;
  /** Whether a damaged image is an error rather than left out. */
  readonly strict: boolean;
  /** Whether every other image is mirrored. */
  readonly flip: boolean;

  /** Optimiser steps in all; null where `epochs` says. */
  readonly steps: number | null;
  /** Passes over the data; null where `steps` says. */
  readonly epochs: number | null;
  /** Images a step. */
  readonly batchSize: number;
  /** Parts that a batch is computed in. */
  readonly gradAccum: number;
  /** Learning rate at its highest. */
  readonly lr: number;
  /** Steps in which the learning rate rises. */
  readonly warmup: number;
  /** How the learning rate goes on. */
  readonly schedule: "constant" | "cosine";
  /** Weight decay of AdamW. */
  readonly weightDecay: number;
  /** Decay of the averaged weights. */
  readonly emaDecay: number;
  /** Whether that decay starts low. */
  readonly emaWarmup: boolean;
  /** Limit of the gradient's norm; 0 for none. */
  readonly gradClip: number;
  /** Whether products and activations are half precision. */
  readonly mixedPrecision: "no" | "fp16";
  /** Whether blocks are computed again instead of kept. */
  readonly gradCheckpoint: boolean;
  /** Which timesteps are trained on. */
  readonly timestepSampler: "uniform" | "loss-second-moment";
  /** Everything random follows from it. */
  readonly seed: number;

  /** Steps between two lines of metrics. */
  readonly logEvery: number;
  /** Steps between two checkpoints. */
  readonly ckptEvery: number;
  /** Checkpoints that are kept; 0 for all. */
  readonly keep: number;
  /** Steps between two grids of samples; 0 for none. */
  readonly sampleEvery: number;
  /** DDIM steps of a sample. */
  readonly sampleSteps: number;
  /** Guidance of the samples. */
  readonly cfgScale: number;
  /** Samples a class at the end. */
  readonly finalSamples: number;
}

const SMALL_MODEL = "DiT-Mini/4";

/**
 * What is different about the small models, which are for pixels and for a CPU. With a constant rate
 * and an average of the weights, digits are recognised after fewer steps than with a rate that falls
 * (after 1,000: 95% to 92% after 1,200).
 */
const SMALL = {
  steps: 1300,
  epochs: null,
  batchSize: 64,
  lr: 1e-3,
  warmup: 50,
  schedule: "constant",
  emaDecay: 0.999,
  emaWarmup: true,
  gradClip: 1,
  logEvery: 20,
  ckptEvery: 300,
  sampleEvery: 300,
  cfgScale: 2,
  finalSamples: 20,
} as const;

/** The original's settings (train.py). */
const ORIGINAL = {
  steps: null,
  epochs: 1400,
  batchSize: 256,
  lr: 1e-4,
  warmup: 0,
  schedule: "constant",
  emaDecay: 0.9999,
  emaWarmup: false,
  gradClip: 0,
  logEvery: 100,
  ckptEvery: 50000,
  sampleEvery: 5000,
  cfgScale: 4,
  finalSamples: 0,
} as const;

/** Whether the model asked for is one of the paper's, which brings the original's settings. */
function isOriginal(flags: TrainFlags): boolean {
  const name = flags.model ?? SMALL_MODEL;
  modelSize(name); // refuses names that there are not
  return isOriginalModel(name);
}

/** Side of images that nothing else decides. */
export function usualImageSize(flags: TrainFlags): number {
  return isOriginal(flags) ? 256 : 32;
}

/**
 * Settings of a new run, but for what its data decide.
 *
 * @throws {UsageError} where flags contradict each other.
 */
export function settingsOf(flags: TrainFlags): TrainSettings {
  const usual = isOriginal(flags) ? ORIGINAL : SMALL;
  const data = flags.data ?? "mnist";
  refuseBoth(flags);
  const byEpochs = flags.epochs !== undefined;
  const settings: TrainSettings = {
    data,
    imageSize: flags["image-size"] ?? null,
    vae: flags.vae ?? null,
    workers: flags["num-workers"] ?? 4,
    strict: flags.strict ?? false,
    flip: flags.flip ?? data !== "mnist",
    steps: byEpochs ? null : flags.steps ?? usual.steps,
    epochs: flags.epochs ?? (flags.steps === undefined ? usual.epochs : null),
    batchSize: flags["global-batch-size"] ?? usual.batchSize,
    gradAccum: flags["grad-accum"] ?? 1,
    lr: flags.lr ?? usual.lr,
    warmup: flags.warmup ?? Math.min(usual.warmup, Math.floor((flags.steps ?? Infinity) / 10)),
    schedule: flags.schedule ?? usual.schedule,
    weightDecay: flags["weight-decay"] ?? 0,
    emaDecay: flags["ema-decay"] ?? usual.emaDecay,
    emaWarmup: flags["ema-warmup"] ?? usual.emaWarmup,
    gradClip: flags["grad-clip"] ?? usual.gradClip,
    mixedPrecision: flags["mixed-precision"] ?? "no",
    gradCheckpoint: flags["grad-checkpoint"] ?? false,
    timestepSampler: flags["timestep-sampler"] ?? "uniform",
    seed: flags["global-seed"] ?? 0,
    ...keepingOf(flags, { ...usual, keep: 3, sampleSteps: 25 }),
  };
  checkSettings(settings);
  return settings;
}

function refuseBoth({ steps, epochs }: TrainFlags): void {
  if (steps === undefined || epochs === undefined) return;
  throw new UsageError("expected --steps or --epochs but got both");
}

type Keeping = Pick<
  TrainSettings,
  "logEvery" | "ckptEvery" | "keep" | "sampleEvery" | "sampleSteps" | "cfgScale" | "finalSamples"
>;

/** How often things are written, which changes no number of the run. */
function keepingOf(flags: TrainFlags, usual: Keeping): Keeping {
  return {
    logEvery: flags["log-every"] ?? usual.logEvery,
    ckptEvery: flags["ckpt-every"] ?? usual.ckptEvery,
    keep: flags.keep ?? usual.keep,
    sampleEvery: flags["sample-every"] ?? usual.sampleEvery,
    sampleSteps: flags["sample-steps"] ?? usual.sampleSteps,
    cfgScale: flags["cfg-scale"] ?? usual.cfgScale,
    finalSamples: flags["final-samples"] ?? usual.finalSamples,
  };
}

function checkSettings(settings: TrainSettings): void {
  const { steps, warmup, batchSize, gradAccum } = settings;
  if (steps !== null && warmup > steps) {
    throw new UsageError(
      `--warmup: expected ${steps} at most, the number of steps, but got ${warmup}`,
    );
  }
  if (batchSize % gradAccum !== 0) {
    throw new UsageError(
      `--grad-accum: expected a number of equal parts of a batch of ${batchSize} but got ${gradAccum}`,
    );
  }
}

/** Flags that a run that is continued takes from where it was. */
const CONTINUED = [
  ...["steps", "epochs", "log-every", "ckpt-every", "keep", "sample-every", "sample-steps"],
  ...["cfg-scale", "final-samples", "device", "safe-wasm", "resume", "results-dir", "export-demo"],
  ...["num-workers", "strict", "data"],
];

/**
 * Settings of a run that is continued: its own, but for how long it goes on and what is written.
 *
 * @throws {UsageError} where a flag would make another run of it.
 */
export function resumedSettings(before: TrainSettings, flags: TrainFlags): TrainSettings {
  const wrong = Object.keys(flags).find((name) => !CONTINUED.includes(name));
  if (wrong) {
    throw new UsageError(
      `--${wrong} cannot be changed by --resume, which continues a run as it was`,
    );
  }
  refuseBoth(flags);
  const steps = flags.steps ?? (flags.epochs === undefined ? before.steps : null);
  const epochs = flags.epochs ?? (flags.steps === undefined ? before.epochs : null);
  const workers = flags["num-workers"] ?? before.workers;
  const strict = flags.strict ?? before.strict ?? false; // older checkpoints have none
  const data = flags.data ?? before.data; // they may have moved; that they are others is found out
  return { ...before, data, steps, epochs, workers, strict, ...keepingOf(flags, before) };
}

/** Settings with what the data decided. */
export function settledBy(
  { imageSize, latents }: DataShape,
  settings: TrainSettings,
): TrainSettings {
  return { ...settings, imageSize, vae: latents?.vae ?? "none" };
}

/** How many steps a run has. */
export function totalSteps({ steps, epochs, batchSize }: TrainSettings, images: number): number {
  return steps ?? epochs! * Math.floor(images / batchSize);
}

/**
 * The model of a new run.
 *
 * @throws {UsageError} where the flags do not fit each other or the data.
 */
export function modelConfigOf(
  flags: TrainFlags,
  settings: TrainSettings,
  data: DataShape,
): ModelConfig {
  const original = isOriginal(flags);
  const name = flags.model ?? SMALL_MODEL;
  const size = modelSize(name);
  const given = {
    hiddenSize: flags["hidden-size"] ?? size.hiddenSize,
    depth: flags.depth ?? size.depth,
    numHeads: flags["num-heads"] ?? size.numHeads,
    patchSize: flags["patch-size"] ?? size.patchSize,
  };
  const numClasses = flags["num-classes"] ?? data.classNames.length;
  if (numClasses < data.classNames.length) {
    throw new UsageError(
      `--num-classes: expected ${data.classNames.length} or more, the classes of ` +
        `${basename(settings.data)}, but got ${numClasses}`,
    );
  }
  if (data.side % given.patchSize !== 0) {
    throw new UsageError(
      `--patch-size: expected a divisor of ${data.side}, the side of what the model sees, but got ` +
        `${given.patchSize}; change it or --image-size`,
    );
  }
  if (given.hiddenSize % given.numHeads !== 0 || given.hiddenSize % 4 !== 0) {
    throw new UsageError(
      `--hidden-size: expected a multiple of 4 and of --num-heads ${given.numHeads} but got ` +
        `${given.hiddenSize}`,
    );
  }
  // with one class there is nothing to leave out, and nothing that guidance could lead to
  const classDropoutProb = flags["class-dropout"] ?? (numClasses === 1 ? 0 : 0.1);
  const diffusion: DiffusionConfig = {
    objective: flags.objective ?? (original ? "epsilon" : "xstart"),
    noiseSchedule: flags["noise-schedule"] ?? "linear",
    diffusionSteps: flags["diffusion-steps"] ?? 1000,
    minSnrGamma: flags["min-snr"] ?? null,
  };
  return {
    name,
    dit: {
      ...given,
      inputSize: data.side,
      inChannels: data.channels,
      mlpRatio: flags["mlp-ratio"] ?? 4,
      classDropoutProb,
      numClasses,
      learnSigma: flags["learn-sigma"] ?? original,
    },
    diffusion,
    latents: data.latents,
    classNames: data.classNames,
    nullClass: classDropoutProb > 0 ? numClasses : null,
  };
}
