/**
 * Weights of a DiT from any file that has some: checkpoints of this project, of the original's
 * train.py, bare state dicts (`.pt`, safetensors), and diffusers' folders. Whatever it is, it comes
 * out as a configuration and tensors under the original's names.
 */
import { sinCosPositions } from "@dit/core/dit";
import { asDiT, ditLayout, hostTensor, mapSource, type TensorSource } from "@dit/core/io";
import {
  type Average,
  averagesOf,
  type Checkpoint,
  DIT,
  type Fields,
  halfLife,
  type ModelConfig,
  sectionOf,
} from "@dit/core/pipeline";
import { join } from "@std/path";
import { isCheckpoint, openCheckpoint } from "../run/checkpoint.ts";
import { findCheckpoint, latestRun } from "../run/find.ts";
import type { ClassLabels } from "../shared/class_names.ts";
import { CommandError } from "../shared/errors.ts";
import { exists, readJson } from "../shared/files.ts";
import { classLabelsOf, processOf, transformerHints } from "./diffusers_config.ts";
import { type Hints, inferConfig } from "./infer_config.ts";
import { latentsOf, vaeOptionsOf } from "./latent_shape.ts";
import { checkOverrides, describeConfig, type ModelOverrides } from "./overrides.ts";
import { trainerHints } from "./trainer_options.ts";
import {
  diffusersFile,
  type OpenWeightFile,
  openWeightFile,
  type WeightSet,
} from "./weight_file.ts";

/** Weights whose values are read when they are loaded. */
export interface Weights extends Disposable {
  /** The file. */
  readonly path: string;
  /** What kind of file it is, for people. */
  readonly kind: string;
  /** Everything but the weights. */
  readonly config: ModelConfig;
  /** The averaged weights, or the only ones there are; names of the original. */
  readonly source: TensorSource;
  /** What was done to the names of its tensors, or is to be known of them, as a phrase; or null. */
  readonly note: string | null;
  /** What the file leaves open and was assumed. */
  readonly assumptions: readonly string[];
  /** Every name of each class; empty where the file has none. */
  readonly classLabels: ClassLabels;
  /** The autoencoder that came with them, a folder. */
  readonly vaePath: string | null;
  /** Whether it is known what its latents are multiplied by, and how many pixels each stands for. */
  readonly knowsLatents: boolean;
  /** Which weights these are of a checkpoint with several to choose from, such as `EMA 0.999`. */
  readonly average?: string | undefined;
  /** Whether they are an average that is younger than its half-life, as the note says. */
  readonly isYoung?: boolean;
  /** Guidance that its samples were drawn with in training. */
  readonly cfgScale?: number | undefined;
}

/** Lines for the output: the file, what was done to its names, and what was assumed. */
export function weightLines({ path, kind, note, isYoung, assumptions }: Weights): string[] {
  const advice = isYoung ? "; --weights model is without it" : "";
  const notes = note === null ? [] : [note + advice];
  const more = [...notes, ...assumptions.map((text) => `assuming ${text}`)];
  return [`weights  ${path} (${kind})`, ...more.map((text) => `         ${text}`)];
}

/** Width of the latents of files that do not say it: 256 pixels. */
const USUAL_INPUT = 32;

/**
 * Opens weights.
 *
 * @param path A file, a run's folder, a folder of runs, or a folder of diffusers.
 * @param set Which weights of a training checkpoint.
 * @param overrides Settings given by flags, of weights that come without a configuration.
 * @throws {CommandError} where there is nothing, or nothing that is known.
 * @throws {UsageError} where a flag contradicts the file.
 * @throws {FormatError} where the file is damaged, or the weights are no DiT's.
 */
export async function openWeights(
  path: string,
  set: WeightSet = "ema",
  overrides: ModelOverrides = {},
): Promise<Weights> {
  if (await isFolder(path)) {
    if (await exists(join(path, "model_index.json"))) return await openPipeline(path, overrides);
    const isRun = await exists(join(path, "checkpoints")); // which has a config.json too
    if (!isRun && await exists(join(path, "config.json"))) {
      return await openTransformer(path, {}, overrides);
    }
    path = await findCheckpoint(isRun ? path : await latestRun(path));
  }
  return await isCheckpoint(path)
    ? await openTrained(path, set, overrides)
    : await openBare(path, set, overrides);
}

/** A checkpoint of `deno task train`. */
async function openTrained(
  path: string,
  set: WeightSet,
  overrides: ModelOverrides,
): Promise<Weights> {
  const checkpoint = await openCheckpoint(path, DIT);
  const { step, config, training, guidance } = checkpoint.header;
  const warmup = training?.settings.values["emaWarmup"] === true;
  let averages: readonly Average[];
  let section: string;
  try {
    averages = training ? averagesIn(training.settings) : [];
    section = sectionAsked(checkpoint, set, averages);
    checkOverrides(path, overrides, describeConfig(config));
  } catch (error) {
    checkpoint.close();
    throw error;
  }
  const average = averages.find((average, i) => sectionOf(average, i) === section);
  const note = youthOf(average, warmup, step);
  const isChosen = averages.length > 1 || average === undefined && averages.length > 0;
  return {
    path,
    kind: `checkpoint, step ${step}`,
    config,
    source: mapSource(checkpoint.section(section), path),
    note,
    isYoung: note !== null,
    average: isChosen ? average ? `EMA ${average.name}` : "weights not averaged" : undefined,
    assumptions: [],
    classLabels: config.classNames.map((name) => [name]),
    vaePath: null,
    knowsLatents: true,
    cfgScale: guidance,
    [Symbol.dispose]: () => checkpoint.close(),
  };
}

