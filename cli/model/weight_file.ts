/** Opening a file of weights in any format, and finding the model that is asked for in it. */
import {
  FormatError,
  holdsModel,
  isTorch,
  type ModelKind,
  Namespace,
  Opaque,
  SafetensorsFile,
  sha256,
  ShardedFile,
  type StoredTensor,
  type TensorSource,
  toFloat32,
  TorchFile,
  type TorchKey,
  type TorchValue,
  unwrapNames,
  type Unwrapped,
  type WeightFile,
} from "@dit/core/io";
import { join } from "@std/path";
import { CommandError } from "../shared/errors.ts";
import { DIFFUSERS_FILE } from "./catalog.ts";

/** Which weights of a training checkpoint: `ema`, `model`, or one of several averages by its decay. */
export type WeightSet = string;

/** Names that diffusers gives to a file of weights, the better format first. */
export const DIFFUSERS_FILES: readonly string[] = [DIFFUSERS_FILE, "diffusion_pytorch_model.bin"];

/** The end of an index's name: `.index.json`, or with a variant `.index.fp16.json`. */
const INDEX_NAME = /\.index(\.\w+)?\.json$/;

/** Weights of one model in a file that is open. */
export interface OpenWeightFile extends Disposable {
  /** The file. */
  readonly path: string;
  /** What kind of file it is, for the output. */
  readonly kind: string;
  /** The model's tensors under its own names. */
  readonly source: TensorSource;
  /** What was done to the names of its tensors, as a phrase; null where nothing was. */
  readonly note: string | null;
  /** The options of the program that trained the weights, where they are in the file. */
  readonly options: ReadonlyMap<string, unknown>;
  /** Free text of a safetensors file. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Closes the file; reading fails from then on. */
  close(): void;
}

/**
 * Opens a file of weights: safetensors, PyTorch's formats, or the index of a file in shards.
 *
 * @param kind The model that is looked for.
 * @param set Which weights where there are averaged ones and others.
 * @throws {FormatError} where the file is damaged, or several models could be meant.
 */
export async function openWeightFile(
  path: string,
  kind: ModelKind,
  set: WeightSet = "ema",
): Promise<OpenWeightFile> {
  if (INDEX_NAME.test(path)) {
    return opened(path, "shards", await ShardedFile.open(path), kind, set);
  }
  if (!await isTorch(path)) {
    const file = await SafetensorsFile.open(path);
    return { ...opened(path, "safetensors", file, kind, set), metadata: file.metadata };
  }
  const file = await TorchFile.open(path);
  try {
    const at = findStateDict(file, kind, set);
    const options = optionsIn(file.value);
    const what = at[0] === set && options.size > 0
      ? `train.py's checkpoint, ${set} weights`
      : `PyTorch${at.length > 0 ? `, ${at.join(".")}` : " state dict"}`;
    return { ...opened(path, what, file.stateDict(...at), kind, set), options };
  } catch (error) {
    file.close();
    throw error;
  }
}

