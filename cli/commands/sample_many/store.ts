/**
 * Where finished samples are kept until all are there, each under its name only once it is whole: a
 * PNG file a sample, or where those are not wanted, a part file for those that were made together.
 */
import { hostTensor, NpyFile, saveNpy } from "@dit/core/io";
import { decodePng, encodePng } from "@dit/data";
import { join } from "@std/path";
import { CommandError, messageOf } from "../../shared/errors.ts";
import { writeWhole } from "../../shared/files.ts";
import type { Images } from "../../shared/sample_archive.ts";

/** Finished samples of a folder. */
export interface SampleStore {
  /** Which of the first `count` samples are there. */
  present(count: number): Promise<boolean[]>;
  /** Keeps samples, whose numbers ascend. */
  write(numbers: readonly number[], images: Images): Promise<void>;
  /** The first `count` samples in order, some at a time. */
  read(count: number): AsyncGenerator<Images>;
  /** Removes what is of no use once an archive has the first `count` samples. */
  clear(count: number): Promise<void>;
}

/** Samples that are read at a time. */
const READ = 32;

const PNG_NAME = /^(\d{6,})\.png$/;
const PART_NAME = /^part-(\d{7})-(\d{7})\.npy$/;

/** `000000.png`, `000001.png`, ... */
export class PngStore implements SampleStore {
  readonly #folder: string;

  /** @param folder It is there. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  async present(count: number): Promise<boolean[]> {
    const isThere = new Array<boolean>(count).fill(false);
    for await (const { name, isFile } of Deno.readDir(this.#folder)) {
      const number = Number(PNG_NAME.exec(name)?.[1] ?? NaN);
      if (isFile && number < count) isThere[number] = true;
    }
    return isThere;
  }

  async write(numbers: readonly number[], { pixels, size }: Images): Promise<void> {
    const [height, width, channels] = size;
    const bytes = height * width * channels;
    for (const [i, number] of numbers.entries()) {
      const image = pixels.subarray(i * bytes, (i + 1) * bytes);
      await writeWhole(this.#path(number), await encodePng(image, width, height, channels));
    }
  }

  async *read(count: number): AsyncGenerator<Images> {
    let size: Images["size"] | undefined;
    for (let first = 0; first < count; first += READ) {
      const length = Math.min(READ, count - first);
      const images = await Promise.all(
        Array.from({ length }, (_, i) => this.#readOne(first + i)),
      );
      for (const [i, { size: found }] of images.entries()) {
        size ??= found;
        if (String(found) === String(size)) continue;
        throw new CommandError(
          `${this.#path(first + i)}: expected ${size.join("x")} as ${this.#path(0)} has but got ` +
            `${
              found.join("x")
            }; remove the one that is not a sample, and start the same command again`,
        );
      }
      yield joined(images);
    }
  }

  async clear(): Promise<void> {}

  async #readOne(number: number): Promise<Images> {
    const path = this.#path(number);
    try {
      const { pixels, height, width, channels } = await decodePng(await Deno.readFile(path));
      return { pixels, size: [height, width, channels] };
    } catch (error) {
      throw new CommandError(
        `${path}: ${messageOf(error)}; remove it where it is damaged, and start the same command ` +
          "again",
        { cause: error },
      );
    }
  }

  #path(number: number): string {
    return join(this.#folder, `${String(number).padStart(6, "0")}.png`);
  }
}

/** Samples that follow each other, in a file. */
interface Part {
  readonly first: number;
  readonly end: number;
  readonly path: string;
}

/** `part-0000000-0000032.npy`, u8 [N, H, W, C] of samples 0 to 31, and so on. */
export class PartStore implements SampleStore {
  readonly #folder: string;

  /** @param folder It is there. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  async present(count: number): Promise<boolean[]> {
    const isThere = new Array<boolean>(count).fill(false);
    for (const { first, end } of await this.#parts()) {
      isThere.fill(true, first, Math.min(end, count));
    }
    return isThere;
  }

  async write(numbers: readonly number[], { pixels, size }: Images): Promise<void> {
    const bytes = size.reduce((product, d) => product * d, 1);
    for (let i = 0; i < numbers.length;) {
      let next = i + 1;
      while (numbers[next] === numbers[next - 1]! + 1) next++;
      const first = numbers[i]!;
      const length = next - i;
      const part = pixels.slice(i * bytes, next * bytes);
      const range = [first, first + length].map((number) => String(number).padStart(7, "0"));
      const path = join(this.#folder, `part-${range.join("-")}.npy`);
      try {
        await saveNpy(path, hostTensor(part, [length, ...size]));
      } catch (error) {
        throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
      }
      i = next;
    }
  }

  async *read(count: number): AsyncGenerator<Images> {
    let at = 0;
    for (const { first, end, path } of await this.#parts()) {
      if (end <= at) continue; // in a longer part as well
      if (at >= count) return;
      if (first > at) throw missing(this.#folder, at);
      using file = await NpyFile.open(path);
      const size = file.shape.slice(1) as [number, number, number];
      const bytes = size.reduce((product, d) => product * d, 1);
      for (const last = Math.min(end, count); at < last;) {
        const length = Math.min(READ, last - at);
        const pixels = new Uint8Array(length * bytes);
        await file.readInto(pixels, (at - first) * bytes);
        yield { pixels, size };
        at += length;
      }
    }
    if (at < count) throw missing(this.#folder, at);
  }

  async clear(count: number): Promise<void> {
    for (const { end, path } of await this.#parts()) if (end <= count) await Deno.remove(path);
  }

  /** By their first sample, the longest first. */
  async #parts(): Promise<Part[]> {
    const parts: Part[] = [];
    for await (const { name, isFile } of Deno.readDir(this.#folder)) {
      const [, first, end] = PART_NAME.exec(name) ?? [];
      if (!isFile || first === undefined) continue;
      parts.push({ first: Number(first), end: Number(end), path: join(this.#folder, name) });
    }
    return parts.sort((a, b) => a.first - b.first || b.end - a.end);
  }
}

function missing(folder: string, number: number): CommandError {
  return new CommandError(
    `${folder}: expected sample ${number} but found none; start the same command again. (Ranks on ` +
      "several machines need one --sample-dir that all of them see.)",
  );
}

/** Images of one size as one array. */
function joined(images: readonly Images[]): Images {
  const { size } = images[0]!;
  const bytes = size.reduce((product, d) => product * d, 1);
  const pixels = new Uint8Array(images.length * bytes);
  for (const [i, image] of images.entries()) pixels.set(image.pixels, i * bytes);
  return { pixels, size };
}
