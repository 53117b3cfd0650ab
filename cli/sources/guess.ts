/** The configuration of weights that come without one: what names and shapes say, and the rest. */
import { ditNameOf, ditOptionsOf } from "@dit/core/dit";
import type { TensorSource } from "@dit/core/io";
import { ShapeError } from "@dit/core/tensor";
import { CommandError } from "../errors.ts";
import { type DiffusionConfig, type LatentConfig, type ModelConfig, MODELS } from "../model.ts";

/** What a file says about itself beside its tensors. */
export interface Hints {
  /** The `--num-classes` of the original's train.py. */
  readonly numClasses?: number | undefined;
  /** `ema` or `mse`: the `--vae` of the original's train.py. */
  readonly vae?: string | undefined;
  /** `num_attention_heads` of diffusers' config.json. */
  readonly numHeads?: number | undefined;
  /** What diffusers' scheduler_config.json says of the process. */
  readonly diffusion?: Partial<DiffusionConfig> | undefined;
  /** What each class is called. */
  readonly classNames?: readonly string[] | undefined;
}

/** A configuration, and what of it nothing in the file says. */
export interface Guess {
  readonly config: ModelConfig;
  /** For people, a phrase each. */
  readonly guesses: readonly string[];
}

/** Channels of a head in nearly every transformer. */
const USUAL_HEAD = 64;

/** What the original's create_diffusion makes. */
const ORIGINAL_PROCESS: DiffusionConfig = {
  objective: "epsilon",
  noiseSchedule: "linear",
  diffusionSteps: 1000,
  minSnrGamma: null,
};

/** Latents as all published DiT have them, by the autoencoder that the original samples with. */
const ORIGINAL_LATENTS: LatentConfig = { vae: "mse", scalingFactor: 0.18215, downsample: 8 };

/**
 * The configuration of a DiT's weights under the original's names, with the original's process.
 *
 * @throws {CommandError} where they are no DiT's.
 */
export function guessConfig(source: TensorSource, hints: Hints = {}): Guess {
  const shape = (name: string): readonly number[] => source.info(name).shape;
  const hiddenSize = shape("x_embedder.proj.weight")[0]!;
  const heads = hints.numHeads ?? headsOf(hiddenSize);
  const rows = shape("y_embedder.embedding_table.weight")[0]!;
  const classDropoutProb = hints.numClasses === rows || rows === 1 ? 0 : 0.1;
  let dit: ModelConfig["dit"];
  try {
    const numHeads = heads ?? usualHeads(hiddenSize);
    dit = ditOptionsOf(source, { numHeads, classDropoutProb });
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw new CommandError(`${source.name}: ${error.message}`, { cause: error });
  }
  const { inChannels, depth, patchSize, numHeads } = dit;
  const isPixels = inChannels === 1 || inChannels === 3;
  const config: ModelConfig = {
    name: ditNameOf(dit) ?? `DiT of ${depth} x ${hiddenSize}, patches of ${patchSize}`,
    dit,
    diffusion: { ...ORIGINAL_PROCESS, ...hints.diffusion },
    latents: isPixels
      ? null
      : { ...ORIGINAL_LATENTS, ...(hints.vae === undefined ? {} : { vae: hints.vae }) },
    classNames: hints.classNames ?? [],
    nullClass: classDropoutProb > 0 ? dit.numClasses : null,
  };
  const guesses = heads === undefined
    ? [`${numHeads} attention head${numHeads === 1 ? "" : "s"}: the file does not say how many`]
    : [];
  return { config, guesses };
}

/** Heads of the named models of a width. */
function headsOf(hiddenSize: number): number | undefined {
  return Object.values(MODELS).find((size) => size.hiddenSize === hiddenSize)?.numHeads;
}

/** The least number of heads, none wider than usual. */
function usualHeads(hiddenSize: number): number {
  let heads = Math.ceil(hiddenSize / USUAL_HEAD);
  while (hiddenSize % heads !== 0) heads++;
  return heads;
}
