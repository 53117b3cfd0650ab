/** Where bytes come from and go to, so that the formats know nothing of files. */
import { FormatError } from "./errors.ts";

/** Bytes that can be read by range: a file, or a block of memory. */
export interface RandomAccess {
  /** For messages. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** Fills `target` with the bytes from `offset` on, or throws {@linkcode FormatError}. */
  readInto(offset: number, target: Uint8Array): Promise<void>;
  /** Closes the file behind it; reading fails from then on. */
  close(): void;
}

/** Somewhere bytes can be written at any offset; what lies before and is never written is 0. */
export interface ByteSink {
  /** For messages. */
  readonly name: string;
  /** Writes `bytes` from byte `offset` on. */
  writeAt(offset: number, bytes: Uint8Array): Promise<void>;
}

/**
 * `length` bytes from `offset` on.
 *
 * @throws {FormatError} If they reach past the end, before anything is allocated.
 */
export async function readRange(
  source: RandomAccess,
  offset: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  checkRange(source, offset, length);
  const bytes = allocate(source.name, `byte ${offset}`, length);
  await source.readInto(offset, bytes);
  return bytes;
}

/**
 * Memory for what a file says that it holds: a small archive may unpack to a thousand times its size.
 *
 * @throws {FormatError} If there is not as much.
 */
export function allocate(file: string, place: string, length: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new FormatError(file, place, "what memory can hold", `${length} bytes`);
  }
}

/** Throws {@linkcode FormatError} unless `source` has `length` bytes at `offset`. */
export function checkRange(source: RandomAccess, offset: number, length: number): void {
  if (offset < 0 || length < 0 || !(offset + length <= source.size)) {
    throw new FormatError(
      source.name,
      `byte ${offset}`,
      `${length} more bytes`,
      `a file of ${source.size} bytes`,
    );
  }
}

/** Memory as a source. */
export function bytesSource(bytes: Uint8Array, name = "(memory)"): RandomAccess {
  return {
    name,
    size: bytes.byteLength,
    readInto(offset, target) {
      const found = bytes.subarray(offset, offset + target.byteLength);
      if (found.byteLength < target.byteLength) {
        return Promise.reject(
          new FormatError(
            name,
            `byte ${offset}`,
            `${target.byteLength} more bytes`,
            `${found.byteLength}`,
          ),
        );
      }
      target.set(found);
      return Promise.resolve();
    },
    close() {},
  };
}

/** Memory that grows as it is written. */
export class BytesSink implements ByteSink {
  readonly name: string;
  #bytes = new Uint8Array(1024);
  #length = 0;

  /** An empty sink. */
  constructor(name = "(memory)") {
    this.name = name;
  }

  /** Writes `bytes` from byte `offset` on. */
  writeAt(offset: number, bytes: Uint8Array): Promise<void> {
    const end = offset + bytes.byteLength;
    if (end > this.#bytes.byteLength) {
      const grown = new Uint8Array(Math.max(end, 2 * this.#bytes.byteLength));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, offset);
    this.#length = Math.max(this.#length, end);
    return Promise.resolve();
  }

  /** Everything written so far, without a copy. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }
}
