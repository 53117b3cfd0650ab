import { FormatError } from "../errors.ts";
import { AtomicFile, writeAtomically } from "../file.ts";
import { type FileLike, openBytes } from "../open.ts";
import {
  byteCount,
  elementCount,
  HOST_DTYPE_BYTES,
  type HostDType,
  type HostTensor,
  type TensorInfo,
  tensorInfo,
  type TensorSource,
} from "../../tensor/mod.ts";
import { asSource, checkWindow, missing, readAll, type WeightFile } from "../tensor_source.ts";
import { allocate, type ByteSink, type RandomAccess } from "../source.ts";
import type { SavableTensor } from "../savable.ts";
import { entryPlace, type ZipEntry } from "../zip/directory.ts";
import { ZipReader } from "../zip/reader.ts";
import { ZipWriter } from "../zip/writer.ts";
import {
  decodeNpyText,
  encodeNpyHeader,
  encodeNpyText,
  MAX_NPY_HEADER_BYTES,
  type NpyHeader,
  parseNpyHeader,
  parseNpyText,
} from "./header.ts";
import { checkBytes, RowWriter } from "./npy.ts";
import { isNative, toNative } from "./order.ts";

/** An array of an archive. */
interface StoredArray {
  readonly entry: ZipEntry;
  readonly header: NpyHeader;
}

/** A text beside the arrays is not larger. */
const MOST_TEXT_BYTES = 1 << 20;

/** Rows of more bytes than that are read fewer at a time. */
const MOST_BATCH_BYTES = 2 ** 28;

/**
 * A `.npz` archive, stored or deflated, of any size, whose headers have been read and whose arrays
 * are read on demand. Checksums are compared before elements are handed out, except by
 * {@linkcode NpzFile.batches}, which compares them at the end.
 */
export class NpzFile implements WeightFile {
  readonly name: string;
  readonly #source: RandomAccess;
  readonly #zip: ZipReader;
  readonly #arrays: ReadonlyMap<string, StoredArray>;
  /** Arrays that are one text each. */
  readonly texts: ReadonlyMap<string, string>;

  private constructor(
    source: RandomAccess,
    zip: ZipReader,
    arrays: ReadonlyMap<string, StoredArray>,
    texts: ReadonlyMap<string, string>,
  ) {
    this.texts = texts;
    this.name = source.name;
    this.#source = source;
    this.#zip = zip;
    this.#arrays = arrays;
  }

  /**
   * Opens an archive, by its path or otherwise.
   *
   * @throws {FormatError} If it is no archive, or holds anything but arrays of numbers and texts.
   */
  static async open(file: FileLike): Promise<NpzFile> {
    return await NpzFile.from(await openBytes(file));
  }

  /** Reads from any source, which is closed with the file. */
  static async from(source: RandomAccess): Promise<NpzFile> {
    try {
      const zip = await ZipReader.open(source);
      const arrays = new Map<string, StoredArray>();
      const texts = new Map<string, string>();
      for (const entry of zip.entries.values()) {
        const place = entryPlace(entry.name);
        if (!entry.name.endsWith(".npy")) {
          throw new FormatError(source.name, place, "a name that ends in .npy", "another");
        }
        const start = await zip.peek(entry, MAX_NPY_HEADER_BYTES);
        const key = entry.name.slice(0, -".npy".length);
        const text = parseNpyText(start);
        if (text) {
          if (text.size !== entry.size) {
            throw new FormatError(source.name, place, `${text.size} bytes`, `${entry.size}`);
          }
          const bytes = await zip.read(entry, MOST_TEXT_BYTES);
          texts.set(key, decodeNpyText(bytes.subarray(text.dataOffset)));
          continue;
        }
        const header = parseNpyHeader(start, entry.size, source.name, place);
        arrays.set(key, { entry, header });
      }
      return new NpzFile(source, zip, arrays, texts);
    } catch (error) {
      source.close();
      throw error;
    }
  }

