import { FormatError, quote } from "../errors.ts";
import { writeAtomically } from "../file.ts";
import {
  byteCount,
  elementCount,
  HOST_DTYPE_BYTES,
  type HostDType,
  infoText,
  type TensorInfo,
  type TensorSource,
} from "../../tensor/mod.ts";
import { asSource, missing } from "../tensor_source.ts";
import type { ByteSink } from "../source.ts";
import type { SavableTensor } from "../savable.ts";
import { MAX_HEADER_BYTES, SAFETENSORS_DTYPES } from "./header.ts";

/** A tensor that will be written. */
export interface PlannedTensor extends TensorInfo {
  /** The tensor's name, unique in its file. */
  readonly name: string;
}

const DTYPE_NAMES = Object.fromEntries(
  Object.entries(SAFETENSORS_DTYPES).map(([name, dtype]) => [dtype, name]),
) as Record<HostDType, string>;

/**
 * Writes a safetensors file tensor by tensor: the names and shapes come first, then the bytes, in
 * any order and in pieces of any size, so that a device never has to hand over more than one
 * tensor at a time.
 *
 * @example
 * ```ts ignore
 * await writeAtomically("out.safetensors", async (sink) => {
 *   const writer = await SafetensorsWriter.create(sink, [{ name: "w", dtype: "f32", shape: [2] }]);
 *   await writer.write("w", bytes);
 *   writer.finish();
 * });
 * ```
 */
export class SafetensorsWriter {
  readonly #sink: ByteSink;
  /** Where the next bytes of each tensor go, and where the tensor ends. */
  readonly #pending: Map<string, { next: number; end: number }>;

  private constructor(sink: ByteSink, pending: Map<string, { next: number; end: number }>) {
    this.#sink = sink;
    this.#pending = pending;
  }

  /**
   * Writes the header. The data is laid out widest elements first, then by name, as the format's
   * own library does, which keeps every tensor aligned to its element.
   *
   * @throws {FormatError} If a name occurs twice or a shape is none.
   */
  static async create(
    sink: ByteSink,
    plan: readonly PlannedTensor[],
    metadata: Iterable<readonly [string, string]> = [],
  ): Promise<SafetensorsWriter> {
    const pending = new Map<string, { next: number; end: number }>();
    const entries: [string, unknown][] = [];
    const texts = Object.fromEntries(metadata);
    if (Object.keys(texts).length > 0) entries.push(["__metadata__", texts]);
    let end = 0;
    for (const tensor of [...plan].sort(byWidthThenName)) {
      const { name, dtype, shape } = tensor;
      checkPlanned(sink.name, tensor, pending);
      const begin = end;
      end += byteCount(tensor);
      pending.set(name, { next: begin, end });
      entries.push([name, { dtype: DTYPE_NAMES[dtype], shape, data_offsets: [begin, end] }]);
    }
    const header = encodeHeader(entries);
    if (header.byteLength - 8 > MAX_HEADER_BYTES) {
      throw new FormatError(
        sink.name,
        "header",
        `at most ${MAX_HEADER_BYTES} bytes`,
        `${header.byteLength - 8}`,
      );
    }
    await sink.writeAt(0, header);
    for (const range of pending.values()) {
      range.next += header.byteLength;
      range.end += header.byteLength;
    }
    return new SafetensorsWriter(sink, pending);
  }

  /**
   * Appends `bytes` to what has been written of tensor `name`.
   *
   * @throws {FormatError} If the tensor was not planned or is full.
   */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const range = this.#pending.get(name) ?? missing(this.#sink.name, name);
    if (bytes.byteLength > range.end - range.next) {
      throw new FormatError(
        this.#sink.name,
        `tensor ${quote(name)}`,
        `at most ${range.end - range.next} more bytes`,
        `${bytes.byteLength}`,
      );
    }
    const at = range.next;
    range.next += bytes.byteLength;
    await this.#sink.writeAt(at, bytes);
  }

  /**
   * Checks that every planned byte has been written.
   *
   * @throws {FormatError} Naming the first tensor that is incomplete.
   */
  finish(): void {
    for (const [name, { next, end }] of this.#pending) {
      if (next !== end) {
        throw new FormatError(
          this.#sink.name,
          `tensor ${quote(name)}`,
          `${end - next} more bytes before the file is finished`,
          "none",
        );
      }
    }
  }
}

/**
 * Writes tensors to a safetensors file, atomically.
 *
 * @param path Replaced only when the new file is complete.
 * @param tensors By name, on the host, on a device or in a file; each is fetched when its turn comes.
 * @param metadata Free text for the file's `__metadata__`.
 */
export async function saveSafetensors(
  path: string,
  tensors: ReadonlyMap<string, SavableTensor> | TensorSource,
  metadata: Iterable<readonly [string, string]> = [],
): Promise<void> {
  await writeAtomically(path, (sink) => writeSafetensors(sink, tensors, metadata));
}

/** Writes tensors in the safetensors format to any sink. */
export async function writeSafetensors(
  sink: ByteSink,
  tensors: ReadonlyMap<string, SavableTensor> | TensorSource,
  metadata: Iterable<readonly [string, string]> = [],
): Promise<void> {
  const source = asSource(tensors);
  const plan = source.keys().map((name) => ({ name, ...source.info(name) }));
  const writer = await SafetensorsWriter.create(sink, plan, metadata);
  for (const { name } of plan) await writer.write(name, (await source.read(name)).data);
  writer.finish();
}

function byWidthThenName(a: PlannedTensor, b: PlannedTensor): number {
  return HOST_DTYPE_BYTES[b.dtype] - HOST_DTYPE_BYTES[a.dtype] ||
    (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

function checkPlanned(
  file: string,
  tensor: PlannedTensor,
  planned: ReadonlyMap<string, unknown>,
): void {
  const place = `tensor ${quote(tensor.name)}`;
  if (tensor.name === "__metadata__" || planned.has(tensor.name)) {
    throw new FormatError(file, place, "a name of its own", "one that is taken");
  }
  if (
    !tensor.shape.every((d) => Number.isSafeInteger(d) && d >= 0) ||
    !Number.isSafeInteger(elementCount(tensor.shape) * 8)
  ) {
    throw new FormatError(file, place, "a shape of whole numbers", infoText(tensor));
  }
}

/** Length and JSON, padded with spaces so that the data begins at a multiple of 8. */
function encodeHeader(entries: [string, unknown][]): Uint8Array {
  // `Object.fromEntries` would move names that look like numbers to the front.
  const json = "{" +
    entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join() +
    "}";
  const text = new TextEncoder().encode(json);
  const length = Math.ceil(text.byteLength / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(text, 8);
  return header;
}
