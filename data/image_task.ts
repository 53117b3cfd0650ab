/** One image file, from the disk to a square of pixels: what a worker does for each of them. */
import { centerCrop } from "./crop.ts";
import { decodeImage } from "./decode.ts";

/** What is asked for. */
export interface ImageTask {
  /** Where the file is. */
  readonly path: string;
  /** Side of the square in pixels. */
  readonly size: number;
}

/**
 * Reads, decodes and crops an image file.
 *
 * @returns `[size, size, 3]`
 * @throws {DamagedImageError} If the file is no image, or a damaged one.
 */
export async function loadImage({ path, size }: ImageTask): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await Deno.readFile(path);
  return centerCrop(await decodeImage(bytes), size).pixels;
}
