import { DataError } from "./errors.ts";

/** Examples with the class of each. */
export interface Examples {
  /** `[N, C, H, W]`: pixels in [-1, 1], or latents as the model sees them. */
  readonly images: Float32Array<ArrayBuffer>;
  /** Shape of `images`. */
  readonly shape: readonly [count: number, channels: number, height: number, width: number];
  /** `[N]`: index of each example's class. */
  readonly labels: Int32Array<ArrayBuffer>;
}

/**
 * Which part of the random numbers an example gets: its place in a run rather than in a batch, so
 * that neither batch size, workers nor resuming change what is drawn for it.
 */
export interface NoiseKey {
  /** The run's seed. */
  readonly seed: bigint;
  /** Pass over the data, from 0. */
  readonly epoch: number;
  /** Of each example that is read, its place in the epoch's order. */
  readonly positions: readonly number[];
}

/** How examples are read. */
export interface ReadOptions {
  /** Of each example, whether it is mirrored left to right; none by default. */
  readonly flips?: readonly boolean[];
  /** For data that are distributions (latents): what they are sampled with; their mean without. */
  readonly noise?: NoiseKey;
}

/** Labelled images, or latents of images, that are read by number. */
export interface Dataset {
  /** How many examples there are. */
  readonly size: number;
  /** Channels of an example: 1 for gray, 3 for colour, 4 for the latents of the usual VAE. */
  readonly channels: number;
  /** Rows of an example. */
  readonly height: number;
  /** Columns of an example. */
  readonly width: number;
  /** What each class is called, by its index. One class means there is nothing to condition on. */
  readonly classNames: readonly string[];
  /** `[size]`: the class of each example. */
  readonly labels: Int32Array<ArrayBuffer>;
  /** Whether an example may be mirrored: digits lose their meaning, some latents have no mirror. */
  readonly flippable: boolean;

  /**
   * Reads examples.
   *
   * @param indices Which, each in [0, size), in any order, repeats allowed.
   * @returns `[N, C, H, W]` and `[N]` for N indices, in their order.
   */
  read(indices: readonly number[], options?: ReadOptions): Promise<Examples>;
}

/**
 * Checks what a dataset is asked for.
 *
 * @throws {RangeError} If an index is outside the dataset or an option has another length.
 */
export function checkRead(
  dataset: Dataset,
  indices: readonly number[],
  { flips, noise }: ReadOptions,
): void {
  const wrong = indices.find((i) => !Number.isInteger(i) || i < 0 || i >= dataset.size);
  if (wrong !== undefined) {
    throw new RangeError(`read: expected indices in [0, ${dataset.size}) but got ${wrong}`);
  }
  for (const [name, list] of [["flips", flips], ["noise positions", noise?.positions]] as const) {
    if (list !== undefined && list.length !== indices.length) {
      throw new RangeError(`read: expected ${indices.length} ${name} but got ${list.length}`);
    }
  }
  if (!dataset.flippable && flips?.includes(true)) {
    throw new RangeError("read: expected no flips: these examples cannot be mirrored");
  }
}

/**
 * Checks latents where they are read, so that a NaN among them is not taken for one that training
 * came to.
 *
 * @param name The file that they are from.
 * @throws {DataError} If one is not a finite number.
 */
export function requireFinite(values: Float32Array, name: string): void {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  throw new DataError(`${name}: expected finite numbers but found ${values[at]} at ${at}`);
}

/** (v / 255 - 0.5) / 0.5 for every byte, each step rounded to float32 as torchvision rounds it. */
const NORMALIZED = Float32Array.from({ length: 256 }, (_, v) => {
  return Math.fround(Math.fround(Math.fround(v / 255) - 0.5) / 0.5);
});

/** Size of an image. */
export interface ImageShape {
  /** Values a pixel. */
  readonly channels: number;
  /** Rows. */
  readonly height: number;
  /** Columns. */
  readonly width: number;
}

/**
 * Writes an image of bytes into `out` as numbers in [-1, 1]: what the original's `ToTensor` and
 * `Normalize(0.5, 0.5)` give.
 *
 * @param out `[C, H, W]`
 * @param pixels `[H, W, C]`
 * @param flip Mirrors left to right.
 */
export function normalizeInto(
  out: Float32Array,
  pixels: Uint8Array,
  { channels, height, width }: ImageShape,
  flip = false,
): void {
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      const to = (c * height + y) * width;
      const from = y * width * channels + c;
      for (let x = 0; x < width; x++) {
        const source = flip ? width - 1 - x : x;
        out[to + x] = NORMALIZED[pixels[from + source * channels]!]!;
      }
    }
  }
}

/** What an {@linkcode ImageArray} is made of. */
export interface ImageArrayOptions extends ImageShape {
  /** `[N, H, W, C]` */
  readonly pixels: Uint8Array;
  /** `[N]` */
  readonly labels: Int32Array<ArrayBuffer>;
  /** By index. */
  readonly classNames: readonly string[];
  /** Whether a mirrored image is as good as any; true by default. */
  readonly flippable?: boolean;
}

/** Images that are held in memory as bytes. */
export class ImageArray implements Dataset {
  readonly size: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly classNames: readonly string[];
  readonly labels: Int32Array<ArrayBuffer>;
  readonly flippable: boolean;
  readonly #pixels: Uint8Array;

  /**
   * Takes hold of the pixels.
   *
   * @throws {DataError} If pixels, labels and class names do not fit each other.
   */
  constructor(options: ImageArrayOptions) {
    const { pixels, labels, classNames, flippable = true, channels, height, width } = options;
    const bytes = labels.length * channels * height * width;
    if (pixels.length !== bytes) {
      throw new DataError(`ImageArray: expected ${bytes} bytes of pixels but got ${pixels.length}`);
    }
    const wrong = labels.find((label) => label < 0 || label >= classNames.length);
    if (wrong !== undefined) {
      throw new DataError(
        `ImageArray: expected labels in [0, ${classNames.length}) but got ${wrong}`,
      );
    }
    this.size = labels.length;
    this.channels = channels;
    this.height = height;
    this.width = width;
    this.classNames = classNames;
    this.labels = labels;
    this.flippable = flippable;
    this.#pixels = pixels;
  }

  // deno-lint-ignore require-await -- a throw must become a rejection
  async read(indices: readonly number[], options: ReadOptions = {}): Promise<Examples> {
    checkRead(this, indices, options);
    const length = this.channels * this.height * this.width;
    const images = new Float32Array(indices.length * length);
    const labels = new Int32Array(indices.length);
    indices.forEach((index, i) => {
      const pixels = this.#pixels.subarray(index * length, (index + 1) * length);
      const out = images.subarray(i * length, (i + 1) * length);
      normalizeInto(out, pixels, this, options.flips?.[i]);
      labels[i] = this.labels[index]!;
    });
    return { images, shape: [indices.length, this.channels, this.height, this.width], labels };
  }
}
