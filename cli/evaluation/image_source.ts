/**
 * Images that evaluation reads in one pass, whole archives of which no memory holds: of a `.npz` with
 * `arr_0`, as sample-many writes and the ADM suite reads it, or of a folder.
 */
import { createHash } from "node:crypto";
import { FormatError, NpzFile } from "@dit/core/io";
import { ImageFolder, shown, toPixels } from "@dit/data";
import { MOST_PIXELS } from "../shared/common_flags.ts";
import { CROPS } from "../shared/defaults.ts";
import { CommandError, messageOf } from "../shared/errors.ts";
import type { ImageSize } from "../shared/sample_archive.ts";

/** Images in their order, a part at a time. */
export interface ImageBatch {
  readonly count: number;
  /** u8 [count, H, W, C] */
  readonly pixels: Uint8Array;
}

/** Where images come from. */
export interface ImageSource extends AsyncDisposable {
  /** For messages. */
  readonly name: string;
  /** How many there are; of a folder less those that turn out to be damaged. */
  readonly count: number;
  /** [H, W, C] */
  readonly size: ImageSize;
  /** The class of each; null where it is not known. */
  labels(): Promise<Int32Array | null>;
  /** What classes are called; null where it is not known. */
  readonly classNames: readonly string[] | null;
  /** SHA-256 of all that decides the pixels. */
  digest(onProgress: (done: number) => void): Promise<string>;
  /** All images, `rows` at a time. */
  batches(rows: number): AsyncGenerator<ImageBatch>;
}

/** Classes beyond this are numbers of something else: a list of all up to the largest is made. */
const MOST_CLASSES = 65536;

/** Whole numbers of a file, by their type. */
const INTEGERS = {
  i64: (bytes: ArrayBuffer) => Array.from(new BigInt64Array(bytes), Number),
  i32: (bytes: ArrayBuffer) => new Int32Array(bytes),
  u8: (bytes: ArrayBuffer) => new Uint8Array(bytes),
} as const;

/** Arrays that a message names at most. */
const NAMED = 8;

/** The arrays of an archive, for messages: names as a terminal can show them, and not all of many. */
export function arraysText(npz: NpzFile): string {
  const names = npz.keys().map((key) => shown(key.slice(0, 80)));
  const more = names.length > NAMED ? [`and ${names.length - NAMED} more`] : [];
  return [...names.slice(0, NAMED), ...more].join(", ") || "no arrays";
}

/** Images that are hashed at a time. */
const HASHED = 256;

/** The images of an archive. */
export class ArchiveImages implements ImageSource {
  readonly classNames = null;
  readonly name: string;
  readonly count: number;
  readonly size: ImageSize;
  readonly #npz: NpzFile;

  /**
   * The images of an archive that is open; it is closed with them.
   *
   * @throws {CommandError} where `arr_0` holds no images.
   */
  constructor(npz: NpzFile) {
    this.#npz = npz;
    this.name = npz.name;
    if (!npz.has("arr_0")) {
      throw new CommandError(`${npz.name}: expected images in arr_0 but found ${arraysText(npz)}`);
    }
    const { dtype, shape } = npz.info("arr_0");
    const [count = 0, height = 0, width = 0, channels = 0] = shape;
    if (dtype !== "u8" || shape.length !== 4 || (channels !== 1 && channels !== 3)) {
      throw new CommandError(
        `${npz.name}: expected images in arr_0, u8 [N, H, W, 1 or 3], but found ${dtype} ` +
          `[${shape.join(", ")}]`,
      );
    }
    if (count === 0 || height === 0 || width === 0) {
      throw new CommandError(`${npz.name}: expected images in arr_0 but found none`);
    }
    if (Math.max(height, width) > MOST_PIXELS) {
      throw new CommandError(
        `${npz.name}: expected images of at most ${MOST_PIXELS} pixels a side in arr_0 but found ` +
          `${width}x${height}`,
      );
    }
    [this.count, this.size] = [count, [height, width, channels]];
  }

