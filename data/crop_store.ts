/**
 * Crops of a folder's images on the disk: for later epochs where they do not fit into memory, and for
 * the processes after this one.
 *
 * A folder and a size have one file of equal records, one a place, so that reading is one read where
 * a record begins. A record is
 *
 *     SHA-256 of what follows and of the key (32 bytes) | 1 if enlarged | pixels, u8 [size, size, 3]
 *
 * The key says what the crop is of: the image's name below the folder, its file's size and times, and
 * the decoder. A record fits its digest or the image is decoded: one that a killed process left half
 * written, that a disk has damaged, that is of another image or of a file that has changed is no
 * different from one that was never written. So nothing is locked either. Processes that share a file
 * write the same bytes to the same place, and what they might mix up fits no digest.
 *
 * A list beside the file says which image has which place. Images that are new get new places, so
 * that the others keep theirs. It is only a hint: with a wrong one, images are decoded anew.
 */
import { basename, join, relative } from "@std/path";
import { DECODER } from "./decode.ts";
import { messageOf } from "./errors.ts";

/** How crops are kept. */
export interface CropStoreOptions {
  /** Where, whatever folder they are of; it should not lie in one of images. */
  readonly folder: string;
  /**
   * Most bytes that all files there may have together; the least recently used go first. Without it
   * crops that are there are read, and nothing is written.
   */
  readonly mostBytes?: number;
  /** Nothing is kept of images that have fewer bytes than this together; 16 MiB by default. */
  readonly leastSourceBytes?: number;
  /** Called once, with the reason, where crops could not be written: the disk may be full. */
  readonly onFailure?: (reason: string) => void;
}

/** Where the crop of an image is kept: plain, for threads to be told. */
export interface CropPlace {
  /** The file of records. */
  readonly file: string;
  /** Which record of it. */
  readonly place: number;
  /** The image's name below its folder. */
  readonly name: string;
  /** Whether a crop that is missing is written. */
  readonly isWritten: boolean;
}

/** Below this, decoding all images takes seconds: a disk has better uses than to save them. */
const LEAST_SOURCE_BYTES = 2 ** 24;
/** Images whose files are looked at, to know about how many bytes all of them have. */
const SAMPLED = 256;
/** How files of records end; other files in their folder are left alone. */
export const CROPS_ENDING = ".crops";
const NAMES = ".names.json";

/** The crops of one folder at one size. */
export class CropStore {
  /** The file of records. */
  readonly file: string;
  /** How many of the folder's images have a place. */
  readonly count: number;
  /** Bytes of the file with all of them, at most. */
  readonly bytes: number;
  readonly #names: readonly string[];
  readonly #places: ReadonlyMap<string, number>;
  readonly #onFailure: (reason: string) => void;
  #isWritten: boolean;

