import { basename, join } from "@std/path";
import {
  checkRead,
  type Dataset,
  type Examples,
  normalizeInto,
  type ReadOptions,
} from "./dataset.ts";
import { DamagedImageError, DataError } from "./errors.ts";
import { ImagePool } from "./image_pool.ts";

const IMAGE_FILE = /\.(jpe?g|png|webp|gif)$/i;

/** How the images of a folder are read. */
export interface ImageFolderOptions {
  /** Side of the square that each image is cropped to, in pixels. */
  readonly size: number;
  /** Threads that decode and crop; 2 by default, 0 for the calling thread itself. */
  readonly workers?: number;
  /** Whether a damaged image is an error rather than left out; false by default. */
  readonly strict?: boolean;
  /** Told of each damaged image once: its path, and what is wrong with it. */
  readonly onDamaged?: (path: string, reason: string) => void;
  /** Cropped images are kept in memory up to this many bytes; 512 MiB by default. */
  readonly cacheBytes?: number;
}

interface Listing {
  readonly paths: string[];
  readonly labels: Int32Array<ArrayBuffer>;
  readonly classNames: string[];
}

/**
 * A folder of JPEG, PNG, WebP or GIF files as colour images in [-1, 1], one class a subfolder, in
 * the order of the subfolders' names (torchvision's `ImageFolder` numbers them the same). Each is
 * cropped as the original crops ({@linkcode centerCrop}); smaller ones are enlarged. A folder
 * without subfolders is one class, which leaves nothing to condition on.
 *
 * It needs `--allow-read --allow-env --allow-ffi`.
 *
 * @example
 * ```ts ignore
 * await using images = await ImageFolder.open("photos", { size: 64 });
 * console.log(images.size, images.classNames);
 * ```
 */
export class ImageFolder implements Dataset, AsyncDisposable {
  readonly size: number;
  readonly channels = 3;
  readonly flippable = true;
  readonly height: number;
  readonly width: number;
  readonly classNames: readonly string[];
  readonly labels: Int32Array<ArrayBuffer>;
  /** The file of each image. */
  readonly paths: readonly string[];
  readonly #strict: boolean;
  readonly #onDamaged: (path: string, reason: string) => void;
  readonly #pool: ImagePool;
  readonly #damaged = new Map<string, string>();
  readonly #cache = new Map<number, Uint8Array>();
  #cacheLeft: number;

  private constructor(listing: Listing, options: ImageFolderOptions) {
    const { size, workers = 2, strict = false, onDamaged, cacheBytes = 2 ** 29 } = options;
    this.paths = listing.paths;
    this.labels = listing.labels;
    this.classNames = listing.classNames;
    this.size = listing.paths.length;
    this.height = this.width = size;
    this.#strict = strict;
    this.#onDamaged = onDamaged ?? (() => {});
    this.#pool = new ImagePool(workers);
    this.#cacheLeft = cacheBytes;
  }

  /**
   * Lists a folder. No image is opened yet.
   *
   * @throws {DataError} If there is no such folder, no image in it or in one of its classes, or
   * images lie beside the classes.
   */
  static async open(folder: string, options: ImageFolderOptions): Promise<ImageFolder> {
    const { size } = options;
    if (!Number.isInteger(size) || size < 1) {
      throw new RangeError(`ImageFolder: expected a size of 1 pixel or more but got ${size}`);
    }
    return new ImageFolder(await list(folder), options);
  }

  /** Images found damaged so far, and what is wrong with them. */
  get damaged(): ReadonlyMap<string, string> {
    return this.#damaged;
  }

