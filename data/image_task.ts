/** One image file, from the disk to a square of pixels: what a worker does for each of them. */
import { centerCrop } from "./crop.ts";
import { decodeImage } from "./decode.ts";
import { DamagedImageError, messageOf } from "./errors.ts";

/** What is asked for. */
export interface ImageTask {
  /** Where the file is. */
  readonly path: string;
  /** Side of the square in pixels. */
  readonly size: number;
}

/** What comes of it. */
export interface LoadedImage {
  /** `[size, size, 3]` */
  readonly pixels: Uint8Array<ArrayBuffer>;
  /** Whether the image was smaller than that. */
  readonly enlarged: boolean;
}

/**
 * Reads, decodes and crops an image file.
 *
 * @throws {DamagedImageError} If the file may not be read, is no image, or a damaged one.
 */
export async function loadImage({ path, size }: ImageTask): Promise<LoadedImage> {
  const image = await decodeImage(await readImage(path));
  const enlarged = Math.min(image.width, image.height) < size;
  return { pixels: centerCrop(image, size).pixels, enlarged };
}

/** Bytes of a file. What is wrong with this one file alone is damage; a disk that is gone is not. */
async function readImage(path: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    const { NotFound, PermissionDenied, FilesystemLoop } = Deno.errors;
    if (error instanceof NotFound && path.includes("\ufffd")) { // what stands for other bytes
      throw new DamagedImageError("its name is no UTF-8, without which it cannot be opened");
    }
    const alone = error instanceof PermissionDenied || error instanceof FilesystemLoop ||
      error instanceof NotFound && await isLink(path);
    throw alone ? new DamagedImageError(messageOf(error), { cause: error }) : error;
  }
}

async function isLink(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(({ isSymlink }) => isSymlink, () => false);
}
