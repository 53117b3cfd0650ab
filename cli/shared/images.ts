/** Opening a folder of images for the commands that use one, and lines of output about it. */
import { type CropStoreOptions, type Dataset, ImageFolder, shown } from "@dit/data";
import { relative, resolve } from "@std/path";
import { gather } from "../distributed/share.ts";
import type { World } from "../distributed/world.ts";
import { folderKind } from "./data_kind.ts";
import { CROPS } from "./defaults.ts";
import { CommandError, UsageError } from "./errors.ts";
import { bytesText } from "./progress.ts";

/** How images are opened. */
export interface ImageSourceOptions {
  /** Side in pixels. */
  readonly size: number;
  /** Threads that decode. */
  readonly workers: number;
  /** Whether a damaged image is an error. */
  readonly strict?: boolean;
  /** Cropped images kept in memory, in bytes. */
  readonly cacheBytes?: number;
  /**
   * Gigabytes of cropped images that are kept on the disk; 0 for none. Without it those that are
   * there are read, which needs no rights.
   */
  readonly cropCache?: number;
  /** Called for images that are left out. */
  readonly warn: (message: string) => void;
}

/**
 * Opens a folder of images.
 *
 * @throws {CommandError} where the folder holds latents instead.
 * @throws {DataError} where there are no images, or none in one of the classes.
 */
export async function openImages(
  folder: string,
  { size, workers, strict = false, cacheBytes, cropCache, warn }: ImageSourceOptions,
): Promise<ImageFolder> {
  const { kind } = await folderKind(folder);
  if (kind === "npy" || kind === "shards") {
    throw new CommandError(`--data ${folder}: expected images but found latents made of them`);
  }
  return await ImageFolder.open(folder, {
    size,
    workers,
    strict,
    onDamaged: warnOfFirst(warn),
    ...(cacheBytes === undefined ? {} : { cacheBytes }),
    // among the images they would be a class the next time
    ...(cropCache === 0 || isInside(CROPS, folder) ? {} : { crops: cropsIn(cropCache, warn) }),
  });
}

/**
 * Where crops and drawings are kept.
 *
 * @param gigabytes All of them at most; without it none are written.
 */
export function cropsIn(
  gigabytes: number | undefined,
  warn: (message: string) => void,
): CropStoreOptions {
  return {
    folder: CROPS,
    ...(gigabytes === undefined ? {} : { mostBytes: gigabytes * 1e9 }),
    onFailure: (reason) => warn(`crops are not kept: ${reason}`),
  };
}

/** Damaged images that are reported one by one: a disk that fails has millions. */
const WARNED = 20;

function warnOfFirst(warn: (message: string) => void): (path: string, reason: string) => void {
  let count = 0;
  return (path, reason) => {
    if (++count <= WARNED) warn(`left out ${shown(path)}: ${reason}`);
    else if (count === WARNED + 1) warn("left out more; the last lines say how many");
  };
}

/**
 * Refuses results that would be taken for a class of the images the next time.
 *
 * @param what What names the images, for the message.
 *
 * @throws {UsageError}
 */
export function refuseInside(flag: string, out: string, data: string, what = "--data"): void {
  if (!isInside(out, data)) return;
  throw new UsageError(`${flag}: expected a folder outside of ${what} ${data} but got ${out}`);
}

/** Whether a path is that of a folder, or below it. */
function isInside(path: string, folder: string): boolean {
  const way = relative(resolve(folder), resolve(path));
  return way === "" || !(way.startsWith("..") || resolve(way) === way);
}

/** Such as "60,000 images in 10 classes; cropped to 256x256, smaller ones enlarged". */
export function imagesText(folder: ImageFolder): string {
  const { size, classNames } = folder;
  const images = `${size.toLocaleString("en")} images`;
  const classes = classNames.length === 1
    ? `of one class (${classNames[0]}): for an unconditional model`
    : `in ${classNames.length} classes`;
  return `${images} ${classes}; ${preparationText(folder)}`;
}

/** Such as "cropped to 256x256, smaller ones enlarged". */
export function preparationText({ height, ignored }: ImageFolder): string {
  const others = ignored === 0
    ? ""
    : `; ${counted(ignored, "other file")} left alone (images are jpg, png, webp and gif)`;
  return `cropped to ${height}x${height}, smaller ones enlarged${others}`;
}

/** A line that says which crops are kept where; none where none are written. */
export function cropsLines(dataset: Dataset): string[] {
  const crops = dataset instanceof ImageFolder ? dataset.crops : null;
  if (crops === null) return [];
  const images = crops.count === dataset.size ? "" : `${crops.count.toLocaleString("en")} of them `;
  return [
    `crops    ${images}kept for later epochs and runs: ${crops.file}, ${
      bytesText(crops.bytes)
    } at most`,
  ];
}

/** Damaged images that are named at the end of a run. */
const NAMED = 5;

/** How many images of a folder were found damaged. */
function damagedCount(dataset: Dataset): number {
  return dataset instanceof ImageFolder ? dataset.damaged.size : 0;
}

/** Damaged images of a folder from number `first` on, each with its reason, oldest first. */
export function damagedIn(dataset: Dataset, first = 0): string[] {
  if (damagedCount(dataset) <= first) return [];
  const { damaged } = dataset as ImageFolder;
  return Array.from(damaged.entries().drop(first), ([path, reason]) => `${shown(path)}: ${reason}`);
}

/** Lines about damaged and enlarged images of a run; none where there are none. */
export function findings(dataset: Dataset): string[] {
  return dataset instanceof ImageFolder ? findingLines(dataset, [found(dataset)]) : [];
}

/**
 * The same of all ranks together, each of which has read other images. Collective.
 *
 * @returns The lines on every rank.
 */
export async function allFindings(world: World, dataset: Dataset): Promise<string[]> {
  if (!(dataset instanceof ImageFolder)) return [];
  return findingLines(dataset, await gather(world, found(dataset)));
}

/** What a process found in the images that it read. */
interface Found {
  readonly enlarged: readonly number[];
  /** With reasons. */
  readonly damaged: readonly string[];
}

function found(images: ImageFolder): Found {
  return { enlarged: [...images.enlarged], damaged: damagedIn(images) };
}

function findingLines({ size, height }: ImageFolder, all: readonly Found[]): string[] {
  // several ranks may have read an image, each in another pass
  const enlarged = new Set(all.flatMap((its) => its.enlarged)).size;
  const reasons = [...new Set(all.flatMap((its) => its.damaged))];
  const damaged = reasons.length;
  const lines: string[] = [];
  if (enlarged > 0) {
    lines.push(`enlarged ${counted(enlarged, "image")} smaller than ${height}x${height}`);
  }
  if (damaged > 0) {
    const more = damaged > NAMED ? `; and ${damaged - NAMED} more` : "";
    const names = reasons.slice(0, NAMED).join("; ");
    lines.push(`damaged  ${damaged} of ${counted(size, "image")} left out: ${names}${more}`);
  }
  return lines;
}

function counted(count: number, what: string): string {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
}
