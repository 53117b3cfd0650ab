import type { DataPosition } from "@dit/core/pipeline";
import type { Generator } from "@dit/core/tensor";
import type { NoiseKey } from "./dataset.ts";
import { DataError } from "./errors.ts";
import { sequence } from "./random.ts";

/** Where a sampler stands: all that is needed to continue it exactly. */
export type SamplerPosition = DataPosition;

/** What goes into one batch. */
export interface BatchPlan {
  /** Which examples. */
  readonly indices: readonly number[];
  /** Of each, whether it is mirrored. */
  readonly flips: readonly boolean[];
  /** For latents that are sampled. */
  readonly noise: NoiseKey;
  /** The pass this batch belongs to, from 0. */
  readonly epoch: number;
  /** Its number in that pass, from 0. */
  readonly step: number;
  /** Where to continue after this batch. */
  readonly next: SamplerPosition;
}

/** How a dataset is divided into batches. */
export interface BatchSamplerOptions {
  /** Examples in the dataset. */
  readonly size: number;
  /** Examples a batch, over all processes. */
  readonly batchSize: number;
  /** What order and flips are drawn from; 0 by default. */
  readonly seed?: number | bigint;
  /** Whether each example is mirrored every other time, as in the original; true by default. */
  readonly flip?: boolean;
  /** Parts that a batch is computed in, each of them shared by all processes; 1 by default. */
  readonly parts?: number;
  /** This process among those that share each batch; 0 by default. */
  readonly rank?: number;
  /** How many processes share each batch; 1 by default. */
  readonly world?: number;
  /** Where to start; the beginning by default. */
  readonly position?: SamplerPosition;
  /**
   * `[size]`, the class of each example, where classes are to be shown equally often, however many
   * examples each has: a pass has as many examples as before, of small classes the same ones
   * several times, of large ones some. By default every example is shown once.
   */
  readonly balance?: ArrayLike<number>;
}

/**
 * Divides a dataset into batches without end: every pass has a random order of its own, and what
 * does not fill a batch at its end is left out, as in the original (`shuffle=True,
 * drop_last=True`). The batches of a seed are the same whatever the number of processes, each of
 * which gets its share of every batch.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchSampler } from "@dit/data";
 *
 * const sampler = new BatchSampler({ size: 10, batchSize: 4, seed: 1 });
 * const { indices } = sampler.next();
 * assertEquals(indices.length, 4);
 * assertEquals(sampler.position.step, 1);
 * ```
 */
export class BatchSampler {
  /** Batches a pass. */
  readonly stepsPerEpoch: number;
  readonly #size: number;
  readonly #batchSize: number;
  readonly #seed: bigint;
  readonly #flip: boolean;
  /** The examples of each class, where classes are balanced. */
  readonly #classes: readonly Uint32Array[] | null;
  /** This process's places in a batch. */
  readonly #share: readonly number[];
  #position: SamplerPosition;
  #order: { epoch: number; indices: Uint32Array } | undefined;