/** The averages that a run keeps. */
function averagesIn(settings: Fields): Average[] {
  const { emaDecay } = settings.values;
  if (typeof emaDecay !== "number" && typeof emaDecay !== "string") return [];
  try {
    return averagesOf(emaDecay);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new CommandError(`${settings.at}emaDecay: ${error.message}`, { cause: error });
  }
}

/** The section of a checkpoint that `--weights` means. */
function sectionAsked(
  checkpoint: Checkpoint<ModelConfig>,
  set: WeightSet,
  averages: readonly Average[],
): string {
  const wanted = averageName(set);
  const named = averages.findIndex(({ name }) => name === wanted);
  const section = named >= 0 ? sectionOf(averages[named]!, named) : set;
  if (checkpoint.has(section)) return section;
  const there = [
    ...averages.map(({ name }) => name),
    ...["ema", "model"].filter((name) => checkpoint.has(name)),
  ];
  throw new CommandError(
    `${checkpoint.path}: expected weights ${set} but it has ${there.join(", ")}`,
  );
}

/** What an average is called, however it was written; null of what is none. */
function averageName(set: WeightSet): string | null {
  try {
    const [average, ...others] = averagesOf(set);
    return average && others.length === 0 ? average.name : null;
  } catch {
    return null;
  }
}

/** A word where an average is younger than its half-life, and mostly what it began with. */
function youthOf(average: Average | undefined, warmup: boolean, step: number): string | null {
  const half = average ? halfLife(average, warmup) : null;
  if (half === null || step >= half) return null;
  return `averaged over ${step} steps with a decay of ${average!.name}: half of it is still what ` +
    `training began with, until step ${Math.ceil(half)}`;
}

/** A file without a configuration: safetensors, a file of PyTorch, or the index of several. */
async function openBare(path: string, set: WeightSet, overrides: ModelOverrides): Promise<Weights> {
  if (set !== "ema" && set !== "model") {
    throw new CommandError(
      `${path}: expected ema or model weights, as files of other programs have, but got ${set}`,
    );
  }
  const file = await openWeightFile(path, "dit", set);
  try {
    return bare(file, trainerHints(file.options, path), overrides);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** A folder of diffusers' `DiTPipeline`. */
async function openPipeline(folder: string, overrides: ModelOverrides): Promise<Weights> {
  const index = await readJson(join(folder, "model_index.json"));
  if (!await exists(join(folder, "transformer"))) {
    throw new CommandError(
      `${folder}: expected a DiTPipeline, with a folder transformer, but model_index.json says ` +
        `${JSON.stringify(index["_class_name"])} and there is none`,
    );
  }
  const classLabels = classLabelsOf(index["id2label"]);
  const scheduler = join(folder, "scheduler", "scheduler_config.json");
  const vae = join(folder, "vae");
  const vaeConfig = join(vae, "config.json");
  const hasVae = await exists(vaeConfig);
  const known: Hints = {
    classNames: classLabels.map(([first = ""]) => first),
    diffusion: await exists(scheduler)
      ? processOf(await readJson(scheduler), scheduler)
      : undefined,
    latents: hasVae
      ? latentsOf(vae, vaeOptionsOf(await readJson(vaeConfig), vaeConfig))
      : undefined,
  };
  const weights = await openTransformer(join(folder, "transformer"), known, overrides);
  return { ...weights, classLabels, vaePath: hasVae ? vae : null };
}

/** A folder of diffusers' `DiTTransformer2DModel`. */
async function openTransformer(
  folder: string,
  known: Hints,
  overrides: ModelOverrides,
): Promise<Weights> {
  const configPath = join(folder, "config.json");
  const { inputSize, ...said } = transformerHints(await readJson(configPath), configPath);
  const file = await openWeightFile(await diffusersFile(folder), "dit");
  try {
    return { ...bare(file, { ...known, ...said }, overrides, inputSize), kind: "diffusers" };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Weights without a configuration. */
function bare(
  file: OpenWeightFile,
  hints: Hints,
  overrides: ModelOverrides,
  inputSize?: number,
): Weights {
  const { path, kind, note } = file;
  const named = ditLayout(file.source) === "original"
    ? file.source
    : withPositions(file.source, inputSize);
  const inferred = inferConfig(named, hints, overrides);
  const source = without(named, ROTARY_ANGLES);
  const knowsLatents = inferred.config.latents === null || hints.latents !== undefined;
  return {
    path,
    kind,
    source,
    note: [note, hints.note].filter((text) => text != null).join("; ") || null,
    ...inferred,
    classLabels: [],
    vaePath: null,
    knowsLatents,
    [Symbol.dispose]: () => file.close(),
  };
}

/** What LightningDiT keeps of its rotary embedding beside its weights; the model computes it. */
const ROTARY_ANGLES = /^feat_rope\.freqs_(cos|sin)$/;

/** A source whose names that match are not there. */
function without(source: TensorSource, pattern: RegExp): TensorSource {
  const keys = source.keys().filter((key) => !pattern.test(key));
  if (keys.length === source.keys().length) return source;
  return {
    name: source.name,
    keys: () => keys,
    has: (key) => keys.includes(key),
    info: (key) => source.info(key),
    read: (key) => source.read(key),
    readInto: (key, target, start) => source.readInto(key, target, start),
  };
}

/** Diffusers' weights under the original's names, with the positions that diffusers computes. */
function withPositions(file: TensorSource, inputSize = USUAL_INPUT): TensorSource {
  const [hiddenSize = 0, , patchSize = 1] = file.info("pos_embed.proj.weight").shape;
  const side = inputSize / patchSize;
  const positions = Float32Array.from(sinCosPositions(hiddenSize, side));
  return asDiT(file, "original", hostTensor(positions, [1, side * side, hiddenSize]));
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new CommandError(`${path}: expected a checkpoint or a folder of one but found nothing`);
  }
}
