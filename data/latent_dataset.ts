import { FormatError, SafetensorsFile, sha256, toFloat32, toInt32 } from "@dit/core/io";
import { join } from "@std/path";
import {
  checkRead,
  type Dataset,
  type Examples,
  type ReadOptions,
  requireFinite,
} from "./dataset.ts";
import { DataError, messageOf } from "./errors.ts";
import {
  allParts,
  type LatentPart,
  type LatentSettings,
  loadManifest,
  partsOf,
  shardCount,
  type ShardRecord,
} from "./latent_manifest.ts";
import { normals, sequence } from "./random.ts";

/** How a folder of latents is opened. */
export interface LatentOptions {
  /** Whether the checksums of all shards are checked first, which reads everything; false by default. */
  readonly verify?: boolean;
}

/** Files that are open at once; systems allow a process 256 at least. */
const OPEN_FILES = 128;

const BYTES = { f16: 2, f32: 4 } as const;

/**
 * Latents that {@linkcode LatentWriter} made, multiplied by their scaling factor: what the model
 * is trained on. Distributions are sampled anew for every pass, (mean + std * eps) * scale with eps
 * from the run's own numbers; without those they give their mean.
 */
export class LatentDataset implements Dataset, Disposable {
  readonly size: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly classNames: readonly string[];
  readonly labels: Int32Array<ArrayBuffer>;
  readonly flippable: boolean;
  /** How the latents were made. */
  readonly settings: LatentSettings;
  readonly #folder: string;
  readonly #shards: readonly ShardRecord[];
  /** Of each shard, the number of its first latent; then how many there are. */
  readonly #starts: readonly number[];
  /** The latest used last. */
  readonly #open = new Map<number, SafetensorsFile>();

  private constructor(
    folder: string,
    settings: LatentSettings,
    shards: readonly ShardRecord[],
    labels: Int32Array<ArrayBuffer>,
  ) {
    this.#folder = folder;
    this.settings = settings;
    this.#shards = shards;
    const starts = [0];
    for (const { count } of shards) starts.push(starts.at(-1)! + count);
    this.#starts = starts;
    this.size = labels.length;
    [this.channels, this.height, this.width] = settings.latentShape;
    this.classNames = settings.classNames;
    this.labels = labels;
    this.flippable = settings.flips;
  }

  /**
   * Opens a folder and checks that it is complete.
   *
   * @throws {DataError} If shards are missing or changed, or differ from what the manifest says.
   */
  static async open(
    folder: string,
    { verify = false }: LatentOptions = {},
  ): Promise<LatentDataset> {
    const manifest = await loadManifest(folder);
    if (manifest === undefined) {
      throw new DataError(`${folder}: expected a folder of latents but found no manifest.json`);
    }
    const { settings, shards } = manifest;
    const numbers = new Set(shards.map(({ number }) => number));
    const missing = Array.from({ length: shardCount(settings) }, (_, number) => number)
      .filter((number) => !numbers.has(number));
    if (missing.length > 0) {
      throw new DataError(
        `${folder}: expected ${shardCount(settings)} shards but ${missing.length} are not made ` +
          `yet, number ${missing[0]} the first; extract again to continue`,
      );
    }
    const labels = new Int32Array(shards.reduce((sum, { count }) => sum + count, 0));
    let start = 0;
    for (const shard of shards) {
      const path = join(folder, shard.file);
      await checkFile(path, shard, verify);
      using file = await SafetensorsFile.open(path);
      checkTensors(file, shard, settings);
      const some = toInt32(await file.read("labels"));
      const wrong = some.find((label) => label < 0 || label >= settings.classNames.length);
      if (wrong !== undefined) {
        throw new DataError(
          `${path}: expected labels in [0, ${settings.classNames.length}) but found ${wrong}`,
        );
      }
      labels.set(some, start);
      start += shard.count;
    }
    if (labels.length === 0) throw new DataError(`${folder}: expected latents but found none`);
    return new LatentDataset(folder, settings, shards, labels);
  }