  async labels(): Promise<Int32Array<ArrayBuffer> | null> {
    const npz = this.#npz;
    if (!npz.has("arr_1")) return null;
    const { dtype, shape } = npz.info("arr_1");
    const read = INTEGERS[dtype as keyof typeof INTEGERS];
    if (read === undefined || shape.length !== 1 || shape[0] !== this.count) {
      throw new CommandError(
        `${this.name}: expected a class for each of ${this.count} images in arr_1, whole numbers ` +
          `[${this.count}], but found ${dtype} [${shape.join(", ")}]`,
      );
    }
    const labels = read((await npz.read("arr_1")).data.slice().buffer);
    const wrong = labels.find((label) => label < 0 || label >= MOST_CLASSES);
    if (wrong === undefined) return Int32Array.from(labels);
    throw new CommandError(
      `${this.name}: expected classes from 0 to ${MOST_CLASSES - 1} in arr_1 but found ${wrong}`,
    );
  }

  async digest(onProgress: (done: number) => void): Promise<string> {
    const hash = createHash("sha256"); // Web Crypto would need all of it in memory
    hash.update(JSON.stringify([this.count, ...this.size]));
    let done = 0;
    for await (const { pixels, count } of this.batches(HASHED)) {
      hash.update(pixels);
      onProgress(done += count);
    }
    return hash.digest("hex");
  }

  async *batches(rows: number): AsyncGenerator<ImageBatch> {
    for await (const { shape, data } of this.#npz.batches("arr_0", rows)) {
      yield { count: shape[0]!, pixels: data };
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#npz.close();
    return Promise.resolve();
  }
}

/** The images of a folder, each cropped to a square as training crops them. */
export class FolderImages implements ImageSource {
  readonly #folder: ImageFolder;
  readonly name: string;
  readonly size: ImageSize;

  private constructor(name: string, folder: ImageFolder) {
    [this.name, this.#folder] = [name, folder];
    this.size = [folder.height, folder.width, folder.channels];
  }

  /**
   * Lists a folder.
   *
   * @param side Of the square that each image is cropped to.
   * @param onDamaged Called for each image that is left out.
   */
  static async open(
    path: string,
    side: number,
    onDamaged: (path: string, reason: string) => void,
  ): Promise<FolderImages> {
    return new FolderImages(
      path,
      // crops that training has kept are read
      await ImageFolder.open(path, {
        size: side,
        onDamaged,
        cacheBytes: 0,
        crops: { folder: CROPS },
      }),
    );
  }

  get count(): number {
    return this.#folder.size;
  }

  get classNames(): readonly string[] {
    return this.#folder.classNames;
  }

  labels(): Promise<Int32Array> {
    return Promise.resolve(this.#folder.labels);
  }

  async digest(onProgress: (done: number) => void): Promise<string> {
    const hash = createHash("sha256");
    hash.update(JSON.stringify(["crop", ...this.size, await this.#folder.namesDigest()]));
    for (const [i, path] of this.#folder.paths.entries()) {
      hash.update(await Deno.readFile(path).catch(() => new Uint8Array())); // left out later as well
      onProgress(i + 1);
    }
    return hash.digest("hex");
  }

  async *batches(rows: number): AsyncGenerator<ImageBatch> {
    const { size: total, height, width, channels } = this.#folder;
    for (let first = 0; first < total; first += rows) {
      const length = Math.min(rows, total - first);
      const indices = Array.from({ length }, (_, i) => first + i);
      const { images, shape } = await this.#folder.readSound(indices);
      yield { count: shape[0]!, pixels: toPixels(images, { channels, height, width }) };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder.close();
  }
}

/**
 * Opens an archive, whatever it holds.
 *
 * @throws {CommandError} where there is none, or it is damaged.
 */
export async function openArchive(path: string): Promise<NpzFile> {
  try {
    return await NpzFile.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new CommandError(
        `${path}: expected an archive of images (.npz) but there is no such file`,
      );
    }
    if (error instanceof FormatError || error instanceof Deno.errors.IsADirectory) {
      throw new CommandError(
        `${path}: expected an archive of images (.npz), as sample-many writes it: ${
          messageOf(error)
        }`,
        { cause: error },
      );
    }
    throw error;
  }
}
