/**
 * What a model is, apart from its weights: enough to build it again, train it on and sample from it
 * with no further flags. Checkpoints carry it.
 */
import {
  createProcess,
  type NoiseScheduleName,
  type Objective,
  type Process,
  PROCESSES,
  type ProcessName,
  type ProcessOptions,
} from "../diffusion/mod.ts";
import { DiT, DIT_CONFIGS, type DiTShape, type DiTSize } from "../dit/mod.ts";
import * as nn from "../nn/mod.ts";
import type { Generator, Shape } from "../tensor/mod.ts";

/** A process, as training has it; sampling stops at some of its timesteps. */
export interface DiffusionConfig {
  /** Which kind of process; `gaussian` where it is missing, as in older checkpoints. */
  readonly process?: ProcessName | undefined;
  /** What the model predicts. */
  readonly objective: Objective;
  /** How noise grows; of Gaussian diffusion, as are the next two. */
  readonly noiseSchedule: NoiseScheduleName;
  /** Timesteps. */
  readonly diffusionSteps: number;
  /** Weight limit of min-SNR; null where errors are not weighted. */
  readonly minSnrGamma: number | null;
  /** How far the times of a flow are moved to the noise; 1, not at all, where it is missing. */
  readonly timeShift?: number | undefined;
}

/** What the models of a process predict where nothing is said, unless that depends on the model. */
export function usualObjective(process: ProcessName): Objective | undefined {
  return PROCESSES[process].objectives?.[0];
}

/** Whether a setting of a process is one of this kind's. */
export function takes(process: ProcessName, option: keyof ProcessOptions): boolean {
  return PROCESSES[process].takes?.includes(option) ?? true;
}

/** The kind of process of a configuration. */
export function processOf({ process = "gaussian" }: DiffusionConfig): ProcessName {
  return process;
}

/** Published autoencoders by the short names of the original's `--vae`. */
export const PUBLISHED_AUTOENCODERS = ["ema", "mse"] as const;

/** Whether it is one of the published autoencoders, by its short name, and no path. */
export function isPublished(vae: string): vae is (typeof PUBLISHED_AUTOENCODERS)[number] {
  return (PUBLISHED_AUTOENCODERS as readonly string[]).includes(vae);
}

/** How the latents that a model sees were made of images. */
export interface LatentConfig {
  /** The autoencoder: `ema` or `mse` for those of the original, else a file. */
  readonly vae: string;
  /** What its weights are, where that is known: see `autoencoderDigest()`. */
  readonly vaeSha256?: string;
  /** What latents are multiplied with; 0.18215 in the original. */
  readonly scalingFactor: number;
  /** Pixels of an image a side for each of a latent. */
  readonly downsample: number;
}

/** All that is needed to build a model and to use it. Plain JSON. */
export interface ModelConfig {
  /** Such as `DiT-XL/2`. */
  readonly name: string;
  /** The network. */
  readonly dit: Readonly<DiTShape>;
  /** The process it is trained for. */
  readonly diffusion: DiffusionConfig;
  /** Null for a model of pixels in [-1, 1]. */
  readonly latents: LatentConfig | null;
  /** What each class is called, by its index. */
  readonly classNames: readonly string[];
  /** The label that means "no class"; null where there is none, and so no guidance. */
  readonly nullClass: number | null;
}

/** Sizes below the paper's: one learns digits in minutes on a laptop, the other colour pictures. */
const SMALL_SIZES = {
  Mini: { depth: 4, hiddenSize: 128, numHeads: 4 },
  XS: { depth: 6, hiddenSize: 256, numHeads: 4 },
} as const;

/** Every model that `--model` can name: the paper's twelve and the small ones. */
export const MODELS: Readonly<Record<string, DiTSize>> = {
  ...DIT_CONFIGS,
  ...Object.fromEntries(
    Object.entries(SMALL_SIZES).flatMap(([name, size]) =>
      [2, 4, 8].map((patchSize) => [`DiT-${name}/${patchSize}`, { ...size, patchSize }])
    ),
  ),
};

/** Whether a model is one of the paper's, which are trained with the original's settings. */
export function isOriginalModel(name: string): boolean {
  return name in DIT_CONFIGS;
}

/** A network and its process, ready to train or sample. */
export interface BuiltModel {
  /** The network; the caller disposes of it. */
  readonly model: DiT;
  /** The process it is trained for. */
  readonly process: Process;
}

/**
 * Builds the network and the process of a configuration.
 *
 * @param init `generator`: where fresh weights are drawn from; without it the weights are left
 * undefined, to be loaded next. `dtype` is that of the weights, for sampling only.
 */
export function buildModel(
  config: ModelConfig,
  init: { generator: Generator } | { dtype?: "f32" | "f16" },
): BuiltModel {
  const process = buildProcess(config);
  const model = "generator" in init
    ? new DiT(config.dit, init)
    : nn.withoutInit(() => new DiT(config.dit), init);
  return { model, process };
}

/**
 * The process that a model is trained for.
 *
 * @throws {RangeError} where there is no such process, or it cannot have that many steps.
 */
export function buildProcess({ dit, diffusion }: ModelConfig): Process {
  const { objective, noiseSchedule, diffusionSteps, minSnrGamma, timeShift = 1 } = diffusion;
  return createProcess(processOf(diffusion), {
    objective,
    noiseSchedule,
    diffusionSteps,
    learnSigma: dit.learnSigma,
    timeShift,
    ...(minSnrGamma === null ? {} : { minSnrGamma }),
  });
}

/** Shape `[N, C, S, S]` of `count` samples of a model. */
export function sampleShape({ dit }: ModelConfig, count: number): Shape {
  return [count, dit.inChannels, dit.inputSize, dit.inputSize];
}