  /**
   * Starts at the position given.
   *
   * @throws {RangeError} If a number makes no sense, or the processes cannot share a batch, or its
   * parts, equally.
   * @throws {DataError} If the dataset does not fill one batch.
   */
  constructor(options: BatchSamplerOptions) {
    const { size, batchSize, seed = 0, flip = true, position } = options;
    const { parts = 1, rank = 0, world = 1, balance } = options;
    if (!Number.isInteger(batchSize) || batchSize < 1) {
      throw new RangeError(`BatchSampler: expected a batch size of 1 or more but got ${batchSize}`);
    }
    if (!Number.isInteger(rank) || rank < 0 || rank >= world) {
      throw new RangeError(`BatchSampler: expected a rank in [0, ${world}) but got ${rank}`);
    }
    if (!Number.isInteger(parts) || parts < 1 || batchSize % (world * parts) !== 0) {
      throw new RangeError(
        `BatchSampler: expected a batch size that ${world} processes can share equally in ` +
          `${parts} parts but got ${batchSize}`,
      );
    }
    if (size < batchSize) {
      throw new DataError(
        `BatchSampler: expected at least one batch of ${batchSize} examples but the data has ` +
          `${size}; make the batch smaller`,
      );
    }
    this.stepsPerEpoch = Math.floor(size / batchSize);
    this.#size = size;
    this.#batchSize = batchSize;
    this.#seed = BigInt(seed);
    this.#flip = flip;
    if (balance && balance.length !== size) {
      throw new RangeError(
        `BatchSampler: expected the classes of ${size} examples but got ${balance.length}`,
      );
    }
    this.#classes = balance ? examplesByClass(balance) : null;
    const rows = batchSize / (world * parts);
    this.#share = Array.from({ length: parts * rows }, (_, i) => {
      const part = Math.floor(i / rows);
      return (part * world + rank) * rows + i % rows;
    });
    this.#position = { epoch: 0, step: 0, size };
    if (position !== undefined) this.seek(position);
  }

  /** Where the next batch comes from. */
  get position(): SamplerPosition {
    return this.#position;
  }

  /**
   * Moves to a position.
   *
   * @throws {DataError} If it is one in data with more or fewer examples.
   * @throws {RangeError} If a pass has no such batch.
   */
  seek({ epoch, step, size = this.#size }: SamplerPosition): void {
    if (size !== this.#size) {
      throw new DataError(
        `expected data of ${size} examples, as the run began with, but got ${this.#size}`,
      );
    }
    if (
      !Number.isInteger(epoch) || epoch < 0 || !Number.isInteger(step) || step < 0 ||
      step > this.stepsPerEpoch
    ) {
      throw new RangeError(
        `BatchSampler: expected a position with 0 to ${this.stepsPerEpoch} steps ` +
          `but got epoch ${epoch}, step ${step}`,
      );
    }
    // The end of one pass is the beginning of the next: one place, one name.
    this.#position = step === this.stepsPerEpoch
      ? { epoch: epoch + 1, step: 0, size }
      : { epoch, step, size };
  }

  /** The next batch: this process's share of it, its shares of the parts one after the other. */
  next(): BatchPlan {
    const { epoch, step } = this.#position;
    const first = step * this.#batchSize;
    const order = this.#epochOrder(epoch);
    const positions = this.#share.map((place) => first + place);
    const indices = positions.map((position) => order[position]!);
    const flips = this.#flips(epoch, positions);
    this.seek({ epoch, step: step + 1 });
    const noise = { seed: this.#seed, epoch, positions };
    return { indices, flips, noise, epoch, step, next: this.#position };
  }

  #epochOrder(epoch: number): Uint32Array {
    if (this.#order?.epoch !== epoch) {
      const generator = sequence(this.#seed, "order", epoch);
      const order = generator.permutation(this.#size);
      const indices = this.#classes ? balanced(order, this.#classes, generator) : order;
      this.#order = { epoch, indices };
    }
    return this.#order.indices;
  }

  #flips(epoch: number, positions: readonly number[]): boolean[] {
    if (!this.#flip) return positions.map(() => false);
    const coin = sequence(this.#seed, "flip", epoch);
    return positions.map((position) => {
      coin.seek(position);
      return coin.nextUniform() < 0.5;
    });
  }
}

/** The examples of each class that has any. */
function examplesByClass(labels: ArrayLike<number>): Uint32Array[] {
  const classes = new Map<number, number[]>();
  for (let i = 0; i < labels.length; i++) {
    const of = classes.get(labels[i]!);
    if (of) of.push(i);
    else classes.set(labels[i]!, [i]);
  }
  return [...classes].sort(([a], [b]) => a - b).map(([, examples]) => Uint32Array.from(examples));
}

/**
 * A pass in which classes take turns at the places of `order`. The examples of a class come in a
 * random order, and again in another one where it has too few.
 */
function balanced(
  order: Uint32Array,
  classes: readonly Uint32Array[],
  generator: Generator,
): Uint32Array {
  const indices = new Uint32Array(order.length);
  const drawn = classes.map(() => ({ order: new Uint32Array(0), at: 0 }));
  for (let i = 0; i < order.length; i++) {
    const [examples, state] = [classes[i % classes.length]!, drawn[i % classes.length]!];
    if (state.at === state.order.length) {
      state.order = generator.permutation(examples.length);
      state.at = 0;
    }
    indices[order[i]!] = examples[state.order[state.at++]!]!;
  }
  return indices;
}
