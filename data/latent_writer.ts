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
  MANIFEST,
  manifestOf,
  removeOtherManifests,
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
  /**
   * The shards that are complete, as rank 0 found them ({@linkcode completeShards}), for processes
   * that can tell each other: what is left is shared evenly, and rank 0, which has to be first to
   * open the folder, keeps the manifest that stays. By default each process looks for itself.
   */
  readonly done?: readonly ShardRecord[];
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
  readonly #own: Map<number, ShardRecord>;
  readonly #made: ShardRecord[] = [];

  private constructor(
    folder: string,
    settings: LatentSettings,
    complete: readonly ShardRecord[],
    { rank = 0, world = 1, done }: ShareOptions,
  ) {
    this.folder = folder;
    this.settings = settings;
    const numbers = new Set(complete.map(({ number }) => number));
    const plans = Array.from({ length: shardCount(settings) }, (_, number): ShardPlan => {
      const first = number * settings.shardSize;
      return { number, first, end: Math.min(settings.count, first + settings.shardSize) };
    });
    this.doneBefore = plans.filter(({ number }) => numbers.has(number))
      .reduce((sum, { first, end }) => sum + end - first, 0);
    // By number where processes know nothing of each other: others may be at work already.
    this.remaining = plans.filter(({ number }) => !numbers.has(number))
      .filter(({ number }, place) => (done ? place : number) % world === rank);
    const leads = rank === 0 && (done !== undefined || world === 1);
    this.#manifestFile = leads ? MANIFEST : manifestOf(rank, world);
    this.#own = new Map(complete.map((shard) => [shard.number, shard]));
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
    const { rank = 0, world = 1, done } = share;
    if (!Number.isInteger(rank) || rank < 0 || rank >= world) {
      throw new RangeError(`LatentWriter: expected a rank in [0, ${world}) but got ${rank}`);
    }
    if (done !== undefined && rank > 0) {
      return new LatentWriter(folder, settings, done, share);
    }
    const complete = done ?? await completeShards(folder, settings);
    await Deno.mkdir(folder, { recursive: true });
    const writer = new LatentWriter(folder, settings, complete, share);
    await writer.#save();
    if (writer.#manifestFile === MANIFEST) await removeOtherManifests(folder);
    return writer;
  }

  /** Shards that this process has made. */
  get made(): readonly ShardRecord[] {
    return this.#made;
  }

  /** Takes over what other processes have made, and their manifests: for rank 0, at the end. */
  async take(shards: readonly ShardRecord[]): Promise<void> {
    for (const shard of shards) this.#own.set(shard.number, shard);
    await this.#save();
    await removeOtherManifests(this.folder);
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
    const shard = { number, file, count, bytes: bytes.length, sha256: await sha256(bytes) };
    this.#made.push(shard);
    this.#own.set(number, shard);
    await this.#save();
  }

  #save(): Promise<void> {
    const shards = [...this.#own.values()].sort((a, b) => a.number - b.number);
    return saveManifest(this.folder, this.#manifestFile, { settings: this.settings, shards });
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

/**
 * The shards of a folder that are complete, by number; none where there is no such folder.
 *
 * @throws {DataError} If it holds latents that were made with other settings.
 */
export async function completeShards(
  folder: string,
  settings: LatentSettings,
): Promise<ShardRecord[]> {
  const before = await loadManifest(folder);
  if (before) requireSame(folder, before.settings, settings);
  const complete: ShardRecord[] = [];
  for (const shard of before?.shards ?? []) {
    if (await hasSize(join(folder, shard.file), shard.bytes)) complete.push(shard);
  }
  return complete;
}

async function hasSize(path: string, bytes: number): Promise<boolean> {
  try {
    return (await Deno.stat(path)).size === bytes;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
