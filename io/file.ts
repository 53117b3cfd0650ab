/** Files as sources and sinks. */
import { FormatError } from "./errors.ts";
import { fileSystem, type OpenFile } from "./file_system.ts";
import type { ByteSink, RandomAccess } from "./source.ts";

/**
 * Opens a file for reading by range. Its size is taken once; a file that shrinks while it is read
 * gives a {@linkcode FormatError}.
 *
 * Reads are synchronous inside: all readers share the cursor of a file, so that no other read may
 * come between seek and read.
 *
 * @throws {Error} If there is no such file, as the runtime has it (`Deno.errors.NotFound`), or where
 * the runtime has no files.
 */
// deno-lint-ignore require-await -- a throw must become a rejection
export async function openFile(path: string): Promise<RandomAccess> {
  const file = fileSystem(path).open(path, "read");
  let size: number;
  try {
    const stat = file.stat();
    if (!stat.isFile) {
      throw new FormatError(path, "path", "a file", stat.isDirectory ? "a folder" : "a device");
    }
    size = stat.size;
  } catch (error) {
    file.close();
    throw error;
  }
  let open = true;
  return {
    name: path,
    size,
    // deno-lint-ignore require-await -- a throw must become a rejection
    async readInto(offset, target) {
      let filled = 0;
      while (filled < target.byteLength) {
        const count = file.read(offset + filled, target.subarray(filled));
        if (count === 0) {
          throw new FormatError(
            path,
            `byte ${offset}`,
            `${target.byteLength} more bytes`,
            `${filled}`,
          );
        }
        filled += count;
      }
    },
    close() {
      if (open) file.close();
      open = false;
    },
  };
}

/** SHA-256 of bytes, in hexadecimal. */
export async function sha256(bytes: BufferSource): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/**
 * A file that appears under its name only when it is complete. Bytes go to a temporary file in the
 * same folder; `commit()` flushes it to the disk and renames it over `path`. Whatever was at `path`
 * before stays untouched until then, and for good if the process dies or the writer throws.
 *
 * @example
 * ```ts ignore
 * await using file = await AtomicFile.create("model.safetensors");
 * await file.writeAt(0, bytes);
 * await file.commit();
 * ```
 */
export class AtomicFile implements ByteSink, AsyncDisposable {
  readonly name: string;
  readonly #temporary: string;
  #file: OpenFile | undefined;

  private constructor(path: string, temporary: string, file: OpenFile) {
    this.name = path;
    this.#temporary = temporary;
    this.#file = file;
  }

  /** Opens the temporary file beside `path`. */
  // deno-lint-ignore require-await -- a throw must become a rejection
  static async create(path: string): Promise<AtomicFile> {
    const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
    const file = fileSystem(path).open(temporary, "create");
    return new AtomicFile(path, temporary, file);
  }

  /** Writes `bytes` from byte `offset` on. */
  // deno-lint-ignore require-await -- a throw must become a rejection
  async writeAt(offset: number, bytes: Uint8Array): Promise<void> {
    const file = this.#open();
    this.#named("write", () => {
      for (let written = 0; written < bytes.byteLength;) {
        written += file.write(offset + written, bytes.subarray(written));
      }
    });
  }

  /** Makes the file appear under its name, whole and on the disk. */
  // deno-lint-ignore require-await -- a throw must become a rejection
  async commit(): Promise<void> {
    const file = this.#open();
    this.#named("sync", () => file.sync());
    file.close();
    this.#file = undefined;
    fileSystem(this.name).rename(this.#temporary, this.name);
  }

  /** Throws away what was written, unless it was committed. */
  // deno-lint-ignore require-await -- a throw must become a rejection
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#file === undefined) return;
    this.#file.close();
    this.#file = undefined;
    fileSystem(this.name).remove(this.#temporary);
  }

  /** Lets an error name the file, as those of opening and renaming do: a full disk's does not. */
  #named(what: string, task: () => void): void {
    try {
      task();
    } catch (error) {
      if (error instanceof Error) error.message += `: ${what} '${this.name}'`;
      throw error;
    }
  }

  #open(): OpenFile {
    if (this.#file === undefined) throw new Error(`${this.name}: written to after commit`);
    return this.#file;
  }
}

/** Runs `write` on a sink that becomes the file at `path` if and only if `write` succeeds. */
export async function writeAtomically(
  path: string,
  write: (sink: ByteSink) => Promise<void>,
): Promise<void> {
  await using file = await AtomicFile.create(path);
  await write(file);
  await file.commit();
}
