/** Where pictures go: one PNG with all of them, a folder of PNGs, or an archive for evaluation. */
import type { SampledImages } from "@dit/core/pipeline";
import { encodePng, type ImageShape, makeGrid, toPixels } from "@dit/data";
import { join } from "@std/path";
import { UsageError } from "../../shared/errors.ts";
import { prepareFile, prepareFolder, writeWhole } from "../../shared/files.ts";
import { SampleArchive } from "../../shared/sample_archive.ts";

/** Takes pictures in order, batch by batch. */
export interface Output extends AsyncDisposable {
  /** Takes the next pictures and the class of each. */
  write(samples: SampledImages, labels: readonly number[]): Promise<void>;
  /** Completes what is on the disk; returns what it is, for people. */
  finish(): Promise<string>;
}

/** What kind of output a path asks for. */
export type OutputKind = "png" | "npz" | "folder";

/**
 * The kind of output by its ending.
 *
 * @throws {UsageError} for other formats of pictures.
 */
export function outputKind(path: string): OutputKind {
  const ending = /\.([A-Za-z0-9]+)$/.exec(path)?.[1]?.toLowerCase();
  if (ending === undefined) return "folder";
  if (ending === "png" || ending === "npz") return ending;
  throw new UsageError(`--out: expected FILE.png, FILE.npz or a folder but got "${path}"`);
}

/**
 * Opens an output.
 *
 * @param columns Of a grid.
 * @param what Names it in messages, such as a flag.
 * @throws {UsageError} where pictures of before would be taken for some of these.
 * @throws {CommandError} where nothing can be written.
 */
export async function openOutput(path: string, columns: number, what = "--out"): Promise<Output> {
  const kind = outputKind(path);
  if (kind === "folder") await prepareFolder(path, what);
  else await prepareFile(what, path);
  if (kind === "png") return new Grid(path, columns);
  if (kind === "npz") return new Archive(path, await SampleArchive.create(path));
  await refusePictures(path);
  return new Folder(path);
}

async function refusePictures(folder: string): Promise<void> {
  for await (const { name } of Deno.readDir(folder)) {
    if (!/^\d{6,}\.png$/.test(name)) continue;
    throw new UsageError(
      `--out: expected a folder without pictures but found ${join(folder, name)}, which would be ` +
        "taken for one of these; take another, or remove them",
    );
  }
}

/** All pictures side by side in one. */
class Grid implements Output {
  readonly #path: string;
  readonly #columns: number;
  readonly #images: Float32Array[] = [];
  #shape: ImageShape | undefined;

  constructor(path: string, columns: number) {
    this.#path = path;
    this.#columns = columns;
  }

  write({ images, ...shape }: SampledImages): Promise<void> {
    this.#images.push(images);
    this.#shape = shape;
    return Promise.resolve();
  }

  async finish(): Promise<string> {
    const all = new Float32Array(this.#images.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const images of this.#images) {
      all.set(images, at);
      at += images.length;
    }
    const { pixels, width, height, channels } = makeGrid(all, this.#shape!, {
      columns: this.#columns,
    });
    await writeWhole(this.#path, await encodePng(pixels, width, height, channels));
    return `${this.#path} (${width}x${height})`;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** 000000.png, 000001.png, ... */
class Folder implements Output {
  readonly #path: string;
  #count = 0;

  constructor(path: string) {
    this.#path = path;
  }

  async write({ images, ...shape }: SampledImages): Promise<void> {
    const { channels, height, width } = shape;
    const pixels = toPixels(images, shape);
    const size = channels * height * width;
    for (let at = 0; at < pixels.length; at += size) {
      const png = await encodePng(pixels.subarray(at, at + size), width, height, channels);
      const name = `${String(this.#count++).padStart(6, "0")}.png`;
      await writeWhole(join(this.#path, name), png);
    }
  }

  finish(): Promise<string> {
    return Promise.resolve(`${this.#count} files in ${this.#path}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** An archive for evaluation. */
class Archive implements Output {
  readonly #path: string;
  readonly #archive: SampleArchive;
  readonly #labels: number[] = [];

  constructor(path: string, archive: SampleArchive) {
    this.#path = path;
    this.#archive = archive;
  }

  async write({ images, ...shape }: SampledImages, labels: readonly number[]): Promise<void> {
    const { channels, height, width } = shape;
    await this.#archive.write({ pixels: toPixels(images, shape), size: [height, width, channels] });
    this.#labels.push(...labels);
  }

  async finish(): Promise<string> {
    await this.#archive.finish((number) => this.#labels[number]!);
    return `${this.#path} (arr_0: ${this.#labels.length} pictures, arr_1: their classes)`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#archive[Symbol.asyncDispose]();
  }
}
