/**
 * The configuration of weights that come without one, from their names and shapes, from what the file
 * says beside them, and from flags.
 */
import { ditNameOf, ditOptionsOf } from "@dit/core/dit";
import type { TensorSource } from "@dit/core/io";
import { ShapeError } from "@dit/core/tensor";
import { CommandError, UsageError } from "../shared/errors.ts";
import type { ProcessName } from "@dit/core/diffusion";
import {
  type DiffusionConfig,
  type LatentConfig,
  type ModelConfig,
  MODELS,
  usualObjective,
} from "@dit/core/pipeline";
import { ORIGINAL_LATENTS } from "./latent_shape.ts";
import { checkModelSize, checkOverrides, type ModelOverrides } from "./overrides.ts";

/** What a file says about itself beside its tensors. */
export interface Hints {
  /** The `--num-classes` of the original's train.py; `num_embeds_ada_norm` of diffusers. */
  readonly numClasses?: number | undefined;
  /** `num_attention_heads` of diffusers' config.json. */
  readonly numHeads?: number | undefined;
  /** What diffusers' scheduler_config.json says of the process. */
  readonly diffusion?: Partial<DiffusionConfig> | undefined;
  /** What each class is called. */
  readonly classNames?: readonly string[] | undefined;
  /** Those that the weights were trained on. */
  readonly latents?: LatentConfig | undefined;
  /** What of this people should know, as a phrase. */
  readonly note?: string | undefined;
}

/** A configuration, and which of its parts are assumptions. */
export interface InferredConfig {
  readonly config: ModelConfig;
  /** Each as a phrase for the output. */
  readonly assumptions: readonly string[];
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

/** How the published weights of SiT, which say nothing of themselves, are called. */
const SIT_FILE = /(^|[\\/])SiT-[^\\/]*$/;

/** The process of weights whose file and flags do not say more. */
function usualProcess(kind: ProcessName | undefined): DiffusionConfig {
  if (kind === undefined) return ORIGINAL_PROCESS;
  const objective = usualObjective(kind) ?? ORIGINAL_PROCESS.objective;
  return { ...ORIGINAL_PROCESS, process: kind, objective };
}

/**
 * The configuration of a DiT's weights under the original's names, with the original's process
 * where nothing else is known.
 *
 * @param overrides Settings given by flags.
 * @throws {CommandError} where they are no DiT's.
 * @throws {UsageError} where a flag contradicts the file.
 */
export function inferConfig(
  source: TensorSource,
  hints: Hints = {},
  overrides: ModelOverrides = {},
): InferredConfig {
  const shape = (name: string): readonly number[] => source.info(name).shape;
  checkOverrides(source.name, overrides, { ...hints.diffusion, ...hints });
  const hiddenSize = shape("x_embedder.proj.weight")[0]!;
  const rows = shape("y_embedder.embedding_table.weight")[0]!;
  const { numClasses } = overrides;
  if (numClasses !== undefined && numClasses !== rows && numClasses !== rows - 1) {
    throw new UsageError(
      `--num-classes: expected ${rows - 1}, or ${rows} without one for none, by the table of ` +
        `${source.name} but got ${numClasses}`,
    );
  }
  const heads = hints.numHeads ?? overrides.numHeads ?? headsOf(hiddenSize, overrides.model);
  if (hints.numHeads !== undefined && hiddenSize % hints.numHeads !== 0) {
    throw new CommandError(
      `${source.name}: expected a number of attention heads that divides its width, ${hiddenSize}, ` +
        `but it says ${hints.numHeads}`,
    );
  }
  if (overrides.numHeads !== undefined && hiddenSize % overrides.numHeads !== 0) {
    throw new UsageError(
      `--num-heads: expected a divisor of ${hiddenSize}, the width of ${source.name}, but got ` +
        overrides.numHeads,
    );
  }
  const withoutNull = (numClasses ?? hints.numClasses) === rows || rows === 1;
  const dit = optionsOf(source, heads ?? usualHeads(hiddenSize), withoutNull ? 0 : 0.1);
  checkModelSize(source.name, overrides, dit);
  const { depth, patchSize, numHeads } = dit;
  const original = ditNameOf(dit);
  const isPixels = !overrides.isLatent && !hints.latents && [1, 3].includes(dit.inChannels);
  const { objective, noiseSchedule, diffusionSteps } = overrides;
  const kind = overrides.process ?? hints.diffusion?.process;
  const isNamedSiT = kind === undefined && !hints.diffusion && SIT_FILE.test(source.name);
  const process = defined({ objective, noiseSchedule, diffusionSteps });
  const config: ModelConfig = {
    name: overrides.model ?? original ?? `DiT of ${depth} x ${hiddenSize}, patches of ${patchSize}`,
    dit,
    diffusion: { ...usualProcess(isNamedSiT ? "flow" : kind), ...hints.diffusion, ...process },
    latents: isPixels ? null : hints.latents ?? ORIGINAL_LATENTS,
    classNames: hints.classNames ?? [],
    nullClass: withoutNull ? null : dit.numClasses,
  };
  const assumptions: string[] = [];
  if (heads === undefined) {
    const some = numHeads === 1 ? "1 attention head" : `${numHeads} attention heads`;
    assumptions.push(`${some}: the file does not say how many; --num-heads does`);
  }
  if (isNamedSiT) {
    assumptions.push("that it is a flow, by the file's name; --process says otherwise");
  } else if (
    original === null && kind === undefined && !hints.diffusion && Object.keys(process).length === 0
  ) {
    assumptions.push(
      "that it predicts the noise, as the original does; --objective says otherwise",
    );
  }
  return { config, assumptions };
}

/** The shape of the network. */
function optionsOf(
  source: TensorSource,
  numHeads: number,
  classDropoutProb: number,
): ModelConfig["dit"] {
  try {
    return ditOptionsOf(source, { numHeads, classDropoutProb });
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw new CommandError(`${source.name}: ${error.message}`, { cause: error });
  }
}

/** What of an object is not undefined. */
function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

/** Heads of a named model, or of all those of a width. */
function headsOf(hiddenSize: number, model: string | undefined): number | undefined {
  if (model !== undefined) return MODELS[model]!.numHeads;
  return Object.values(MODELS).find((size) => size.hiddenSize === hiddenSize)?.numHeads;
}

/** The least number of heads, none wider than usual. */
function usualHeads(hiddenSize: number): number {
  let heads = Math.ceil(hiddenSize / USUAL_HEAD);
  while (hiddenSize % heads !== 0) heads++;
  return heads;
}
