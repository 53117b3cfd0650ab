import {
  BytesSink,
  fromFloat32,
  type HostTensor,
  hostTensor,
  sha256,
  writeAtomically,
  writeSafetensors,
} from "@dit/core/io";
import { join } from "@std/path";
import { DataError } from "./errors.ts";
import {
  allParts,
  checkSettings,
  type LatentPart,
  type LatentSettings,
  loadManifest,
  requireSame,
  saveManifest,
  shardCount,
  shardFile,
  type ShardRecord,
} from "./latent_manifest.ts";

/** A shard that has to be made: the latents of images `first` to `end` - 1. */
export interface ShardPlan {
  /** Its number, from 0. */
  readonly number: number;
  /** Its first image. */
  readonly first: number;
  /** The image after its last. */
  readonly end: number;
}

/** Latents of a few images, as the autoencoder gives them: not multiplied by the scaling factor. */
export interface LatentBatch {
  /** `[N]`: which image each comes from. */
  readonly indices: readonly number[];
  /** `[N]`: its class. */
  readonly labels: ArrayLike<number>;
  /** `[N, C, H, W]` each: the tensors that the settings ask for. */
  readonly parts: Readonly<Partial<Record<LatentPart, Float32Array<ArrayBuffer>>>>;
}

/** Which part of the work is this process's. */
export interface ShareOptions {
  /** This process among those at work; 0 by default. */
  readonly rank?: number;
  /** How many processes are at work; 1 by default. */
  readonly world?: number;
}

/**
 * Fills a folder with latents, shard by shard, and continues where an earlier run stopped.
 *
 * @example
 * ```ts ignore
 * const writer = await LatentWriter.open("latents", settings);
 * for (const plan of writer.remaining) {
 *   const shard = writer.begin(plan);
 *   for (const batch of encode(plan.first, plan.end)) shard.add(batch);
 *   await shard.commit();
 * }
 * ```
 */
export class LatentWriter {
  /** The folder. */
  readonly folder: string;
  /** How the latents are made. */
  readonly settings: LatentSettings;
  /** Shards that this process has to make, as of when it began. */
  readonly remaining: readonly ShardPlan[];
  /** Images whose shards were complete when this process began, by any process. */
  readonly doneBefore: number;
  readonly #manifestFile: string;
  /** What this process's own manifest names. */
  readonly #own: ShardRecord[];

  private constructor(
    folder: string,
    settings: LatentSettings,
    done: readonly ShardRecord[],
    { rank = 0, world = 1 }: ShareOptions,
  ) {
    this.folder = folder;
    this.settings = settings;
    const complete = new Set(done.map(({ number }) => number));
    const plans = Array.from({ length: shardCount(settings) }, (_, number): ShardPlan => {
      const first = number * settings.shardSize;
      return { number, first, end: Math.min(settings.count, first + settings.shardSize) };
    });
    this.doneBefore = plans.filter(({ number }) => complete.has(number))
      .reduce((sum, { first, end }) => sum + end - first, 0);
    // By number, not by place among the remaining: others may be at work already.
    this.remaining = plans.filter(({ number }) => {
      return number % world === rank && !complete.has(number);
    });
    this.#manifestFile = world === 1 ? "manifest.json" : `manifest-${rank}-of-${world}.json`;
    this.#own = [...done];
  }

  /**
   * Opens a folder, or makes it.
   *
   * @throws {DataError} If it holds latents that were made with other settings.
   */
  static async open(
    folder: string,
    settings: LatentSettings,
    share: ShareOptions = {},
  ): Promise<LatentWriter> {
    checkSettings(folder, settings);
    const { rank = 0, world = 1 } = share;
    if (!Number.isInteger(rank) || rank < 0 || rank >= world) {
      throw new RangeError(`LatentWriter: expected a rank in [0, ${world}) but got ${rank}`);
    }
    await Deno.mkdir(folder, { recursive: true });
    const before = await loadManifest(folder);
    if (before) requireSame(folder, before.settings, settings);
    const done: ShardRecord[] = [];
    for (const shard of before?.shards ?? []) {
      if (await hasSize(join(folder, shard.file), shard.bytes)) done.push(shard);
    }
    const writer = new LatentWriter(folder, settings, done, share);
    await writer.#save();
    return writer;
  }

