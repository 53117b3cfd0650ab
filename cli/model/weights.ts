/**
 * Weights of a DiT from any file that has some: checkpoints of this project, of the original's
 * train.py, bare state dicts (`.pt`, safetensors), and diffusers' folders. Whatever it is, it comes
 * out as a configuration and tensors under the original's names.
 */
import { sinCosPositions } from "@dit/core/dit";
import {
  asDiT,
  ditLayout,
  hostTensor,
  mapSource,
  Namespace,
  openFile,
  SafetensorsFile,
  type StoredTensor,
  type TensorSource,
  TorchFile,
  type TorchValue,
} from "@dit/core/io";
import { join } from "@std/path";
import { Checkpoint } from "../run/checkpoint.ts";
import { findCheckpoint, latestRun } from "../run/find.ts";
import { CommandError } from "../shared/errors.ts";
import { exists, readJson } from "../shared/files.ts";
import type { ModelConfig } from "./config.ts";
import { DIFFUSERS_FILE } from "./catalog.ts";
import { classNamesOf, processOf } from "./diffusers_config.ts";
import { type Hints, inferConfig } from "./infer_config.ts";
import { latentsOf, ORIGINAL_LATENTS, vaeOptionsOf } from "./latent_shape.ts";
import { checkOverrides, describeConfig, type ModelOverrides } from "./overrides.ts";

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
  /** What the file leaves open and was assumed. */
  readonly assumptions: readonly string[];
  /** The autoencoder that came with them, a folder. */
  readonly vaePath: string | null;
  /** Whether it is known what its latents are multiplied by, and how many pixels each stands for. */
  readonly knowsLatents: boolean;
  /** Guidance that its samples were drawn with in training. */
  readonly cfgScale?: number | undefined;
}

/** Which of the two sets of weights a training checkpoint has. */
export type WeightSet = "ema" | "model";

/** Names that diffusers gives to a file of weights, the better format first. */
export const DIFFUSERS_FILES: readonly string[] = [DIFFUSERS_FILE, "diffusion_pytorch_model.bin"];

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
  if (await isTorch(path)) return await openTorch(path, set, overrides);
  const file = await SafetensorsFile.open(path);
  try {
    if (!file.metadata.has("format") || file.metadata.get("format") === "pt") {
      return bare(path, "safetensors", file, {}, overrides);
    }
  } catch (error) {
    file.close();
    throw error;
  }
  file.close();
  return await openCheckpoint(path, set, overrides);
}

/** A checkpoint of `deno task train`. */
async function openCheckpoint(
  path: string,
  set: WeightSet,
  overrides: ModelOverrides,
): Promise<Weights> {
  const checkpoint = await Checkpoint.open(path);
  const { step, config, training } = checkpoint.header;
  try {
    if (!checkpoint.has(set)) {
      throw new CommandError(`${path}: expected ${set} weights but there are none`);
    }
    checkOverrides(path, overrides, describeConfig(config));
  } catch (error) {
    checkpoint.close();
    throw error;
  }
  return {
    path,
    kind: `checkpoint, step ${step}`,
    config,
    source: mapSource(checkpoint.section(set), path),
    assumptions: [],
    vaePath: null,
    knowsLatents: true,
    cfgScale: training?.settings.cfgScale,
    [Symbol.dispose]: () => checkpoint.close(),
  };
}

