import { FormatError, quote } from "../errors.ts";
import { foreignText } from "../foreign.ts";
import { type FileLike, openBytes } from "../open.ts";
import {
  byteCount,
  HOST_DTYPE_BYTES,
  type HostDType,
  type HostTensor,
  type TensorInfo,
  tensorInfo,
} from "../../tensor/mod.ts";
import { checkWindow, missing, type WeightFile } from "../tensor_source.ts";
import { type RandomAccess, readRange } from "../source.ts";
import type { LazyTensor } from "../savable.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { openLegacyCheckpoint } from "./legacy_checkpoint.ts";
import { gather, isRowMajor } from "../strided.ts";
import {
  mapTensors,
  Namespace,
  Opaque,
  TensorRef,
  type TorchKey,
  type TorchValue,
  Tuple,
} from "./values.ts";
import { openZipCheckpoint } from "./zip_checkpoint.ts";

/** A tensor of an open checkpoint; its values stay in the file until they are read. */
export class StoredTensor implements LazyTensor {
  readonly #checkpoint: Checkpoint;
  readonly #ref: TensorRef;
  readonly #file: string;

  /** Made by {@linkcode TorchFile}. */
  constructor(checkpoint: Checkpoint, ref: TensorRef, file: string) {
    this.#checkpoint = checkpoint;
    this.#ref = ref;
    this.#file = file;
  }

  /** Type of the elements. */
  get dtype(): HostDType {
    return this.#ref.dtype;
  }

  get shape(): readonly number[] {
    return this.#ref.shape;
  }

