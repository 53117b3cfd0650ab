/** Reading labelled pictures into memory: from data as training opens them, and from archives. */
import { FormatError, NpzFile } from "@dit/core/io";
import { type Dataset, type Examples, ImageFolder, toPixels } from "@dit/data";
import { CommandError, messageOf } from "../shared/errors.ts";
import type { ImageSize } from "../shared/sample_archive.ts";
import { evenly, LONGEST_SIDE, type Pictures, reduced, reducedSize } from "./pictures.ts";

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
  /** How many are read at most; of more, an even choice. */
  readonly limit?: number;
}

/**
 * The pictures of a dataset, each once; damaged ones are left out.
 *
 * @param name Where they are from, for messages.
 */
export async function datasetPictures(
  dataset: Dataset,
  name: string,
  { decode, limit = Infinity, onProgress = () => {} }: DatasetOptions = {},
): Promise<Reference> {
  const { classNames, flippable, size: total } = dataset;
  let collected: Collected | undefined;
  let indices = evenly(total, limit);
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
        [indices, collected] = [evenly(total, most), new Collected(collected.fullSize, most)];
        first = -READ;
        continue;
      }
    }
    collected.add(toPixels(images, { channels, height, width }), examples.labels);
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
    using npz = await NpzFile.open(path);
    const size = sizeOf(npz, path);
    const labels = await labelsOf(npz, path);
    const [total] = npz.info("arr_0").shape as [number];
    if (labels.length !== total) {
      throw new CommandError(
        `${path}: expected a class in arr_1 for each of ${total} pictures but found ${labels.length}`,
      );
    }
    const whole = new Collected(size, total);
    const kept = new Set(evenly(total, whole.most));
    const collected = new Collected(size, kept.size);
    let at = 0;
    for await (const { shape, data } of npz.batches("arr_0", READ)) {
      const bytes = size[0] * size[1] * size[2];
      const here = Array.from({ length: shape[0]! }, (_, i) => i).filter((i) => kept.has(at + i));
      const some = new Uint8Array(here.length * bytes);
      here.forEach((from, i) =>
        some.set(data.subarray(from * bytes, (from + 1) * bytes), i * bytes)
      );
      collected.add(some, Int32Array.from(here, (i) => labels[at + i]!));
      at += shape[0]!;
      onProgress(at, total);
    }
    const madeBy = npz.texts.get("made_by");
    return { ...collected.pictures(), name: path, fullSize: size, total, madeBy };
  } catch (error) {
    if (error instanceof CommandError) throw error;
    if (error instanceof Deno.errors.NotFound) {
      throw new CommandError(`${path}: expected an archive of pictures but found nothing there`);
    }
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

function sizeOf(npz: NpzFile, path: string): ImageSize {
  if (!npz.has("arr_0")) {
    const found = npz.keys().join(", ") || "no arrays";
    throw new CommandError(`${path}: expected pictures in arr_0 but found ${found}`);
  }
  const { dtype, shape } = npz.info("arr_0");
  const [, height = 0, width = 0, channels = 0] = shape;
  if (dtype !== "u8" || shape.length !== 4 || (channels !== 1 && channels !== 3)) {
    throw new CommandError(
      `${path}: expected arr_0 with pictures, u8 [N, H, W, 1 or 3], but found ${dtype} ` +
        `[${shape.join(", ")}]`,
    );
  }
  if (shape.includes(0)) throw new CommandError(`${path}: expected pictures but found none`);
  return [height, width, channels];
}

async function labelsOf(npz: NpzFile, path: string): Promise<Int32Array<ArrayBuffer>> {
  if (!npz.has("arr_1")) {
    throw new CommandError(
      `${path}: expected the class of each picture in arr_1, which a classifier needs, but found ` +
        "none; sample-many writes them, and --features inception needs none",
    );
  }
  const { dtype, shape, data } = await npz.read("arr_1");
  const read = INTEGERS[dtype as keyof typeof INTEGERS];
  if (read === undefined || shape.length !== 1) {
    throw new CommandError(
      `${path}: expected arr_1 with classes, whole numbers [N], but found ${dtype} ` +
        `[${shape.join(", ")}]`,
    );
  }
  const labels = Int32Array.from(read(data.slice().buffer));
  const wrong = labels.find((label) => label < 0);
  if (wrong !== undefined) {
    throw new CommandError(`${path}: expected classes of 0 or more in arr_1 but found ${wrong}`);
  }
  return labels;
}

/** Whole numbers of a file, by their type. */
const INTEGERS = {
  i64: (bytes: ArrayBuffer) => Array.from(new BigInt64Array(bytes), Number),
  i32: (bytes: ArrayBuffer) => Array.from(new Int32Array(bytes)),
  u8: (bytes: ArrayBuffer) => Array.from(new Uint8Array(bytes)),
} as const;

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
