/** The configuration of weights that come without one: what names and shapes say, and the rest. */
import { type DiTOptions, FormatError, type TensorSource } from "@dit/core";
import { type DiffusionConfig, type LatentConfig, type ModelConfig, MODELS } from "../model.ts";

/** What a file says about itself beside its tensors. */
export interface Hints {
  /** Such as `DiT-XL/2`: the `--model` of the original's train.py. */
  readonly model?: string | undefined;
  /** The `--num-classes` of the original's train.py. */
  readonly numClasses?: number | undefined;
  /** `ema` or `mse`: the `--vae` of the original's train.py. */
  readonly vae?: string | undefined;
  /** `num_attention_heads` of diffusers' config.json. */
  readonly numHeads?: number | undefined;
  /** `sample_size` of diffusers' config.json, for files without a position embedding. */
  readonly inputSize?: number | undefined;
  /** What diffusers' scheduler_config.json says of the process. */
  readonly diffusion?: Partial<DiffusionConfig> | undefined;
  /** What each class is called. */
  readonly classNames?: readonly string[] | undefined;
}

/** A configuration, and what of it nothing in the file says. */
export interface Guess {
  readonly config: ModelConfig;
  /** For people, a sentence each. */
  readonly guesses: readonly string[];
}

/** What the original's create_diffusion makes. */
const ORIGINAL_PROCESS: DiffusionConfig = {
  objective: "epsilon",
  noiseSchedule: "linear",
  diffusionSteps: 1000,
  minSnrGamma: null,
};
/** Autoencoder of files that name none: the one that the original samples with. */
const USUAL_VAE = "mse";
/** Channels of a head in nearly every transformer. */
const USUAL_HEAD = 64;
/** Size of the latents where neither tensors nor hints say it: 256 pixels. */
const USUAL_INPUT = 32;

/** Latents of the autoencoder that all published DiT use. */
const LATENTS: Omit<LatentConfig, "vae"> = { scalingFactor: 0.18215, downsample: 8 };

/**
 * The configuration of a DiT's weights under the original's names, with the original's process.
 *
 * @throws {FormatError} where they are no DiT's.
 */
export function guessConfig(source: TensorSource, hints: Hints = {}): Guess {
  const shape = (name: string): readonly number[] => source.info(name).shape;
  const wrong = (name: string, expected: string): FormatError =>
    new FormatError(source.name, `tensor "${name}"`, expected, `[${shape(name).join(", ")}]`);

  const patches = shape("x_embedder.proj.weight"); // [D, C, P, P]
  if (patches.length !== 4 || patches[2] !== patches[3]) {
    throw wrong("x_embedder.proj.weight", "a shape [D, C, P, P]");
  }
  const [hiddenSize, inChannels, patchSize] = patches as [number, number, number];
  const depth = countBlocks(source);
  const guesses: string[] = [];

  const inputSize = source.has("pos_embed")
    ? Math.sqrt(shape("pos_embed")[1] ?? NaN) * patchSize
    : hints.inputSize ?? USUAL_INPUT;
  if (!Number.isInteger(inputSize)) throw wrong("pos_embed", "a square number of positions");
  if (!source.has("pos_embed") && hints.inputSize === undefined) {
    guesses.push(`latents of ${inputSize}x${inputSize}: the file does not say how large they are`);
  }

  const outputs = shape("final_layer.linear.weight")[0]! / patchSize ** 2;
  if (outputs !== inChannels && outputs !== 2 * inChannels) {
    throw wrong("final_layer.linear.weight", `${inChannels} or ${2 * inChannels} channels a patch`);
  }

  const rows = shape("y_embedder.embedding_table.weight")[0]!;
  const numClasses = hints.numClasses === rows || rows === 1 ? rows : rows - 1;
  const name = nameOf({ hiddenSize, depth, patchSize });
  const numHeads = hints.numHeads ?? headsOf(hiddenSize, name ?? hints.model);
  if (numHeads === undefined) {
    const heads = usualHeads(hiddenSize);
    guesses.push(
      `${heads} attention head${heads === 1 ? "" : "s"}: the file does not say how many`,
    );
  }
  const options: Required<DiTOptions> = {
    inputSize,
    patchSize,
    inChannels,
    hiddenSize,
    depth,
    numHeads: numHeads ?? usualHeads(hiddenSize),
    mlpRatio: shape("blocks.0.mlp.fc1.weight")[0]! / hiddenSize,
    classDropoutProb: rows > numClasses ? 0.1 : 0,
    numClasses,
    learnSigma: outputs === 2 * inChannels,
  };
  // pictures of one or three channels need no autoencoder
  const latents = inChannels === 1 || inChannels === 3
    ? null
    : { vae: hints.vae ?? USUAL_VAE, ...LATENTS };
  return {
    config: {
      name: name ?? `DiT of ${depth} x ${hiddenSize}, patches of ${patchSize}`,
      dit: options,
      diffusion: { ...ORIGINAL_PROCESS, ...hints.diffusion },
      latents,
      classNames: hints.classNames ?? [],
      nullClass: rows > numClasses ? numClasses : null,
    },
    guesses,
  };
}

function countBlocks(source: TensorSource): number {
  let depth = 0;
  while (source.has(`blocks.${depth}.attn.qkv.weight`)) depth++;
  return depth;
}

/** The name of a model of the paper. */
function nameOf(
  size: Readonly<Record<"hiddenSize" | "depth" | "patchSize", number>>,
): string | undefined {
  return Object.entries(MODELS).find(([, known]) =>
    known.hiddenSize === size.hiddenSize && known.depth === size.depth &&
    known.patchSize === size.patchSize
  )?.[0];
}

/** Heads of a named model, or of a model as wide as a named one. */
function headsOf(hiddenSize: number, name: string | undefined): number | undefined {
  const sizes = Object.entries(MODELS);
  const found = sizes.find(([other, size]) => other === name && size.hiddenSize === hiddenSize) ??
    sizes.find(([, size]) => size.hiddenSize === hiddenSize);
  return found?.[1].numHeads;
}

/** The least number of heads, none wider than usual. */
function usualHeads(hiddenSize: number): number {
  let heads = Math.ceil(hiddenSize / USUAL_HEAD);
  while (hiddenSize % heads !== 0) heads++;
  return heads;
}