  /** The whole tensor, row-major, in memory of its own. */
  async read(): Promise<HostTensor> {
    const { dtype, shape, storage, offset, strides } = this.#ref;
    const itemBytes = HOST_DTYPE_BYTES[dtype];
    const total = byteCount(this.#ref);
    if (isRowMajor(shape, strides) || total === 0) {
      const data = new Uint8Array(total);
      await this.#checkpoint.readInto(storage, data, offset * itemBytes);
      return { dtype, shape, data };
    }
    const last = shape.reduce((at, d, i) => at + (d - 1) * strides[i]!, 0);
    const span = new Uint8Array((last + 1) * itemBytes);
    await this.#checkpoint.readInto(storage, span, offset * itemBytes);
    return { dtype, shape, data: gather(span, shape, strides, itemBytes) };
  }

  /** Fills `target` with the tensor's bytes, row-major, from byte `start` on. */
  async readInto(target: Uint8Array, start = 0): Promise<void> {
    const { shape, storage, offset, strides, dtype } = this.#ref;
    checkWindow(this.#file, storage.key, byteCount(this.#ref), start, target.byteLength);
    if (isRowMajor(shape, strides)) {
      const at = offset * HOST_DTYPE_BYTES[dtype] + start;
      await this.#checkpoint.readInto(storage, target, at);
    } else {
      target.set((await this.read()).data.subarray(start, start + target.byteLength));
    }
  }
}

/**
 * A PyTorch checkpoint (`.pt`, `.pth`, `.bin`), read as data and never run: both container formats,
 * pickle protocols 2 to 5. Tensors are read on demand, each by its range of the file. Objects that are
 * no data here, such as NumPy arrays, are placeholders ({@linkcode Opaque}).
 *
 * @example
 * ```ts ignore
 * using file = await TorchFile.open("0050000.pt");
 * const ema = file.stateDict("ema");
 * for (const name of ema.keys()) upload(name, await ema.read(name));
 * ```
 */
export class TorchFile implements Disposable {
  /** The file, for messages. */
  readonly name: string;
  /** What was saved. */
  readonly value: TorchValue<StoredTensor>;
  readonly #source: RandomAccess;

  private constructor(source: RandomAccess, value: TorchValue<StoredTensor>) {
    this.name = source.name;
    this.value = value;
    this.#source = source;
  }

  /**
   * Opens a file, by its path or otherwise, and reads everything but the tensors' values.
   *
   * @throws {FormatError} If it is no checkpoint, is damaged, or names anything that could run code.
   */
  static async open(file: FileLike): Promise<TorchFile> {
    return await TorchFile.from(await openBytes(file));
  }

  /** Reads from any source, which is closed with the file. */
  static async from(source: RandomAccess): Promise<TorchFile> {
    try {
      const checkpoint = await openCheckpoint(source);
      const value = await mapTensors(
        checkpoint.value,
        (part) => part instanceof TensorRef,
        (ref) => new StoredTensor(checkpoint, ref, source.name),
      );
      return new TorchFile(source, value);
    } catch (error) {
      source.close();
      throw error;
    }
  }

  /** Whether the value is a dict that has `key`: `file.has("ema")` of a training checkpoint. */
  has(key: TorchKey): boolean {
    return dictOf(this.value)?.has(key) ?? false;
  }

  /**
   * The paths of all dicts of tensors, outermost first, such as `[["model"], ["ema"]]` of a training
   * checkpoint and `[[]]` of a bare state dict. Empty dicts are left out.
   */
  stateDictPaths(): TorchKey[][] {
    const found: TorchKey[][] = [];
    const visit = (value: TorchValue<StoredTensor>, path: TorchKey[]): void => {
      const dict = dictOf(value);
      if (dict === undefined) return;
      if (dict.size > 0 && [...dict.values()].every((item) => item instanceof StoredTensor)) {
        found.push(path);
        return;
      }
      if (path.length === MAX_PATH) return;
      for (const [key, item] of dict) visit(item, [...path, key]);
    };
    visit(this.value, []);
    return found;
  }

  /**
   * The state dict at a path of keys, the whole value when there are none. It is valid until the
   * file is closed, and closing it closes the file.
   *
   * @throws {FormatError} If there is no dict of tensors at that path; says what there is.
   */
  stateDict(...path: TorchKey[]): WeightFile {
    let value = this.value;
    for (const [i, key] of path.entries()) {
      const dict = dictOf(value);
      const inner = dict?.get(key);
      if (inner === undefined) {
        const found = dict ? `keys ${listKeys(dict)}` : "no dict";
        throw new FormatError(this.name, placeText(path.slice(0, i)), `the key ${key}`, found);
      }
      value = inner;
    }
    const place = placeText(path);
    const dict = dictOf(value);
    if (dict === undefined) {
      throw new FormatError(this.name, place, "a dict of tensors", kindOf(value));
    }
    const tensors = new Map<string, StoredTensor>();
    for (const [key, tensor] of dict) {
      if (typeof key !== "string" || !(tensor instanceof StoredTensor)) {
        throw new FormatError(
          this.name,
          place,
          "a dict of tensors",
          `${kindOf(tensor)} under ${keyText(key)}, among ${listKeys(dict)}`,
        );
      }
      tensors.set(key, tensor);
    }
    return new StateDict(this, tensors);
  }

  /** Closes the file behind it; reading fails from then on. */
  close(): void {
    this.#source.close();
  }

  /** Closes the file, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** A dict of tensors of a checkpoint as a source. */
class StateDict implements WeightFile {
  readonly #file: TorchFile;
  readonly #tensors: ReadonlyMap<string, StoredTensor>;

  constructor(file: TorchFile, tensors: ReadonlyMap<string, StoredTensor>) {
    this.#file = file;
    this.#tensors = tensors;
  }

  get name(): string {
    return this.#file.name;
  }

  keys(): string[] {
    return [...this.#tensors.keys()];
  }

  has(key: string): boolean {
    return this.#tensors.has(key);
  }

  info(key: string): TensorInfo {
    return tensorInfo(this.#get(key));
  }

  // deno-lint-ignore require-await -- a throw must become a rejection
  async read(key: string): Promise<HostTensor> {
    return this.#get(key).read();
  }

  // deno-lint-ignore require-await -- a throw must become a rejection
  async readInto(key: string, target: Uint8Array, start = 0): Promise<void> {
    return this.#get(key).readInto(target, start);
  }

  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #get(key: string): StoredTensor {
    return this.#tensors.get(key) ?? missing(this.name, key);
  }
}

/**
 * Everything in a PyTorch checkpoint, tensors included: a Map of tensors for a bare state dict, a
 * Map of Maps for a training checkpoint. {@linkcode TorchFile} reads one tensor at a time instead.
 *
 * @throws {FormatError} If it is no checkpoint, is damaged, or names anything that could run code.
 */
export async function loadTorch(from: FileLike): Promise<TorchValue<HostTensor>> {
  using file = await TorchFile.open(from);
  return await mapTensors(
    file.value,
    (part) => part instanceof StoredTensor,
    (tensor) => tensor.read(),
  );
}

async function openCheckpoint(source: RandomAccess): Promise<Checkpoint> {
  const start = await readRange(source, 0, Math.min(4, source.size));
  if (start[0] === 0x50 && start[1] === 0x4b) return await openZipCheckpoint(source);
  if (start[0] === 0x80) return await openLegacyCheckpoint(source);
  const found = await foreignText(source);
  throw new FormatError(source.name, "byte 0", "a PyTorch checkpoint", found);
}

/** Levels of dicts around a state dict, at most. */
const MAX_PATH = 4;

/** The items of a dict, or of an object that is a kind of dict or has attributes. */
function dictOf(
  value: TorchValue<StoredTensor>,
): ReadonlyMap<TorchKey, TorchValue<StoredTensor>> | undefined {
  if (value instanceof Map) return value;
  return value instanceof Opaque && value.entries.size > 0 ? value.entries : undefined;
}

/** What a value is, for messages. */
function kindOf(value: TorchValue<StoredTensor>): string {
  if (value === null) return "None";
  if (value instanceof StoredTensor) return "a tensor";
  if (value instanceof Opaque) return `an object ${value.name}`;
  if (value instanceof Map) return "a dict";
  if (Array.isArray(value)) return "a list";
  if (value instanceof Tuple) return "a tuple";
  if (value instanceof Namespace) return "a Namespace";
  if (value instanceof Uint8Array) return "bytes";
  return `the ${typeof value} ${quote(String(value))}`;
}

function keyText(key: TorchKey): string {
  return key instanceof Opaque ? `a key ${key.name}` : quote(String(key));
}

function placeText(path: readonly TorchKey[]): string {
  return path.length === 0 ? "value" : `value under ${path.join(".")}`;
}

function listKeys(map: ReadonlyMap<TorchKey, unknown>): string {
  const keys = [...map.keys()].slice(0, 8).map(keyText);
  return keys.join(", ") + (map.size > keys.length ? `, ... (${map.size} in all)` : "");
}
