/** One image, from the disk or a drawing to a square of pixels: what a worker does for each. */
import { centerCrop } from "./crop.ts";
import { type Crop, type CropPlace, CropRecord } from "./crop_store.ts";
import { decodeImage } from "./decode.ts";
import { DamagedImageError, messageOf } from "./errors.ts";
import { isUnnameable } from "./folder.ts";
import { drawSvg } from "./svg.ts";

/** An image to load. */
export interface ImageTask {
  /** Where the file is. */
  readonly path: string;
  /** Side of the square in pixels. */
  readonly size: number;
  /** Where its crop is kept, if it is. */
  readonly crop?: CropPlace | undefined;
}

/** A drawing to draw. */
export interface DrawingTask {
  /** As {@linkcode drawSvg} takes it. */
  readonly svg: string;
  /** Side of the square in pixels. */
  readonly size: number;
}

/** What comes of it. */
export interface LoadedImage extends Crop {
  /** Why it could not be kept, where it should have been. */
  readonly notKept?: string | undefined;
}

/**
 * Loads an image, or draws one.
 *
 * @throws {DamagedImageError} as {@linkcode loadImage}.
 * @throws {DataError} as {@linkcode drawSvg}.
 */
export async function runTask(task: ImageTask | DrawingTask): Promise<LoadedImage> {
  if (!("svg" in task)) return await loadImage(task);
  return { pixels: await drawSvg(task.svg, task.size), enlarged: false };
}

/**
 * Reads, decodes and crops an image file, or takes its crop from where it is kept.
 *
 * @throws {DamagedImageError} If the file may not be read, is no image, or a damaged one.
 */
export async function loadImage({ path, size, crop }: ImageTask): Promise<LoadedImage> {
  // before the image is read: one that changes meanwhile is another the next time
  const record = crop && CropRecord.of(path, size, crop);
  const kept = await record?.read();
  if (kept !== undefined) return kept;
  const image = await decodeImage(await readImage(path));
  const enlarged = Math.min(image.width, image.height) < size;
  const cropped = { pixels: centerCrop(image, size).pixels, enlarged };
  return { ...cropped, notKept: crop?.isWritten ? await record?.write(cropped) : undefined };
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