  keys(): string[] {
    return [...this.#arrays.keys()];
  }

  /** Whether there is a tensor of that name. */
  has(key: string): boolean {
    return this.#arrays.has(key);
  }

  info(key: string): TensorInfo {
    return tensorInfo(this.#get(key).header);
  }

  async read(key: string): Promise<HostTensor> {
    const { entry, header } = this.#get(key);
    const { dtype, shape, dataOffset } = header;
    const data = allocate(this.name, entryPlace(entry.name), byteCount(header));
    await this.#zip.readInto(entry, data, dataOffset);
    return { dtype, shape, data: toNative(data, header) };
  }

  async readInto(key: string, target: Uint8Array, start = 0): Promise<void> {
    const { entry, header } = this.#get(key);
    checkWindow(this.name, key, byteCount(header), start, target.byteLength);
    if (isNative(header)) {
      await this.#zip.readInto(entry, target, header.dataOffset + start);
    } else {
      target.set((await this.read(key)).data.subarray(start, start + target.byteLength));
    }
  }

  /**
   * The array in one pass, `rows` of its first dimension at a time (the last batch may be smaller,
   * and all where rows are so large that a batch would take more than 256 MiB), each in memory of its
   * own: how to read images by the ten thousand, deflated ones too.
   *
   * @throws {FormatError} If the array is in Fortran order or big-endian, or one row is more than
   * memory can hold, or, after the last batch, if its checksum is wrong.
   */
  async *batches(key: string, rows: number): AsyncGenerator<HostTensor> {
    const { entry, header } = this.#get(key);
    const { dtype, shape, dataOffset } = header;
    if (!isNative(header) || shape.length === 0 || !(rows >= 1)) {
      throw new FormatError(
        this.name,
        entryPlace(entry.name),
        "rows of little-endian numbers in C order",
        "other numbers or no rows",
      );
    }
    const rowShape = shape.slice(1);
    const rowBytes = elementCount(rowShape) * HOST_DTYPE_BYTES[dtype];
    const most = Math.max(1, Math.min(rows, Math.floor(MOST_BATCH_BYTES / rowBytes)));
    const place = entryPlace(entry.name);
    let left = shape[0]!;
    let batch = allocate(this.name, place, Math.min(most, left) * rowBytes);
    let filled = 0;
    let skip = dataOffset;
    for await (const chunk of this.#zip.chunks(entry)) {
      let rest = chunk.subarray(skip);
      skip -= chunk.byteLength - rest.byteLength;
      while (rest.byteLength > 0) {
        const part = rest.subarray(0, batch.byteLength - filled);
        batch.set(part, filled);
        filled += part.byteLength;
        rest = rest.subarray(part.byteLength);
        if (filled === batch.byteLength) {
          const count = batch.byteLength / rowBytes;
          left -= count;
          yield { dtype, shape: [count, ...rowShape], data: batch };
          batch = allocate(this.name, place, Math.min(most, left) * rowBytes);
          filled = 0;
        }
      }
    }
  }

  /** Closes the file behind it; reading fails from then on. */
  close(): void {
    this.#source.close();
  }

  /** Closes the file, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #get(key: string): StoredArray {
    return this.#arrays.get(key) ?? missing(this.name, key);
  }
}

/**
 * Every array of a `.npz` archive, by name.
 *
 * @throws {FormatError} If it is no archive, is damaged, or holds anything but arrays of numbers.
 */
export async function loadNpz(from: FileLike): Promise<Map<string, HostTensor>> {
  using file = await NpzFile.open(from);
  return await readAll(file);
}

/**
 * Writes arrays to a `.npz` archive (stored, of any size), atomically.
 *
 * @param arrays By name, on the host, on a device or in a file; each is fetched when its turn comes.
 * @throws {TypeError} If NumPy has no such element type (`bf16`).
 */
export async function saveNpz(
  path: string,
  arrays: ReadonlyMap<string, SavableTensor> | TensorSource,
): Promise<void> {
  await writeAtomically(path, (sink) => writeNpz(sink, arrays));
}

/** Writes arrays in the `.npz` format to any sink. */
export async function writeNpz(
  sink: ByteSink,
  arrays: ReadonlyMap<string, SavableTensor> | TensorSource,
): Promise<void> {
  const source = asSource(arrays);
  const zip = new ZipWriter(sink);
  for (const key of source.keys()) {
    const tensor = await source.read(key);
    checkBytes(sink.name, entryPlace(`${key}.npy`), tensor);
    const header = encodeNpyHeader(tensor);
    const entry = zip.begin(`${key}.npy`, { size: header.byteLength + tensor.data.byteLength });
    await entry.write(header);
    await entry.write(tensor.data);
    await entry.end();
  }
  await zip.finish();
}

/**
 * Writes a `.npz` archive as a stream: batches of images go to disk as they are sampled, and their
 * number is written at the end. The file appears under its name with `finish()`.
 *
 * @example
 * ```ts ignore
 * await using npz = await NpzWriter.create("samples.npz");
 * const images = npz.begin("arr_0", "u8", [256, 256, 3]);
 * for (const batch of batches) await images.write(batch);
 * await images.end();
 * await npz.finish();
 * ```
 */
export class NpzWriter implements AsyncDisposable {
  readonly #file: AtomicFile;
  readonly #zip: ZipWriter;

  private constructor(file: AtomicFile) {
    this.#file = file;
    this.#zip = new ZipWriter(file);
  }

  /** Opens a temporary file beside `path`. */
  static async create(path: string): Promise<NpzWriter> {
    return new NpzWriter(await AtomicFile.create(path));
  }

  /**
   * Begins an array; the one before must have ended.
   *
   * @param rowShape Shape of one row: all dimensions but the first.
   */
  begin(key: string, dtype: HostDType, rowShape: readonly number[]): RowWriter {
    const headBytes = RowWriter.headBytes(dtype, rowShape);
    const entry = this.#zip.begin(`${key}.npy`, { headBytes });
    return new RowWriter(dtype, rowShape, (bytes) => entry.write(bytes), (h) => entry.end(h));
  }

  /** Adds a text, which NumPy reads as `str(np.load(path)[key])`; the array before must have ended. */
  async text(key: string, text: string): Promise<void> {
    await this.#zip.add(`${key}.npy`, encodeNpyText(text));
  }

  /** Completes the archive and lets it appear under its name. */
  async finish(): Promise<void> {
    await this.#zip.finish();
    await this.#file.commit();
  }

  /** Throws away what was written, unless it was finished. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]();
  }
}