  /** Starts a shard. */
  begin(plan: ShardPlan): ShardBuilder {
    return new ShardBuilder(this.settings, plan, (batches) => this.#write(plan, batches));
  }

  async #write({ number }: ShardPlan, tensors: ReadonlyMap<string, HostTensor>): Promise<void> {
    const sink = new BytesSink();
    await writeSafetensors(sink, tensors, [["format", "dit-latents"]]);
    const bytes = sink.bytes();
    const file = shardFile(number);
    await writeAtomically(join(this.folder, file), (target) => target.writeAt(0, bytes));
    const count = tensors.get("labels")!.shape[0]!;
    this.#own.push({ number, file, count, bytes: bytes.length, sha256: await sha256(bytes) });
    this.#own.sort((a, b) => a.number - b.number);
    await this.#save();
  }

  #save(): Promise<void> {
    const manifest = { settings: this.settings, shards: this.#own };
    return saveManifest(this.folder, this.#manifestFile, manifest);
  }
}

/** A shard while it is made. */
export class ShardBuilder {
  readonly #settings: LatentSettings;
  readonly #plan: ShardPlan;
  readonly #write: (tensors: ReadonlyMap<string, HostTensor>) => Promise<void>;
  readonly #indices: number[] = [];
  readonly #labels: number[] = [];
  readonly #parts: ReadonlyMap<LatentPart, HostTensor[]>;

  /** Made by {@linkcode LatentWriter.begin}. */
  constructor(
    settings: LatentSettings,
    plan: ShardPlan,
    write: (tensors: ReadonlyMap<string, HostTensor>) => Promise<void>,
  ) {
    this.#settings = settings;
    this.#plan = plan;
    this.#write = write;
    this.#parts = new Map(allParts(settings).map((part) => [part, []]));
  }

  /**
   * Adds latents.
   *
   * @throws {DataError} If they are not of this shard's images, of another size, of unknown classes,
   * not finite once stored, or parts are missing.
   */
  add({ indices, labels, parts }: LatentBatch): void {
    const { latentShape, dtype, classNames } = this.#settings;
    const { first, end, number } = this.#plan;
    const fail = (expected: string, found: unknown): never => {
      throw new DataError(`shard ${number}: expected ${expected} but got ${found}`);
    };
    const stray = indices.find((index) => index < first || index >= end);
    if (stray !== undefined) fail(`images ${first} to ${end - 1}`, stray);
    if (labels.length !== indices.length) fail(`${indices.length} labels`, labels.length);
    const wrong = Array.from(labels).find((label) => !(label >= 0 && label < classNames.length));
    if (wrong !== undefined) fail(`labels in [0, ${classNames.length})`, wrong);
    const shape = [indices.length, ...latentShape];
    const size = shape.reduce((a, b) => a * b, 1);
    const stored = [...this.#parts.keys()].map((part) => {
      const values = parts[part];
      if (values?.length !== size) fail(`${size} elements of ${part}`, values?.length ?? "none");
      const limit = dtype === "f16" ? 65504 : Infinity;
      const bad = values!.find((value) =>
        !(Math.abs(value) <= limit) || Math.abs(value) === Infinity
      );
      if (bad !== undefined) fail(`${part} that ${dtype} can hold`, bad);
      // Not the caller's memory, which it may use again.
      return [
        part,
        fromFloat32(dtype === "f32" ? values!.slice() : values!, shape, dtype),
      ] as const;
    });
    for (const [part, tensor] of stored) this.#parts.get(part)!.push(tensor);
    this.#indices.push(...indices);
    this.#labels.push(...Array.from(labels));
  }

  /** Writes the shard: from then on it is complete. */
  async commit(): Promise<void> {
    const { latentShape, dtype } = this.#settings;
    const count = this.#indices.length;
    const tensors = new Map<string, HostTensor>([
      ["indices", hostTensor(Int32Array.from(this.#indices))],
      ["labels", hostTensor(Int32Array.from(this.#labels))],
    ]);
    for (const [part, pieces] of this.#parts) {
      const data = await new Blob(pieces.map((piece) => piece.data)).bytes();
      tensors.set(part, { dtype, shape: [count, ...latentShape], data });
    }
    await this.#write(tensors);
  }
}

async function hasSize(path: string, bytes: number): Promise<boolean> {
  try {
    return (await Deno.stat(path)).size === bytes;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
