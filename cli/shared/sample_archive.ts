/** The archive of samples that evaluation reads, written as a stream. */
import { hostTensor, NpzWriter } from "@dit/core/io";

/** Size of an image, as arrays have it. */
export type ImageSize = readonly [height: number, width: number, channels: number];

/** Images of one size. */
export interface Images {
  /** `[N, H, W, C]` */
  readonly pixels: Uint8Array;
  readonly size: ImageSize;
}

/** Classes that are written at a time. */
const LABELS = 1 << 16;

/**
 * `arr_0`, u8 [N, H, W, C], which the ADM suite reads; `arr_1`, i64 [N], the classes; and texts. The
 * file appears under its name when it is whole; memory stays that of what is written at a time.
 */
export class SampleArchive implements AsyncDisposable {
  readonly #npz: NpzWriter;
  #images: ReturnType<NpzWriter["begin"]> | undefined;
  #count = 0;

  private constructor(npz: NpzWriter) {
    this.#npz = npz;
  }

  /** Opens a temporary file beside `path`. */
  static async create(path: string): Promise<SampleArchive> {
    return new SampleArchive(await NpzWriter.create(path));
  }

  /** How many images are written. */
  get count(): number {
    return this.#count;
  }

  /** Adds images, at least one in all. */
  async write({ pixels, size }: Images): Promise<void> {
    this.#images ??= this.#npz.begin("arr_0", "u8", size);
    await this.#images.write(pixels);
    this.#count += pixels.length / size.reduce((product, d) => product * d, 1);
  }

  /**
   * Completes the file.
   *
   * @param label The class of an image, by its number.
   * @param texts What else is told, by name.
   */
  async finish(
    label: (number: number) => number,
    texts: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    await this.#images!.end();
    const labels = this.#npz.begin("arr_1", "i64", []);
    for (let first = 0; first < this.#count; first += LABELS) {
      const length = Math.min(LABELS, this.#count - first);
      const some = BigInt64Array.from({ length }, (_, i) => BigInt(label(first + i)));
      await labels.write(hostTensor(some).data);
    }
    await labels.end();
    for (const [key, text] of Object.entries(texts)) await this.#npz.text(key, text);
    await this.#npz.finish();
  }

  /** Throws away what was written, unless it was finished. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#npz[Symbol.asyncDispose]();
  }
}
