/** Opening a folder of pictures for the commands that make latents, and saying what is in it. */
import { hasNpyFeatures, ImageFolder, loadManifest } from "@dit/data";
import { join, relative, resolve } from "@std/path";
import { CommandError, UsageError } from "./errors.ts";
import { exists } from "./sources/weights.ts";

/** How pictures are opened. */
export interface ImageSourceOptions {
  /** Side in pixels. */
  readonly size: number;
  /** Threads that decode. */
  readonly workers: number;
  /** Whether a damaged picture is an error. */
  readonly strict?: boolean;
  /** Cropped pictures kept in memory, in bytes. */
  readonly cacheBytes?: number;
  /** Told of pictures that are left out. */
  readonly warn: (message: string) => void;
}

/**
 * Opens a folder of pictures.
 *
 * @throws {CommandError} where the folder holds latents instead.
 * @throws {DataError} where there are no pictures, or none in one of the classes.
 */
export async function openImages(
  folder: string,
  { size, workers, strict = false, cacheBytes, warn }: ImageSourceOptions,
): Promise<ImageFolder> {
  if (await holdsFeatures(folder)) {
    throw new CommandError(`--data ${folder}: expected images but found latents made of them`);
  }
  return await ImageFolder.open(folder, {
    size,
    workers,
    strict,
    onDamaged: (path, reason) => warn(`left out ${path}: ${reason}`),
    ...(cacheBytes === undefined ? {} : { cacheBytes }),
  });
}

/** Whether a folder holds latents, in either layout. */
export async function holdsFeatures(folder: string): Promise<boolean> {
  if (!await exists(folder)) return false;
  return await exists(join(folder, "manifest.json")) || await hasNpyFeatures(folder) ||
    await loadManifest(folder) !== undefined;
}

/**
 * Refuses results that would be taken for a class of the pictures the next time.
 *
 * @throws {UsageError}
 */
export function refuseInside(flag: string, out: string, data: string): void {
  const way = relative(resolve(data), resolve(out));
  if (way === "" || !(way.startsWith("..") || resolve(way) === way)) {
    throw new UsageError(`${flag}: expected a folder outside of --data ${data} but got ${out}`);
  }
}

/** Such as "60,000 images in 10 classes, cropped to 256x256". */
export function imagesText({ size, classNames, height }: ImageFolder): string {
  const images = `${size.toLocaleString("en")} images`;
  const classes = classNames.length === 1
    ? `of one class (${classNames[0]}): for an unconditional model`
    : `in ${classNames.length} classes`;
  return `${images} ${classes}; cropped to ${height}x${height}, smaller ones enlarged`;
}
