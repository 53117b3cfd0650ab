/** Which images a folder has, and which class each belongs to: names and links, no pixels. */
import { basename, join } from "@std/path";
import { DataError } from "./errors.ts";

const IMAGE_FILE = /\.(jpe?g|png|webp|gif)$/i;
/** For messages. */
const KINDS = "jpg, png, webp, gif";

/** What is in a folder of images. */
export interface ImageListing {
  /** Images, class by class. */
  readonly paths: string[];
  /** `[paths.length]`: the class of each. */
  readonly labels: Int32Array<ArrayBuffer>;
  /** By index. */
  readonly classNames: string[];
  /** How many files are no images by their names. */
  readonly ignored: number;
}

/**
 * Lists a folder with a subfolder of images a class, or of images that are one class.
 *
 * @throws {DataError} If there is no such folder, no image in it or in one of its classes, images lie
 * beside the classes, or a link leads back to where it lies.
 */
export async function listImages(folder: string): Promise<ImageListing> {
  const top = await entries(folder, []).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new DataError(`${folder}: expected a folder of images but found nothing there`);
  });
  if (top.folders.length === 0) {
    if (top.images.length === 0) {
      throw new DataError(
        `${folder}: expected images (${KINDS}), or a folder of them for each class, ` +
          "but found neither",
      );
    }
    const paths = top.images.map((name) => join(folder, name));
    const labels = new Int32Array(paths.length);
    return { paths, labels, classNames: [basename(folder)], ignored: top.others };
  }
  if (top.images.length > 0) {
    throw new DataError(
      `${folder}: expected either images or a folder for each class but found both: ` +
        `${top.images[0]} beside ${top.folders[0]}/`,
    );
  }
  const classes: Below[] = [];
  for (const name of top.folders) classes.push(await imagesBelow(join(folder, name), [folder]));
  const empty = top.folders.filter((_, i) => classes[i]!.paths.length === 0);
  if (empty.length > 0) {
    throw new DataError(
      `${folder}: expected images (${KINDS}) in every class but found none in ${empty.join(", ")}`,
    );
  }
  return {
    paths: classes.flatMap(({ paths }) => paths),
    labels: Int32Array.from(classes.flatMap(({ paths }, label) => paths.map(() => label))),
    classNames: top.folders,
    ignored: classes.reduce((sum, { others }) => sum + others, top.others),
  };
}

/**
 * Compares by code point, as Python's `sorted` does, and with it torchvision's `ImageFolder`.
 * JavaScript's own order is that of UTF-16 code units, in which emoji (two surrogates, 0xd800 to
 * 0xdfff) come before U+E000 to U+FFFF rather than after.
 */
export function byCodePoint(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return isSurrogate(x) === isSurrogate(y) ? x - y : beyond(x) - beyond(y);
  }
  return a.length - b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

/** A code unit in the order of code points: surrogates stand for 0x10000 and above. */
function beyond(unit: number): number {
  return isSurrogate(unit) ? 0x10000 : unit;
}

interface Entries {
  readonly folders: string[];
  readonly images: string[];
  /** Count of files that are no images. */
  others: number;
}

/**
 * Folders and image files in a folder, by name; hidden ones are not meant.
 *
 * @param around The folders that this one lies in, as they were reached.
 */
async function entries(folder: string, around: readonly string[]): Promise<Entries> {
  const found: Entries = { folders: [], images: [], others: 0 };
  for await (const entry of Deno.readDir(folder)) {
    if (entry.name.startsWith(".")) continue;
    const { isFile, isDirectory } = entry.isSymlink
      ? await follow(join(folder, entry.name), [...around, folder])
      : entry;
    if (isDirectory) found.folders.push(entry.name);
    else if (isFile && IMAGE_FILE.test(entry.name)) found.images.push(entry.name);
    else found.others++;
  }
  found.folders.sort(byCodePoint);
  found.images.sort(byCodePoint);
  return found;
}

/** What a link leads to. One that leads nowhere is a file, and damaged if it is an image's. */
async function follow(
  link: string,
  around: readonly string[],
): Promise<{ isFile: boolean; isDirectory: boolean }> {
  try {
    const { isFile, isDirectory } = await Deno.stat(link);
    if (isDirectory) await refuseLoop(link, around);
    return { isFile, isDirectory };
  } catch (error) {
    const { NotFound, FilesystemLoop } = Deno.errors;
    if (!(error instanceof NotFound || error instanceof FilesystemLoop)) throw error;
    return { isFile: true, isDirectory: false };
  }
}

async function refuseLoop(link: string, around: readonly string[]): Promise<void> {
  const target = await Deno.realPath(link);
  for (const folder of around) {
    if (await Deno.realPath(folder) !== target) continue;
    throw new DataError(
      `${link}: expected images but it is a link back to ${folder}, which has no end; remove it`,
    );
  }
}

interface Below {
  readonly paths: string[];
  /** Count of files that are no images. */
  readonly others: number;
}

/** Every image below a folder. */
async function imagesBelow(folder: string, around: readonly string[]): Promise<Below> {
  const { folders, images, others } = await entries(folder, around);
  const deeper: Below[] = [];
  for (const name of folders) {
    deeper.push(await imagesBelow(join(folder, name), [...around, folder]));
  }
  return {
    paths: [
      ...images.map((name) => join(folder, name)),
      ...deeper.flatMap(({ paths }) => paths),
    ],
    others: deeper.reduce((sum, below) => sum + below.others, others),
  };
}
