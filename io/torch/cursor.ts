import { FormatError } from "../errors.ts";

/** The bytes end before what they promise. More of the file may help. */
export class TruncatedError extends FormatError {}

/** Reads numbers and text one after the other, with the place of each for messages. */
export class ByteCursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #file: string;
  readonly #part: string;
  /** Offset of the next byte. */
  at: number;

  /**
   * @param file For messages.
   * @param part Which part of the file the bytes are, for messages.
   */
  constructor(bytes: Uint8Array, file: string, part: string, at = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#file = file;
    this.#part = part;
    this.at = at;
  }

  /** Bytes in all. */
  get size(): number {
    return this.#bytes.byteLength;
  }

  /** Throws the error that `expected` is not what stands at `at`. */
  fail(expected: string, found: string, at = this.at): never {
    throw new FormatError(this.#file, `${this.#part}, byte ${at}`, expected, found);
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  i32(): number {
    return this.#view.getInt32(this.#advance(4), true);
  }

  /** As a number; sizes past 2^53 are only ever compared with what there is. */
  u64(): number {
    return Number(this.#view.getBigUint64(this.#advance(8), true));
  }

  f64BigEndian(): number {
    return this.#view.getFloat64(this.#advance(8), false);
  }

  /** The next `length` bytes, not copied. */
  take(length: number): Uint8Array {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  text(length: number): string {
    const start = this.at;
    const bytes = this.take(length);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return this.fail("text in UTF-8", "other bytes", start);
    }
  }

  /** Text up to a line feed, which is skipped. */
  line(): string {
    const limit = 256;
    const length = this.#bytes.subarray(this.at, this.at + limit).indexOf(0x0a);
    if (length < 0 && this.at + limit <= this.#bytes.byteLength) {
      this.fail(`a line of at most ${limit} bytes`, "a longer one");
    }
    const text = this.text(length < 0 ? limit : length);
    this.at++;
    return text;
  }

  #advance(length: number): number {
    const start = this.at;
    if (!(start + length <= this.#bytes.byteLength)) {
      throw new TruncatedError(
        this.#file,
        `${this.#part}, byte ${start}`,
        `${length} more bytes`,
        `the end after ${this.#bytes.byteLength - start}`,
      );
    }
    this.at += length;
    return start;
  }
}