/** A file of PyTorch: a checkpoint of train.py, or a state dict. */
async function openTorch(
  path: string,
  set: WeightSet,
  overrides: ModelOverrides,
): Promise<Weights> {
  const file = await TorchFile.open(path);
  try {
    if (file.has(set)) {
      const hints = hintsOf(file.value);
      return bare(
        path,
        `train.py's checkpoint, ${set} weights`,
        file.stateDict(set),
        hints,
        overrides,
      );
    }
    for (const key of ["ema", "model", "state_dict"]) {
      if (file.has(key)) return bare(path, `PyTorch, ${key}`, file.stateDict(key), {}, overrides);
    }
    return bare(path, "PyTorch state dict", file.stateDict(), {}, overrides);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** What the `args` of train.py say. */
function hintsOf(value: TorchValue<StoredTensor>): Hints {
  const args = value instanceof Map ? value.get("args") : undefined;
  if (!(args instanceof Namespace)) return {};
  const { vae, num_classes: numClasses } = Object.fromEntries(args.entries);
  return {
    latents: { ...ORIGINAL_LATENTS, ...(typeof vae === "string" ? { vae } : {}) },
    numClasses: typeof numClasses === "number" ? numClasses : undefined,
  };
}

/** A folder of diffusers' `DiTPipeline`. */
async function openPipeline(folder: string, overrides: ModelOverrides): Promise<Weights> {
  const classNames = classNamesOf((await readJson(join(folder, "model_index.json")))["id2label"]);
  const scheduler = join(folder, "scheduler", "scheduler_config.json");
  const vae = join(folder, "vae");
  const vaeConfig = join(vae, "config.json");
  const hasVae = await exists(vaeConfig);
  const known: Hints = {
    classNames,
    diffusion: await exists(scheduler)
      ? processOf(await readJson(scheduler), scheduler)
      : undefined,
    latents: hasVae
      ? latentsOf(vae, vaeOptionsOf(await readJson(vaeConfig), vaeConfig))
      : undefined,
  };
  const weights = await openTransformer(join(folder, "transformer"), known, overrides);
  return { ...weights, vaePath: hasVae ? vae : null };
}

/** A folder of diffusers' `DiTTransformer2DModel`. */
async function openTransformer(
  folder: string,
  known: Hints,
  overrides: ModelOverrides,
): Promise<Weights> {
  const config = await readJson(join(folder, "config.json"));
  const number = (key: string): number | undefined =>
    typeof config[key] === "number" ? config[key] : undefined;
  const path = await diffusersFile(folder);
  const file = path.endsWith(".bin")
    ? (await TorchFile.open(path)).stateDict()
    : await SafetensorsFile.open(path);
  try {
    const hints: Hints = {
      ...known,
      numHeads: number("num_attention_heads"),
      numClasses: number("num_embeds_ada_norm"),
    };
    return bare(path, "diffusers", file, hints, overrides, number("sample_size"));
  } catch (error) {
    file.close();
    throw error;
  }
}

/** The file of weights in a folder of diffusers. */
export async function diffusersFile(folder: string): Promise<string> {
  for (const name of DIFFUSERS_FILES) {
    const path = join(folder, name);
    if (await exists(path)) return path;
  }
  throw new CommandError(`${folder}: expected ${DIFFUSERS_FILES.join(" or ")} but found neither`);
}

/** Weights without a configuration. */
function bare(
  path: string,
  kind: string,
  file: TensorSource & { close(): void },
  hints: Hints,
  overrides: ModelOverrides,
  inputSize?: number,
): Weights {
  const source = ditLayout(file) === "original" ? file : withPositions(file, inputSize);
  const inferred = inferConfig(source, hints, overrides);
  const knowsLatents = inferred.config.latents === null || hints.latents !== undefined;
  const dispose = () => file.close();
  return {
    path,
    kind,
    source,
    ...inferred,
    vaePath: null,
    knowsLatents,
    [Symbol.dispose]: dispose,
  };
}

/** Diffusers' weights under the original's names, with the positions that diffusers computes. */
function withPositions(file: TensorSource, inputSize = USUAL_INPUT): TensorSource {
  const [hiddenSize = 0, , patchSize = 1] = file.info("pos_embed.proj.weight").shape;
  const side = inputSize / patchSize;
  const positions = Float32Array.from(sinCosPositions(hiddenSize, side));
  return asDiT(file, "original", hostTensor(positions, [1, side * side, hiddenSize]));
}

/** Whether a file is of PyTorch's formats: a zip archive or a pickle. */
export async function isTorch(path: string): Promise<boolean> {
  const file = await openFile(path);
  try {
    const start = new Uint8Array(Math.min(9, file.size));
    await file.readInto(0, start);
    // The length before a safetensors header may begin as pickles do, but then comes a brace.
    if (start[8] === 0x7b) return false;
    const isZip = start[0] === 0x50 && start[1] === 0x4b;
    return isZip || start[0] === 0x80 || /\.(pt|pth|bin|ckpt)$/.test(path);
  } finally {
    file.close();
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new CommandError(`${path}: expected a checkpoint or a folder of one but found nothing`);
  }
}