  /**
   * Reads images. In place of one that is damaged stands the next that is not.
   *
   * @throws {DataError} If an image is damaged and the folder is strict, or if all of them are.
   */
  async read(indices: readonly number[], options: ReadOptions = {}): Promise<Examples> {
    checkRead(this, indices, options);
    const sound = await Promise.all(indices.map((index) => this.#nextSound(index)));
    return this.#examples(sound, options);
  }

  /**
   * Reads images and leaves out those that are damaged: for passing over each image once.
   *
   * @returns Those that are sound, and their indices.
   * @throws {DataError} If an image is damaged and the folder is strict.
   */
  async readSound(
    indices: readonly number[],
    options: ReadOptions = {},
  ): Promise<Examples & { readonly indices: number[] }> {
    checkRead(this, indices, options);
    const all = await Promise.all(indices.map((index) => this.#sound(index)));
    const kept = all.flatMap((image, i) => image === undefined ? [] : [{ image, i }]);
    const flips = kept.map(({ i }) => options.flips?.[i] ?? false);
    const sound = kept.map(({ image }) => image);
    const examples = this.#examples(sound, { flips });
    return { ...examples, indices: sound.map(({ index }) => index) };
  }

  /** Ends the threads. */
  close(): Promise<void> {
    return this.#pool.close();
  }

  /** Ends the threads, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #examples(sound: readonly Sound[], { flips }: ReadOptions): Examples {
    const length = 3 * this.height * this.width;
    const images = new Float32Array(sound.length * length);
    sound.forEach(({ pixels }, i) => {
      normalizeInto(images.subarray(i * length, (i + 1) * length), pixels, this, flips?.[i]);
    });
    return { images, labels: Int32Array.from(sound, ({ index }) => this.labels[index]!) };
  }

  async #nextSound(index: number): Promise<Sound> {
    for (let tried = 0; tried < this.size; tried++) {
      const sound = await this.#sound((index + tried) % this.size);
      if (sound !== undefined) return sound;
    }
    const [first] = this.#damaged;
    throw new DataError(`all ${this.size} images are damaged, such as ${first?.join(": ")}`);
  }

  async #sound(index: number): Promise<Sound | undefined> {
    const path = this.paths[index]!;
    if (this.#damaged.has(path)) return undefined;
    const cached = this.#cache.get(index);
    if (cached !== undefined) return { index, pixels: cached };
    let pixels: Uint8Array;
    try {
      pixels = await this.#pool.load({ path, size: this.height });
    } catch (error) {
      if (!(error instanceof DamagedImageError)) throw error;
      const reason = error.message;
      if (this.#strict) throw new DataError(`${path}: damaged image: ${reason}`);
      if (!this.#damaged.has(path)) this.#onDamaged(path, reason);
      this.#damaged.set(path, reason);
      return undefined;
    }
    if (pixels.length <= this.#cacheLeft && !this.#cache.has(index)) {
      this.#cacheLeft -= pixels.length;
      this.#cache.set(index, pixels);
    }
    return { index, pixels };
  }
}

/** An image that could be read. */
interface Sound {
  readonly index: number;
  /** `[size, size, 3]` */
  readonly pixels: Uint8Array;
}

interface Entries {
  readonly folders: string[];
  readonly images: string[];
}

/** Folders and image files in a folder, by name; hidden ones are not meant. */
async function entries(folder: string): Promise<Entries> {
  const found: Entries = { folders: [], images: [] };
  for await (const entry of Deno.readDir(folder)) {
    if (entry.name.startsWith(".")) continue;
    const { isFile, isDirectory } = entry.isSymlink
      ? await Deno.stat(join(folder, entry.name))
      : entry;
    if (isDirectory) found.folders.push(entry.name);
    else if (isFile && IMAGE_FILE.test(entry.name)) found.images.push(entry.name);
  }
  found.folders.sort();
  found.images.sort();
  return found;
}

/** Every image below a folder. */
async function imagesBelow(folder: string): Promise<string[]> {
  const { folders, images } = await entries(folder);
  const deeper = await Promise.all(folders.map((name) => imagesBelow(join(folder, name))));
  return [...images.map((name) => join(folder, name)), ...deeper.flat()];
}

async function list(folder: string): Promise<Listing> {
  const top = await entries(folder).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new DataError(`${folder}: expected a folder of images but found nothing there`);
  });
  if (top.folders.length === 0) {
    if (top.images.length === 0) {
      throw new DataError(
        `${folder}: expected images (jpg, png, webp, gif), or a folder of them for each class, ` +
          "but found neither",
      );
    }
    const paths = top.images.map((name) => join(folder, name));
    return { paths, labels: new Int32Array(paths.length), classNames: [basename(folder)] };
  }
  if (top.images.length > 0) {
    throw new DataError(
      `${folder}: expected either images or a folder for each class but found both: ` +
        `${top.images[0]} beside ${top.folders[0]}/`,
    );
  }
  const classes: string[][] = [];
  for (const name of top.folders) classes.push(await imagesBelow(join(folder, name)));
  const empty = top.folders.filter((_, i) => classes[i]!.length === 0);
  if (empty.length > 0) {
    throw new DataError(
      `${folder}: expected images (jpg, png, webp, gif) in every class but found none in ` +
        empty.join(", "),
    );
  }
  return {
    paths: classes.flat(),
    labels: Int32Array.from(classes.flatMap((paths, label) => paths.map(() => label))),
    classNames: top.folders,
  };
}
