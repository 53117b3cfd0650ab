/** One image file, from the disk to a square of pixels: what a worker does for each of them. */
import { centerCrop } from "./crop.ts";
import { decodeImage } from "./decode.ts";
import { DamagedImageError, messageOf } from "./errors.ts";
import { isUnnameable } from "./folder.ts";

/** An image to load. */
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

/** The system's codes for exhausted resources, which are no fault of the file. */
const EXHAUSTED: readonly unknown[] = ["EMFILE", "ENFILE", "ENOMEM"];

/**
 * Bytes of a file. One that has gone, may not be read, or lies on a disk that fails is damaged: a
 * run of days must not end for it.
 */
async function readImage(path: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (error instanceof Deno.errors.NotCapable || EXHAUSTED.includes(code)) throw error;
    if (await isUnnameable(path)) {
      throw new DamagedImageError("its name is no UTF-8, without which it cannot be opened");
    }
    throw new DamagedImageError(messageOf(error), { cause: error });
  }
}