  private constructor(
    file: string,
    size: number,
    { names, list, options }: {
      /** Of the images, in their order. */
      readonly names: readonly string[];
      /** By place. */
      readonly list: readonly string[];
      readonly options: CropStoreOptions;
    },
  ) {
    this.file = file;
    this.bytes = list.length * recordBytes(size);
    this.#names = names;
    this.#places = new Map(list.map((name, place) => [name, place]));
    this.count = names.filter((name) => this.#places.has(name)).length;
    this.#isWritten = options.mostBytes !== undefined;
    this.#onFailure = options.onFailure ?? (() => {});
  }

  /**
   * Opens the crops of a folder, and makes room for them where they are written.
   *
   * @param folder Of the images.
   * @param paths The images in it.
   * @param size Side of the crops in pixels.
   * @returns null where nothing is kept: there are too few bytes to decode, no room, no crops that
   * could be read only, or writing fails, which is reported.
   */
  static async open(
    folder: string,
    paths: readonly string[],
    size: number,
    options: CropStoreOptions,
  ): Promise<CropStore | null> {
    const { mostBytes, leastSourceBytes = LEAST_SOURCE_BYTES, onFailure } = options;
    const names = paths.map((path) => relative(folder, path));
    const base = join(options.folder, await nameOf(folder, size));
    const file = base + CROPS_ENDING;
    const known = await readList(base + NAMES);
    if (mostBytes === undefined) {
      const isThere = await Deno.stat(file).then(({ isFile }) => isFile, () => false);
      return isThere
        ? new CropStore(file, size, { names, list: extend(known, names), options })
        : null;
    }
    const room = Math.floor(mostBytes / recordBytes(size));
    if (room === 0 || await sourceBytes(paths) < leastSourceBytes) return null;
    const list = extend(known, names).slice(0, room);
    const store = new CropStore(file, size, { names, list, options });
    try {
      await Deno.mkdir(options.folder, { recursive: true });
      await removeOldest(options.folder, file, mostBytes - store.bytes);
      await touch(file, store.bytes);
      if (list.some((name, place) => name !== known[place])) {
        await Deno.writeTextFile(base + NAMES, JSON.stringify(list));
      }
      return store;
    } catch (error) {
      onFailure?.(messageOf(error));
      return null;
    }
  }

  /** Where the crop of an image is kept; undefined where it is not. */
  placeOf(index: number): CropPlace | undefined {
    const name = this.#names[index]!;
    const place = this.#places.get(name);
    return place === undefined
      ? undefined
      : { file: this.file, place, name, isWritten: this.#isWritten };
  }

  /** Ends writing, with the first reason for it, and leaves the disk to what needs it more. */
  async fail(reason: string): Promise<void> {
    if (!this.#isWritten) return;
    this.#isWritten = false;
    this.#onFailure(reason);
    await Deno.remove(this.file).catch(() => {}); // where nothing can be written, nothing can be removed
  }
}

/** What a record holds. */
export interface Crop {
  /** `[size, size, 3]` */
  readonly pixels: Uint8Array<ArrayBuffer>;
  /** Whether the image was smaller than that. */
  readonly enlarged: boolean;
}

/** The record of an image, for the thread that loads it. */
export class CropRecord {
  readonly #place: CropPlace;
  readonly #bytes: number;
  readonly #key: Uint8Array;

  private constructor(place: CropPlace, bytes: number, key: Uint8Array) {
    [this.#place, this.#bytes, this.#key] = [place, bytes, key];
  }

  /**
   * The record of an image as its file is now.
   *
   * @param path The image's file.
   * @param size Side of the crop in pixels.
   * @returns undefined where nothing can be known of the file.
   */
  static of(path: string, size: number, place: CropPlace): CropRecord | undefined {
    let found: Deno.FileInfo;
    try {
      found = Deno.statSync(path);
    } catch { // reading the image says what is wrong with it
      return undefined;
    }
    const times = [found.mtime, found.ctime].map((time) => time?.getTime() ?? null);
    const key = JSON.stringify([VERSION, DECODER, place.name, size, found.size, ...times]);
    return new CropRecord(place, recordBytes(size), new TextEncoder().encode(key));
  }

  /** The crop; undefined where there is none of this image as it is now. */
  async read(): Promise<Crop | undefined> {
    const record = this.#buffer();
    try {
      using file = Deno.openSync(this.#place.file);
      file.seekSync(this.#place.place * this.#bytes, Deno.SeekMode.Start);
      for (let at = 0; at < this.#bytes;) {
        const count = file.readSync(record.subarray(at, this.#bytes));
        if (count === null) return undefined;
        at += count;
      }
    } catch { // whatever it is, the image is still there
      return undefined;
    }
    const digest = await this.#digest(record);
    if (!digest.every((byte, i) => byte === record[i])) return undefined;
    return { pixels: record.slice(DIGEST + 1, this.#bytes), enlarged: record[DIGEST] === 1 };
  }

  /**
   * Writes the crop.
   *
   * @returns Why that failed; undefined where it did not, or the file has made room for others.
   */
  async write({ pixels, enlarged }: Crop): Promise<string | undefined> {
    const record = this.#buffer();
    record[DIGEST] = enlarged ? 1 : 0;
    record.set(pixels, DIGEST + 1);
    record.set(await this.#digest(record));
    try {
      using file = Deno.openSync(this.#place.file, { write: true });
      file.seekSync(this.#place.place * this.#bytes, Deno.SeekMode.Start);
      for (let at = 0; at < this.#bytes;) {
        at += file.writeSync(record.subarray(at, this.#bytes));
      }
    } catch (error) {
      return error instanceof Deno.errors.NotFound ? undefined : messageOf(error);
    }
  }

  /** A record and, behind it, what is digested with it. */
  #buffer(): Uint8Array<ArrayBuffer> {
    const record = new Uint8Array(this.#bytes + this.#key.length);
    record.set(this.#key, this.#bytes);
    return record;
  }

  async #digest(record: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    return new Uint8Array(await crypto.subtle.digest("SHA-256", record.subarray(DIGEST)));
  }
}

/** Another one is due with every change of what `crop.ts` and `decode.ts` make of a file. */
const VERSION = 1;
/** Bytes of a digest. */
const DIGEST = 32;

function recordBytes(size: number): number {
  return DIGEST + 1 + 3 * size * size;
}

/** What the files of a folder and a size are called: the same however the folder is reached. */
async function nameOf(folder: string, size: number): Promise<string> {
  const path = await Deno.realPath(folder);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(path));
  const start = basename(path).replace(/[^A-Za-z0-9]+/g, "_").slice(0, 32); // fit for every system
  return `${start}-${size}-${new Uint8Array(digest).toHex().slice(0, 16)}`;
}

/** The names by place; none where there is no list, or another process is writing it. */
async function readList(path: string): Promise<string[]> {
  try {
    const list = JSON.parse(await Deno.readTextFile(path));
    return Array.isArray(list) && list.every((name) => typeof name === "string") ? list : [];
  } catch {
    return [];
  }
}

/** Adds names that are new; begins anew where most are of images that have gone. */
function extend(known: readonly string[], names: readonly string[]): readonly string[] {
  const all = [...new Set([...known, ...names])];
  return all.length > 2 * names.length ? names : all;
}

/** About how many bytes the files of images have together. */
async function sourceBytes(paths: readonly string[]): Promise<number> {
  const count = Math.min(SAMPLED, paths.length);
  const sizes = await Promise.all(Array.from({ length: count }, (_, i) => {
    const path = paths[Math.floor(i * paths.length / count)]!;
    return Deno.stat(path).then(({ size }) => size, () => 0);
  }));
  return sizes.reduce((sum, size) => sum + size, 0) / count * paths.length;
}

/** Removes crops of others, the least recently used first, until the rest have no more bytes. */
export async function removeOldest(folder: string, own: string, mostBytes: number): Promise<void> {
  const others: { readonly path: string; readonly bytes: number; readonly used: number }[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (!name.endsWith(CROPS_ENDING) || path === own) continue;
    const found = await Deno.stat(path).catch(() => null); // another process may be at it too
    if (found?.isFile) others.push({ path, bytes: found.size, used: found.mtime?.getTime() ?? 0 });
  }
  let bytes = others.reduce((sum, other) => sum + other.bytes, 0);
  for (const other of others.sort((a, b) => a.used - b.used)) {
    if (bytes <= mostBytes) return;
    await Deno.remove(other.path).catch(() => {});
    await Deno.remove(other.path.slice(0, -CROPS_ENDING.length) + NAMES).catch(() => {});
    bytes -= other.bytes;
  }
}

/** Makes a file unless it is there, cuts it to that many bytes, and notes that it is used. */
async function touch(path: string, mostBytes: number): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true });
  if ((await file.stat()).size > mostBytes) await file.truncate(mostBytes);
  // by its path: of an open file the right to write behind a symbolic link is asked for
  await Deno.utime(path, new Date(), new Date());
}
