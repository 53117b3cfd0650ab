import { sha256 } from "@dit/core/io";
import { relative } from "@std/path";
import {
  checkRead,
  type Dataset,
  type Examples,
  normalizeInto,
  type ReadOptions,
} from "./dataset.ts";
import { CropStore, type CropStoreOptions } from "./crop_store.ts";
import { DamagedImageError, DataError, messageOf } from "./errors.ts";
import { shown } from "./folder.ts";
import { type ImageListing, listImages } from "./image_listing.ts";
import { ImagePool } from "./image_pool.ts";
import type { LoadedImage } from "./image_task.ts";

/** How the images of a folder are read. */
export interface ImageFolderOptions {
  /** Side of the square that each image is cropped to, in pixels. */
  readonly size: number;
  /** Threads that decode and crop; 2 by default, 0 for the calling thread itself. */
  readonly workers?: number;
  /** Whether a damaged image is an error rather than left out; false by default. */
  readonly strict?: boolean;
  /** Called once for each damaged image, with its path and what is wrong with it. */
  readonly onDamaged?: (path: string, reason: string) => void;
  /** Cropped images are kept in memory up to this many bytes; 512 MiB by default. */
  readonly cacheBytes?: number;
  /** Cropped images are kept on the disk as well, for later epochs and processes; not by default. */
  readonly crops?: CropStoreOptions;
}

/**
 * A folder of JPEG, PNG, WebP or GIF files as colour images in [-1, 1], one class a subfolder. Each
 * is cropped as the original crops ({@linkcode centerCrop}); smaller ones are enlarged. A folder
 * without subfolders is one class, which leaves nothing to condition on.
 *
 * Classes are numbered from 0 in the order of their folders' names by code point, as Python's
 * `sorted` and torchvision's `ImageFolder` number them (which counts hidden folders too; here they
 * are left alone). Other programs order names otherwise, and give other numbers:
 * - by code point "Zebra" comes before "ant", and "ant" before "äpfel"; the order of a language
 *   (`ls` and databases, as a rule) does not tell upper case from lower and puts "äpfel" by "apple";
 *   so do the file managers of Windows and macOS;
 * - "class10" comes before "class2"; file managers, and programs that sort "naturally", count 2, 10;
 * - ImageNet's folders are synsets (n01440764, ...), whose order is that of the 1,000 usual numbers;
 *   folders with ImageNet's names in words ("goldfish") get others;
 * - names are not normalized: "é" of one code point and "é" of two are two classes.
 *
 * Files with other endings are counted and not read; hidden ones are not looked at. Links are
 * followed; one that leads back to a folder it lies in is an error. An image that is cut short,
 * changed or no image, may not be read or has gone since the folder was opened, or a link that leads
 * nowhere, is damaged: it is left out, reported and counted, or with `strict` an error.
 *
 * Cropped images are kept in memory and, with `crops`, on the disk, where they are taken from again
 * as long as their files have not changed; the numbers are the same.
 *
 * It needs `--allow-read --allow-env --allow-ffi`, and `--allow-write` of a folder that crops are
 * written to.
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
  /** How many files of the folder are no images by their names, and not read. */
  readonly ignored: number;
  /** The crops that are kept on the disk; null where none are. */
  readonly crops: CropStore | null;
  readonly #folder: string;
  readonly #strict: boolean;
  readonly #onDamaged: (path: string, reason: string) => void;
  readonly #pool: ImagePool;
  readonly #damaged = new Map<string, string>();
  readonly #enlarged = new Set<number>();
  readonly #cache = new Map<number, Uint8Array>();
  #cacheLeft: number;

  private constructor(
    folder: string,
    listing: ImageListing,
    crops: CropStore | null,
    options: ImageFolderOptions,
  ) {
    this.#folder = folder;
    const { size, workers = 2, strict = false, onDamaged, cacheBytes = 2 ** 29 } = options;
    this.paths = listing.paths;
    this.labels = listing.labels;
    this.classNames = listing.classNames;
    this.ignored = listing.ignored;
    this.size = listing.paths.length;
    this.height = this.width = size;
    this.crops = crops;
    this.#strict = strict;
    this.#onDamaged = onDamaged ?? (() => {});
    this.#pool = new ImagePool(workers);
    this.#cacheLeft = cacheBytes;
  }

  /**
   * Lists a folder. No image is opened yet.
   *
   * @throws {DataError} If there is no such folder, no image in it or in one of its classes, images
   * lie beside the classes, or a link leads back to where it lies.
   */
  static async open(folder: string, options: ImageFolderOptions): Promise<ImageFolder> {
    const { size, crops } = options;
    if (!Number.isInteger(size) || size < 1) {
      throw new RangeError(`ImageFolder: expected a size of 1 pixel or more but got ${size}`);
    }
    const listing = await listImages(folder);
    const store = crops ? await CropStore.open(folder, listing.paths, size, crops) : null;
    return new ImageFolder(folder, listing, store, options);
  }

  /** Images found damaged so far, and what is wrong with them. */
  get damaged(): ReadonlyMap<string, string> {
    return this.#damaged;
  }

  /** Which images read so far were smaller than the size, and enlarged. */
  get enlarged(): ReadonlySet<number> {
    return this.#enlarged;
  }

  /**
   * Reads images. In place of one that is damaged stands the next that is not.
   *
   * @throws {DataError} If an image is damaged and the folder is strict, if all of them are, or if
   * the folder is gone.
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
   * @throws {DataError} If an image is damaged and the folder is strict, or if the folder is gone.
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

  /** SHA-256 of the files' names below the folder, in their order, with `/` on every system. */
  async namesDigest(): Promise<string> {
    const names = this.paths.map((path) => relative(this.#folder, path).replaceAll("\\", "/"));
    return await sha256(new TextEncoder().encode(names.join("\n")));
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
    const labels = Int32Array.from(sound, ({ index }) => this.labels[index]!);
    return { images, shape: [sound.length, 3, this.height, this.width], labels };
  }

  async #nextSound(index: number): Promise<Sound> {
    for (let tried = 0; tried < this.size; tried++) {
      const sound = await this.#sound((index + tried) % this.size);
      if (sound !== undefined) return sound;
    }
    const [first] = this.#damaged;
    throw new DataError(`all ${this.size} images are damaged, such as ${first?.join(": ")}`);
  }

  /** Fails where not one image but the whole folder is missing, as an unmounted disk's. */
  async #requireFolder(): Promise<void> {
    try {
      await Deno.stat(this.#folder);
    } catch (error) {
      throw new DataError(
        `${this.#folder}: expected the folder of images but it has gone ` +
          `(${messageOf(error)})`,
        { cause: error },
      );
    }
  }

  async #sound(index: number): Promise<Sound | undefined> {
    const path = this.paths[index]!;
    if (this.#damaged.has(path)) return undefined;
    const cached = this.#cache.get(index);
    if (cached !== undefined) return { index, pixels: cached };
    let loaded: LoadedImage;
    try {
      loaded = await this.#pool.load({ path, size: this.height, crop: this.crops?.placeOf(index) });
    } catch (error) {
      if (!(error instanceof DamagedImageError)) throw error;
      const reason = error.message;
      if (this.#strict) throw new DataError(`${shown(path)}: damaged image: ${reason}`);
      await this.#requireFolder();
      if (!this.#damaged.has(path)) this.#onDamaged(path, reason);
      this.#damaged.set(path, reason);
      return undefined;
    }
    const { pixels, enlarged, notKept } = loaded;
    if (notKept !== undefined) await this.crops!.fail(notKept);
    if (enlarged) this.#enlarged.add(index);
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
