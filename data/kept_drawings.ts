/**
 * Images that were drawn, kept on the disk beside crops: a file a set and a size,
 *
 *     SHA-256 of the key and of what follows (32 bytes) | pixels, u8 [N, size, size, 3]
 *
 * The key says what they were drawn from and by. A file whose digest does not fit, because it was
 * left half written, damaged, or drawn from other packages, is no different from none.
 */
import { writeAtomically } from "@dit/core/io";
import { join } from "@std/path";
import { CROPS_ENDING, type CropStoreOptions, removeOldest } from "./crop_store.ts";
import { messageOf } from "./errors.ts";

/** Bytes of a digest. */
const DIGEST = 32;

/** Where drawings are kept. */
export class KeptDrawings {
  readonly #path: string;
  readonly #key: Uint8Array<ArrayBuffer>;
  readonly #options: CropStoreOptions;

  private constructor(path: string, key: Uint8Array<ArrayBuffer>, options: CropStoreOptions) {
    [this.#path, this.#key, this.#options] = [path, key, options];
  }

  /**
   * The drawings of a set. Nothing is opened yet.
   *
   * @param name Of the set, and of its file.
   * @param key All that decides the pixels; plain.
   */
  static async of(name: string, key: unknown, options: CropStoreOptions): Promise<KeptDrawings> {
    const bytes = new TextEncoder().encode(JSON.stringify(key));
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const file = `${name}-${digest.toHex().slice(0, 16)}${CROPS_ENDING}`;
    return new KeptDrawings(join(options.folder, file), bytes, options);
  }

  /** Their pixels; undefined where they are not there, whole and as they should be. */
  async read(length: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    let file: Uint8Array<ArrayBuffer>;
    try {
      file = await Deno.readFile(this.#path);
    } catch { // whatever it is, they can be drawn
      return undefined;
    }
    if (file.length !== DIGEST + length) return undefined;
    const pixels = file.subarray(DIGEST);
    const digest = await this.#digest(pixels);
    return digest.every((byte, i) => byte === file[i]) ? pixels : undefined;
  }

  /** Keeps them, where they may be written and there is room; a failure is reported. */
  async write(pixels: Uint8Array<ArrayBuffer>): Promise<void> {
    const { folder, mostBytes = 0, onFailure } = this.#options;
    if (DIGEST + pixels.length > mostBytes) return;
    try {
      await Deno.mkdir(folder, { recursive: true });
      await removeOldest(folder, this.#path, mostBytes - DIGEST - pixels.length);
      const digest = await this.#digest(pixels);
      await writeAtomically(this.#path, async (sink) => {
        await sink.writeAt(0, digest);
        await sink.writeAt(DIGEST, pixels);
      });
    } catch (error) {
      onFailure?.(messageOf(error));
    }
  }

  async #digest(pixels: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const both = new Uint8Array(this.#key.length + pixels.length);
    both.set(this.#key);
    both.set(pixels, this.#key.length);
    return new Uint8Array(await crypto.subtle.digest("SHA-256", both));
  }
}