  /**
   * Reads latents, and samples them.
   *
   * @throws {DataError} If a shard has gone since, or a latent is no finite number.
   */
  async read(indices: readonly number[], options: ReadOptions = {}): Promise<Examples> {
    checkRead(this, indices, options);
    const { kind, scalingFactor } = this.settings;
    const { flips, noise } = options;
    const length = this.channels * this.height * this.width;
    const images = new Float32Array(indices.length * length);
    const eps = new Float32Array(length);
    const generator = noise && sequence(noise.seed, "latent", noise.epoch);
    for (const [i, index] of indices.entries()) {
      const [center, std] = partsOf(kind, flips?.[i] ?? false) as [LatentPart, LatentPart?];
      const out = images.subarray(i * length, (i + 1) * length);
      out.set(await this.#row(index, center));
      if (std !== undefined && generator !== undefined) {
        const deviation = await this.#row(index, std);
        normals(eps, generator, noise!.positions[i]!);
        for (let j = 0; j < length; j++) out[j]! += deviation[j]! * eps[j]!;
      }
      for (let j = 0; j < length; j++) out[j]! *= scalingFactor;
      requireFinite(out, `latent ${index} in ${this.#pathOf(this.#shardOf(index))}`);
    }
    const labels = Int32Array.from(indices, (index) => this.labels[index]!);
    return { images, shape: [indices.length, this.channels, this.height, this.width], labels };
  }

  /** Closes its files; reading opens them again. */
  close(): void {
    for (const file of this.#open.values()) file.close();
    this.#open.clear();
  }

  /** Closes its files, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** One latent's values of a tensor, as stored. */
  async #row(index: number, part: LatentPart): Promise<Float32Array> {
    const number = this.#shardOf(index);
    const { latentShape, dtype } = this.settings;
    const bytes = latentShape.reduce((a, b) => a * b, 1) * BYTES[dtype];
    const data = new Uint8Array(bytes);
    try {
      const file = await this.#file(number);
      await file.readInto(part, data, (index - this.#starts[number]!) * bytes);
    } catch (error) {
      if (error instanceof FormatError) throw error; // it names the file
      const path = this.#pathOf(number);
      throw new DataError(`${path}: could not be read: ${messageOf(error)}`, { cause: error });
    }
    return toFloat32({ dtype, shape: latentShape, data });
  }

  #pathOf(number: number): string {
    return join(this.#folder, this.#shards[number]!.file);
  }

  /** The shard that a latent is in, by bisection. */
  #shardOf(index: number): number {
    let [low, high] = [0, this.#shards.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle]! <= index) low = middle;
      else high = middle;
    }
    return low;
  }

  async #file(number: number): Promise<SafetensorsFile> {
    let file = this.#open.get(number);
    if (file === undefined) {
      const opened = await SafetensorsFile.open(this.#pathOf(number));
      file = this.#open.get(number);
      if (file === undefined) file = opened;
      else opened.close(); // another batch opened it meanwhile
    }
    this.#open.delete(number);
    this.#open.set(number, file);
    if (this.#open.size > OPEN_FILES) {
      const [oldest, unused] = this.#open.entries().next().value!;
      unused.close();
      this.#open.delete(oldest);
    }
    return file;
  }
}

async function checkFile(path: string, shard: ShardRecord, verify: boolean): Promise<void> {
  let size: number;
  try {
    size = (await Deno.stat(path)).size;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new DataError(`${path}: the shard is missing; extract again to replace it`);
  }
  const found = size !== shard.bytes
    ? `${size} bytes instead of ${shard.bytes}`
    : verify && await sha256(await Deno.readFile(path)) !== shard.sha256
    ? "another checksum"
    : undefined;
  if (found !== undefined) {
    throw new DataError(
      `${path}: expected the shard that the manifest names but found ${found}; ` +
        "delete it and extract again",
    );
  }
}

function checkTensors(file: SafetensorsFile, shard: ShardRecord, settings: LatentSettings): void {
  const shape = [shard.count, ...settings.latentShape];
  const expected = [
    { name: "labels", dtype: "i32", shape: [shard.count] },
    ...allParts(settings).map((name) => ({ name, dtype: settings.dtype, shape })),
  ];
  for (const { name, ...wanted } of expected) {
    const want = `${name} ${wanted.dtype}[${wanted.shape.join(", ")}]`;
    const info = file.has(name) ? file.info(name) : undefined;
    const has = info ? `${name} ${info.dtype}[${info.shape.join(", ")}]` : "none";
    if (has !== want) {
      throw new DataError(`${file.name}: expected ${want}, as the manifest says, but found ${has}`);
    }
  }
}
