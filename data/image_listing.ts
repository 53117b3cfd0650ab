/** Which images a folder has, and which class each belongs to: names and links, no pixels. */
import { basename, join } from "@std/path";
import { DataError } from "./errors.ts";
import { byCodePoint, listFolder } from "./folder.ts";

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
  const top = await entries(folder, []);
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

interface Entries {
  readonly folders: string[];
  readonly images: string[];
  /** Count of files that are no images. */
  readonly others: number;
}

/** Folders and image files in a folder, by name. */
async function entries(folder: string, around: readonly string[]): Promise<Entries> {
  const { folders, files } = await listFolder(folder, { expected: "a folder of images", around });
  const images = files.filter((name) => IMAGE_FILE.test(name)).sort(byCodePoint);
  return { folders: folders.sort(byCodePoint), images, others: files.length - images.length };
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
