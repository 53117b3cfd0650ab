import { writeAtomically } from "../file.ts";
import { type FileLike, openBytes } from "../open.ts";
import { FormatError } from "../errors.ts";
import {
  byteCount,
  HOST_DTYPE_BYTES,
  type HostDType,
  type HostTensor,
  infoText,
  type TensorInfo,
} from "../../tensor/mod.ts";
import { checkWindow } from "../tensor_source.ts";
import { type ByteSink, type RandomAccess, readRange } from "../source.ts";
import { fetchTensor, type SavableTensor } from "../savable.ts";
import { encodeNpyHeader, MAX_NPY_HEADER_BYTES, type NpyHeader, parseNpyHeader } from "./header.ts";
import { isNative, toNative } from "./order.ts";

/** A `.npy` file whose header has been read and whose elements are read on demand. */
export class NpyFile implements TensorInfo, Disposable {
  /** The file, for messages. */
  readonly name: string;
  /** Type of the elements. */
  readonly dtype: HostDType;
  readonly shape: readonly number[];
  readonly #source: RandomAccess;
  readonly #header: NpyHeader;

  private constructor(source: RandomAccess, header: NpyHeader) {
    this.name = source.name;
    this.dtype = header.dtype;
    this.shape = header.shape;
    this.#source = source;
    this.#header = header;
  }

  /**
   * Opens a file, by its path or otherwise.
   *
   * @throws {FormatError} If it is no array, of Python objects, or not as large as its header says.
   */
  static async open(file: FileLike): Promise<NpyFile> {
    return await NpyFile.from(await openBytes(file));
  }

  /** Reads from any source, which is closed with the file. */
  static async from(source: RandomAccess): Promise<NpyFile> {
    try {
      const start = await readRange(source, 0, Math.min(source.size, MAX_NPY_HEADER_BYTES));
      return new NpyFile(source, parseNpyHeader(start, source.size, source.name, "header"));
    } catch (error) {
      source.close();
      throw error;
    }
  }

  /** The whole array, row-major. */
  async read(): Promise<HostTensor> {
    const { dtype, shape, dataOffset } = this.#header;
    const data = await readRange(this.#source, dataOffset, byteCount(this.#header));
    return { dtype, shape, data: toNative(data, this.#header) };
  }

  /** Fills `target` with the array's bytes, row-major, from byte `start` on. */
  async readInto(target: Uint8Array, start = 0): Promise<void> {
    checkWindow(this.name, "array", byteCount(this.#header), start, target.byteLength);
    if (isNative(this.#header)) {
      await this.#source.readInto(this.#header.dataOffset + start, target);
    } else {
      target.set((await this.read()).data.subarray(start, start + target.byteLength));
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
}

/**
 * The array of a `.npy` file: Fortran order and big-endian numbers are converted.
 *
 * @throws {FormatError} If it is no array, of Python objects, or not as large as its header says.
 */
export async function loadNpy(from: FileLike): Promise<HostTensor> {
  using file = await NpyFile.open(from);
  return await file.read();
}

/**
 * Writes a `.npy` file, atomically.
 *
 * @throws {TypeError} If NumPy has no such element type (`bf16`).
 */
export async function saveNpy(path: string, tensor: SavableTensor): Promise<void> {
  await writeAtomically(path, (sink) => writeNpy(sink, tensor));
}

/** Writes an array in the `.npy` format to any sink. */
export async function writeNpy(sink: ByteSink, array: SavableTensor): Promise<void> {
  const tensor = await fetchTensor(array);
  checkBytes(sink.name, "array", tensor);
  const header = encodeNpyHeader(tensor);
  await sink.writeAt(0, header);
  await sink.writeAt(header.byteLength, tensor.data);
}

/** Throws unless the tensor has as many bytes as its shape says. */
export function checkBytes(file: string, place: string, tensor: HostTensor): void {
  if (tensor.data.byteLength !== byteCount(tensor)) {
    throw new FormatError(
      file,
      place,
      `${byteCount(tensor)} bytes for ${infoText(tensor)}`,
      `${tensor.data.byteLength}`,
    );
  }
}

/**
 * An array that is written row by row before the number of its rows is known: its header is
 * reserved first and written last.
 */
export class RowWriter {
  readonly #info: { dtype: HostDType; rowShape: readonly number[] };
  readonly #headBytes: number;
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  readonly #end: (header: Uint8Array) => Promise<void>;
  #bytes = 0;

  /**
   * Made by {@linkcode NpzWriter.begin}.
   *
   * @param write Appends elements.
   * @param end Puts the header in its place before them.
   */
  constructor(
    dtype: HostDType,
    rowShape: readonly number[],
    write: (bytes: Uint8Array) => Promise<void>,
    end: (header: Uint8Array) => Promise<void>,
  ) {
    this.#info = { dtype, rowShape };
    this.#headBytes = RowWriter.headBytes(dtype, rowShape);
    this.#write = write;
    this.#end = end;
  }

  /** Bytes to reserve for the header, whatever the number of rows. */
  static headBytes(dtype: HostDType, rowShape: readonly number[]): number {
    return encodeNpyHeader({ dtype, shape: [Number.MAX_SAFE_INTEGER, ...rowShape] }).byteLength;
  }

  /** Appends elements, any number of whole rows or parts of one. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#bytes += bytes.byteLength;
    await this.#write(bytes);
  }

  /**
   * Ends the array.
   *
   * @returns Its shape.
   * @throws {RangeError} If the last row is not complete.
   */
  async end(): Promise<number[]> {
    const { dtype, rowShape } = this.#info;
    const rowBytes = rowShape.reduce((product, d) => product * d, HOST_DTYPE_BYTES[dtype]);
    const rows = rowBytes === 0 ? 0 : this.#bytes / rowBytes;
    if (!Number.isInteger(rows)) {
      throw new RangeError(
        `RowWriter: expected whole rows of ${rowBytes} bytes but got ${this.#bytes} bytes`,
      );
    }
    const shape = [rows, ...rowShape];
    await this.#end(encodeNpyHeader({ dtype, shape }, this.#headBytes));
    return shape;
  }
}
