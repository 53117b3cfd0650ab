/** Weights in several files, with an index that says which tensor is in which. */
import { FormatError, quote } from "./errors.ts";
import type { HostTensor, TensorInfo } from "../tensor/mod.ts";
import { openFile } from "./file.ts";
import { isNotFound } from "./file_system.ts";
import { readRange } from "./source.ts";
import { missing, type WeightFile } from "./tensor_source.ts";
import { SafetensorsFile } from "./safetensors/reader.ts";
import { isTorch } from "./torch/detect.ts";
import { TorchFile } from "./torch/file.ts";

/**
 * Weights that are split over files, as Hugging Face's libraries write large ones:
 * `NAME.safetensors.index.json` (or `NAME.bin.index.json`) maps the name of each tensor to a file
 * beside it.
 *
 * @example
 * ```ts ignore
 * using file = await ShardedFile.open("diffusion_pytorch_model.safetensors.index.json");
 * ```
 */
export class ShardedFile implements WeightFile {
  /** The index, for messages. */
  readonly name: string;
  readonly #shards: readonly WeightFile[];
  /** The shard of each tensor, in the order of the index. */
  readonly #places: ReadonlyMap<string, WeightFile>;

  private constructor(
    name: string,
    shards: readonly WeightFile[],
    places: ReadonlyMap<string, WeightFile>,
  ) {
    this.name = name;
    this.#shards = shards;
    this.#places = places;
  }

  /**
   * Opens an index and all files that it names.
   *
   * @throws {FormatError} If the index is none, a file is missing, or lacks one of its tensors.
   */
  static async open(path: string): Promise<ShardedFile> {
    const files = readIndex(path, await readText(path));
    const folder = path.slice(0, Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
    const shards = new Map<string, WeightFile>();
    try {
      for (const file of new Set(files.values())) {
        shards.set(file, await openShard(path, folder + file));
      }
      const places = new Map<string, WeightFile>();
      for (const [name, file] of files) {
        const shard = shards.get(file)!;
        if (!shard.has(name)) {
          throw new FormatError(
            shard.name,
            `tensor ${quote(name)}`,
            `a tensor of that name, which ${path} says is in this file`,
            "none",
          );
        }
        places.set(name, shard);
      }
      return new ShardedFile(path, [...shards.values()], places);
    } catch (error) {
      for (const shard of shards.values()) shard.close();
      throw error;
    }
  }

  keys(): string[] {
    return [...this.#places.keys()];
  }

  /** Whether there is a tensor of that name. */
  has(key: string): boolean {
    return this.#places.has(key);
  }

  info(key: string): TensorInfo {
    return this.#shardOf(key).info(key);
  }

  async read(key: string): Promise<HostTensor> {
    return await this.#shardOf(key).read(key);
  }

  async readInto(key: string, target: Uint8Array, start = 0): Promise<void> {
    await this.#shardOf(key).readInto(key, target, start);
  }

  /** Closes all files; reading fails from then on. */
  close(): void {
    for (const shard of this.#shards) shard.close();
  }

  /** Closes all files, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #shardOf(key: string): WeightFile {
    return this.#places.get(key) ?? missing(this.name, key);
  }
}

async function readText(path: string): Promise<string> {
  const file = await openFile(path);
  try {
    return new TextDecoder().decode(await readRange(file, 0, file.size));
  } finally {
    file.close();
  }
}

/** The file of each tensor. */
function readIndex(path: string, text: string): Map<string, string> {
  let index: unknown;
  try {
    index = JSON.parse(text);
  } catch (error) {
    throw new FormatError(path, "index", "JSON", (error as Error).message);
  }
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw new FormatError(path, "index", "a weight_map from tensors to files", "none");
  }
  const files = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== "string" || !/^[^/\\]+$/.test(file) || /^\.*$/.test(file)) {
      const found = quote(JSON.stringify(file));
      throw new FormatError(path, `tensor ${quote(name)}`, "a file in the index's folder", found);
    }
    files.set(name, file);
  }
  return files;
}

async function openShard(index: string, path: string): Promise<WeightFile> {
  try {
    if (!await isTorch(path)) return await SafetensorsFile.open(path);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new FormatError(index, "weight_map", `the file ${path} beside it`, "no such file");
  }
  const file = await TorchFile.open(path);
  try {
    return file.stateDict();
  } catch (error) {
    file.close();
    throw error;
  }
}