function opened(
  path: string,
  kind: string,
  file: WeightFile,
  model: ModelKind,
  set: WeightSet,
): OpenWeightFile {
  try {
    const unwrapped = unwrapNames(file, model, set === "ema");
    return {
      path,
      kind,
      source: unwrapped.source,
      note: noteOf(unwrapped),
      options: new Map(),
      metadata: new Map(),
      close: () => file.close(),
      [Symbol.dispose]: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** What was done to names: `names without their prefix "module."; 2 other tensors left out (vae.)`. */
function noteOf({ prefix, others }: Unwrapped): string | null {
  const parts: string[] = [];
  if (prefix !== "") parts.push(`names without their prefix "${prefix}"`);
  if (others.length > 0) {
    const roots = [...new Set(others.map((name) => name.replace(/(?<=\.).*/, "")))];
    const shown = roots.slice(0, 3).join(", ") + (roots.length > 3 ? ", ..." : "");
    const tensors = others.length === 1 ? "1 other tensor" : `${others.length} other tensors`;
    parts.push(`${tensors} left out (${shown})`);
  }
  return parts.length === 0 ? null : parts.join("; ");
}

/** The path of the dict that holds the weights; what is there may still be refused as none. */
function findStateDict(file: TorchFile, kind: ModelKind, set: WeightSet): TorchKey[] {
  const paths = file.stateDictPaths().filter((path) =>
    holdsModel(file.stateDict(...path).keys(), kind)
  );
  // what is asked for is not replaced by another where it cannot be read
  if (file.has(set)) return paths.find(([key]) => key === set) ?? [set];
  const isAveraged = (path: TorchKey[]) => path.some((key) => /ema|averaged/i.test(String(key)));
  const wanted = paths.filter((path) => isAveraged(path) === (set === "ema"));
  const known = paths.filter(([top]) => top === "model" || top === "state_dict");
  for (const some of [wanted, paths, known]) {
    const [first, ...others] = some;
    if (first && others.length === 0) return first;
  }
  if (paths.length > 0) {
    const names = paths.map((path) => path.join(".")).join(", ");
    throw new FormatError(file.name, "value", "weights of one model", `those of several: ${names}`);
  }
  return ["ema", "model", "state_dict"].filter((key) => file.has(key)).slice(0, 1);
}

/** Where trainers keep their options beside the weights. */
const OPTION_KEYS = ["args", "hyper_parameters", "hparams", "config", "cfg"] as const;

/**
 * The options of the training program, by names with `_`: those in groups, as LightningDiT has its own
 * (`transport: { path_type }`), by their names alone.
 */
function optionsIn(value: TorchValue<StoredTensor>): Map<string, unknown> {
  const options = new Map<string, unknown>();
  if (!(value instanceof Map)) return options;
  const grouped = new Map<string, unknown>();
  const add = (to: Map<string, unknown>, name: TorchKey, option: unknown) => {
    if (typeof name === "string") to.set(name.replaceAll("-", "_"), option);
  };
  for (const key of OPTION_KEYS) {
    for (const [name, option] of fieldsOf(value.get(key))) {
      if (option instanceof Map || option instanceof Namespace) {
        for (const [inner, each] of fieldsOf(option)) add(grouped, inner, each);
      } else add(options, name, option);
    }
  }
  return new Map([...grouped, ...options]);
}

function fieldsOf(
  value: TorchValue<StoredTensor> | undefined,
): Iterable<[TorchKey, TorchValue<StoredTensor>]> {
  if (value instanceof Map) return value;
  return value instanceof Namespace || value instanceof Opaque ? value.entries : [];
}

/** How diffusers names files of weights: NAME[.VARIANT].FORMAT, or the index of several such. */
const DIFFUSERS_NAME =
  /^(?:diffusion_pytorch_model|model|pytorch_model)(\.\w+)?\.(safetensors|bin)(\.index)?(\.(?!json$|index\.)\w+)?(\.index)?(\.json)?$/;

/**
 * The file of weights in a folder of diffusers, or the index where there are several: whole weights
 * before variants such as fp16, safetensors before PyTorch's format.
 *
 * @throws {CommandError} where there is none.
 */
export async function diffusersFile(folder: string): Promise<string> {
  const found: { name: string; rank: string }[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    const rank = rankOf(name);
    if (rank !== undefined) found.push({ name, rank });
  }
  found.sort((a, b) => a.rank < b.rank ? -1 : 1);
  if (found[0]) return join(folder, found[0].name);
  throw new CommandError(
    `${folder}: expected ${DIFFUSERS_FILES.join(" or ")}, a variant such as .fp16.safetensors, ` +
      "or an .index.json but found none",
  );
}

/** Where a file comes in the order of preference, as text that sorts; undefined for other files. */
function rankOf(name: string): string | undefined {
  const match = DIFFUSERS_NAME.exec(name);
  if (!match) return undefined;
  const [, before = "", format, index, after = "", indexAfter, json] = match;
  const isIndex = (index ?? indexAfter) !== undefined;
  if (isIndex !== (json !== undefined) || (!isIndex && after !== "")) return undefined;
  const variant = before + after;
  const order = [
    name.startsWith("diffusion_") ? 0 : 1,
    variant === "" ? 0 : /non_ema/.test(variant) ? 2 : 1,
    format === "safetensors" ? 0 : 1,
    isIndex ? 1 : 0,
  ];
  return order.join("") + name;
}

/** SHA-256 of weights, the same in whichever file, order and element type they are stored. */
export async function weightsDigest(source: TensorSource): Promise<string> {
  const lines: string[] = [];
  for (const name of source.keys().toSorted()) {
    lines.push(`${name} ${await sha256(toFloat32(await source.read(name)))}\n`);
  }
  return await sha256(new TextEncoder().encode(lines.join("")));
}
