/** Reading labelled pictures into memory: from data as training opens them, and from archives. */
import { FormatError } from "@dit/core/io";
import { type Dataset, type Examples, ImageFolder, toPixels } from "@dit/data";
import { CommandError, messageOf } from "../shared/errors.ts";
import type { ImageSize } from "../shared/sample_archive.ts";
import type { ImagesShape } from "./features.ts";
import { ArchiveImages, openArchive } from "./image_source.ts";
import {
  evenly,
  evenlyOfEach,
  LONGEST_SIDE,
  type Pictures,
  reduced,
  reducedSize,
} from "./pictures.ts";

/** Pictures of classes, to train a classifier on and to compare samples with. */
export interface Reference extends Pictures {
  /** Where they are from, for messages. */
  readonly name: string;
  /** By index. */
  readonly classNames: readonly string[];
  /** Whether mirrored pictures mean the same. */
  readonly flippable: boolean;
  /** Of each, before it was reduced. */
  readonly fullSize: ImageSize;
  /** How many there are; more than were read where not all are held. */
  readonly total: number;
}

/** Bytes of reduced pictures that are held at most; of more pictures, an even choice. */
const MOST_BYTES = 2 ** 30;
/** Pictures that are read at a time. */
const READ = 256;

/** How pictures are read. */
export interface ReadOptions {
  /** Called with the number of pictures read and that of all that are to be. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** How pictures of a dataset are read. */
export interface DatasetOptions extends ReadOptions {
  /** Makes pictures of what the dataset has, in [-1, 1]; they are pictures without it. */
  readonly decode?: (examples: Examples) => Promise<Omit<Examples, "labels">>;
  /** About how many are read at most; of more, an even choice of each class. */
  readonly limit?: number;
  /** Gets pictures at their full size, [N, H, W, C], before they are reduced. */
  readonly onPictures?: (pixels: Uint8Array, shape: ImagesShape) => Promise<void>;
}

/**
 * The pictures of a dataset, each once; damaged ones are left out.
 *
 * @param name Where they are from, for messages.
 */
export async function datasetPictures(
  dataset: Dataset,
  name: string,
  { decode, limit = Infinity, onPictures, onProgress = () => {} }: DatasetOptions = {},
): Promise<Reference> {
  const { classNames, flippable, size: total } = dataset;
  let collected: Collected | undefined;
  const choose = (count: number) => evenlyOfEach(dataset.labels, classNames.length, count);
  let indices = choose(limit);
  for (let first = 0; first < indices.length; first += READ) {
    const some = indices.slice(first, first + READ);
    const examples = dataset instanceof ImageFolder
      ? await dataset.readSound(some)
      : await dataset.read(some);
    const { images, shape } = decode ? await decode(examples) : examples;
    const [, channels, height, width] = shape;
    if (collected === undefined) {
      collected = new Collected([height, width, channels], indices.length);
      const most = collected.most;
      if (most < indices.length) { // begin again, with fewer
        indices = choose(most);
        collected = new Collected(collected.fullSize, indices.length);
        first = -READ;
        continue;
      }
    }
    const pixels = toPixels(images, { channels, height, width });
    await onPictures?.(pixels, [shape[0], height, width, channels]);
    collected.add(pixels, examples.labels);
    onProgress(Math.min(indices.length, first + READ), indices.length);
  }
  if (collected === undefined) throw new CommandError(`${name}: expected pictures but found none`);
  const { fullSize } = collected;
  return { ...collected.pictures(), name, classNames, flippable, fullSize, total };
}

/** Pictures of an archive, with what was said of them. */
export interface ArchivePictures extends Pictures {
  readonly name: string;
  /** Of each, before it was reduced. */
  readonly fullSize: ImageSize;
  /** How many there are; more than were read where not all are held. */
  readonly total: number;
  /** What made them, as the text of the archive says it; undefined for one that does not. */
  readonly madeBy: string | undefined;
}

/**
 * The pictures of an archive (`arr_0`, u8 [N, H, W, C]) and their classes (`arr_1`, [N]).
 *
 * @throws {CommandError} where it holds something else.
 */
export async function archivePictures(
  path: string,
  { onProgress = () => {} }: ReadOptions = {},
): Promise<ArchivePictures> {
  try {
    using npz = await openArchive(path);
    const images = new ArchiveImages(npz);
    const { size, count: total } = images;
    const labels = await images.labels();
    if (labels === null) {
      throw new CommandError(
        `${path}: expected the class of each picture in arr_1, which a classifier needs, but found ` +
          "none; sample-many writes them, and --features inception needs none",
      );
    }
    const whole = new Collected(size, total);
    const kept = new Set(evenly(total, whole.most));
    const collected = new Collected(size, kept.size);
    let at = 0;
    for await (const { count, pixels } of images.batches(READ)) {
      const bytes = size[0] * size[1] * size[2];
      const here = Array.from({ length: count }, (_, i) => i).filter((i) => kept.has(at + i));
      const some = new Uint8Array(here.length * bytes);
      here.forEach((from, i) =>
        some.set(pixels.subarray(from * bytes, (from + 1) * bytes), i * bytes)
      );
      collected.add(some, Int32Array.from(here, (i) => labels[at + i]!));
      at += count;
      onProgress(at, total);
    }
    const madeBy = npz.texts.get("made_by");
    return { ...collected.pictures(), name: path, fullSize: size, total, madeBy };
  } catch (error) {
    if (error instanceof FormatError) throw new CommandError(messageOf(error), { cause: error });
    throw error;
  }
}

/**
 * An archive as a reference: its classes are numbered as `arr_1` numbers them, and not mirrored.
 *
 * @throws {CommandError} as {@linkcode archivePictures} does.
 */
export async function archiveReference(path: string, options?: ReadOptions): Promise<Reference> {
  const pictures = await archivePictures(path, options);
  const count = pictures.labels.reduce((most, label) => Math.max(most, label + 1), 0);
  const classNames = Array.from({ length: count }, (_, i) => String(i));
  return { ...pictures, classNames, flippable: false };
}

/** Pictures as they come, reduced. */
class Collected {
  readonly fullSize: ImageSize;
  readonly #size: ImageSize;
  readonly #bytes: number;
  readonly #count: number;
  #pixels: Uint8Array<ArrayBuffer> | undefined;
  readonly #labels: number[] = [];

  /** @param count How many there will be at most. */
  constructor(fullSize: ImageSize, count: number) {
    this.fullSize = fullSize;
    this.#size = reducedSize(fullSize, LONGEST_SIDE);
    this.#bytes = this.#size.reduce((product, d) => product * d, 1);
    this.#count = count;
  }

  /** How many can be held. */
  get most(): number {
    return Math.floor(MOST_BYTES / this.#bytes);
  }

  /** Adds pictures, [N, H, W, C], with the class of each. */
  add(pixels: Uint8Array<ArrayBuffer>, labels: Int32Array): void {
    this.#pixels ??= new Uint8Array(this.#count * this.#bytes);
    const at = this.#labels.length * this.#bytes;
    this.#pixels.set(reduced(pixels, this.fullSize, LONGEST_SIDE), at);
    this.#labels.push(...labels);
  }

  pictures(): Pictures {
    const count = this.#labels.length;
    const pixels = (this.#pixels ?? new Uint8Array()).subarray(0, count * this.#bytes);
    return { count, size: this.#size, pixels, labels: Int32Array.from(this.#labels) };
  }
}
