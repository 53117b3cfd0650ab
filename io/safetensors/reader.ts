import { type FileLike, openBytes } from "../open.ts";
import { byteCount, type HostTensor, type TensorInfo, tensorInfo } from "../../tensor/mod.ts";
import { checkWindow, missing, readAll, readWhole, type WeightFile } from "../tensor_source.ts";
import type { RandomAccess } from "../source.ts";
import { type PlacedTensor, readHeader, type SafetensorsHeader } from "./header.ts";

/**
 * A safetensors file whose header has been read and checked and whose tensors are read on demand.
 *
 * @example
 * ```ts ignore
 * using file = await SafetensorsFile.open("model.safetensors");
 * for (const name of file.keys()) upload(name, await file.read(name));
 * ```
 */
export class SafetensorsFile implements WeightFile {
  readonly name: string;
  /** Free text that the file carries under `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly #source: RandomAccess;
  readonly #tensors: ReadonlyMap<string, PlacedTensor>;

  private constructor(source: RandomAccess, header: SafetensorsHeader) {
    this.name = source.name;
    this.metadata = header.metadata;
    this.#source = source;
    this.#tensors = header.tensors;
  }

  /**
   * Opens a file, by its path or otherwise.
   *
   * @throws {FormatError} If its header breaks a rule of the format.
   */
  static async open(file: FileLike): Promise<SafetensorsFile> {
    return await SafetensorsFile.from(await openBytes(file));
  }

  /** Reads from any source, which is closed with the file. */
  static async from(source: RandomAccess): Promise<SafetensorsFile> {
    try {
      return new SafetensorsFile(source, await readHeader(source));
    } catch (error) {
      source.close();
      throw error;
    }
  }

  keys(): string[] {
    return [...this.#tensors.keys()];
  }

  /** Whether there is a tensor of that name. */
  has(key: string): boolean {
    return this.#tensors.has(key);
  }

  info(key: string): TensorInfo {
    return tensorInfo(this.#placed(key));
  }

  read(key: string): Promise<HostTensor> {
    return readWhole(this, key);
  }

  async readInto(key: string, target: Uint8Array, start = 0): Promise<void> {
    const tensor = this.#placed(key);
    checkWindow(this.name, key, byteCount(tensor), start, target.byteLength);
    await this.#source.readInto(tensor.offset + start, target);
  }

  /** Closes the file behind it; reading fails from then on. */
  close(): void {
    this.#source.close();
  }

  /** Closes the file, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #placed(key: string): PlacedTensor {
    return this.#tensors.get(key) ?? missing(this.name, key);
  }
}

/**
 * Every tensor of a safetensors file, by name, in the order of the file.
 *
 * @throws {FormatError} If the file breaks a rule of the format.
 */
export async function loadSafetensors(from: FileLike): Promise<Map<string, HostTensor>> {
  using file = await SafetensorsFile.open(from);
  return await readAll(file);
}
