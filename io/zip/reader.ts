import { FormatError } from "../errors.ts";
import { allocate, type RandomAccess } from "../source.ts";
import { checkWindow } from "../tensor_source.ts";
import { crc32 } from "./crc32.ts";
import { entryPlace, readDirectory, type ZipEntry } from "./directory.ts";

/** Bytes checked or inflated at a time. */
const CHUNK_BYTES = 2 ** 20;

/**
 * Reads the entries of a zip archive, whole or by range, never without having compared their
 * checksum: a range of an entry that was not read before costs a pass over all of it.
 */
export class ZipReader {
  readonly #source: RandomAccess;
  readonly #verified = new Set<ZipEntry>();
  /** By name, in the order of their data. */
  readonly entries: ReadonlyMap<string, ZipEntry>;

  private constructor(source: RandomAccess, entries: ReadonlyMap<string, ZipEntry>) {
    this.#source = source;
    this.entries = entries;
  }

  /** Reads and checks the directory; throws {@linkcode FormatError}. */
  static async open(source: RandomAccess): Promise<ZipReader> {
    return new ZipReader(source, await readDirectory(source));
  }

  /**
   * The whole of an entry.
   *
   * @param limit An entry larger than this is refused before memory is taken for it.
   * @throws {FormatError} If the entry is damaged.
   */
  async read(entry: ZipEntry, limit = Infinity): Promise<Uint8Array<ArrayBuffer>> {
    if (entry.size > limit) {
      throw new FormatError(
        this.#source.name,
        entryPlace(entry.name),
        `at most ${limit} bytes`,
        `${entry.size}`,
      );
    }
    const bytes = allocate(this.#source.name, entryPlace(entry.name), entry.size);
    await this.readInto(entry, bytes);
    return bytes;
  }

  /**
   * The first bytes of an entry, `length` at most, before its checksum has been compared: enough
   * to learn from a header what the entry holds.
   */
  async peek(entry: ZipEntry, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const start = new Uint8Array(Math.min(length, entry.size));
    if (!entry.deflated) {
      await this.#source.readInto(entry.dataOffset, start);
      return start;
    }
    let filled = 0;
    for await (const chunk of this.#inflated(entry)) {
      start.set(chunk.subarray(0, start.byteLength - filled), filled);
      filled += chunk.byteLength;
      if (filled >= start.byteLength) return start;
    }
    return start.subarray(0, filled);
  }

  /** Fills `target` with the entry's unpacked bytes from `start` on. */
  async readInto(entry: ZipEntry, target: Uint8Array, start = 0): Promise<void> {
    checkWindow(this.#source.name, entry.name, entry.size, start, target.byteLength);
    if (!entry.deflated && target.byteLength === entry.size) {
      await this.#source.readInto(entry.dataOffset, target);
      if (!this.#verified.has(entry)) this.#check(entry, crc32(target));
      return;
    }
    if (!entry.deflated && this.#verified.has(entry)) {
      await this.#source.readInto(entry.dataOffset + start, target);
      return;
    }
    // The whole entry passes by once, for its checksum; the part that was asked for is kept.
    let at = 0;
    for await (const chunk of this.chunks(entry)) {
      const from = Math.max(0, start - at);
      const to = Math.min(chunk.byteLength, start + target.byteLength - at);
      if (from < to) target.set(chunk.subarray(from, to), at + from - start);
      at += chunk.byteLength;
    }
  }

  /**
   * The entry's unpacked bytes in order, in pieces that are valid until the next one is asked for.
   * Its checksum is compared after the last.
   */
  async *chunks(entry: ZipEntry): AsyncGenerator<Uint8Array> {
    let crc = 0;
    let size = 0;
    for await (const chunk of entry.deflated ? this.#inflated(entry) : this.#stored(entry)) {
      size += chunk.byteLength;
      if (size > entry.size) break;
      crc = crc32(chunk, crc);
      yield chunk;
    }
    if (size !== entry.size) {
      throw new FormatError(
        this.#source.name,
        entryPlace(entry.name),
        `${entry.size} bytes`,
        size > entry.size ? "more" : `${size}`,
      );
    }
    this.#check(entry, crc);
  }

  #check(entry: ZipEntry, crc: number): void {
    if (crc !== entry.crc) {
      throw new FormatError(
        this.#source.name,
        `${entryPlace(entry.name)} at byte ${entry.dataOffset}`,
        `checksum ${hex(entry.crc)}`,
        `${hex(crc)}: its bytes are damaged`,
      );
    }
    this.#verified.add(entry);
  }

  /** The bytes as they are in the archive. */
  async *#stored(entry: ZipEntry): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const buffer = new Uint8Array(Math.min(CHUNK_BYTES, entry.compressedSize));
    for (let at = 0; at < entry.compressedSize; at += CHUNK_BYTES) {
      const chunk = buffer.subarray(0, entry.compressedSize - at);
      await this.#source.readInto(entry.dataOffset + at, chunk);
      yield chunk;
    }
  }

  async *#inflated(entry: ZipEntry): AsyncGenerator<Uint8Array> {
    const stored = this.#stored(entry);
    const packed = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        const { done, value } = await stored.next();
        if (done) controller.close();
        // A copy, since the stream may hold the chunk while the next is read into the buffer.
        else controller.enqueue(value.slice());
      },
    });
    try {
      yield* packed.pipeThrough(new DecompressionStream("deflate-raw"));
    } catch (error) {
      if (error instanceof FormatError) throw error;
      throw new FormatError(
        this.#source.name,
        entryPlace(entry.name),
        "deflated data",
        `what does not inflate: ${(error as Error).message}`,
      );
    }
  }
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, "0");
}
