import type { Dataset, Examples } from "./dataset.ts";
import type { BatchPlan, BatchSampler, SamplerPosition } from "./sampler.ts";

/** A batch and where it comes from. */
export interface Batch extends Examples, BatchPlan {}

/** How far a loader reads ahead. */
export interface LoaderOptions {
  /** Batches that are read, or being read, before they are asked for; 4 by default. */
  readonly prefetch?: number;
}

/**
 * Reads batches ahead of their use, in the background, so that the device does not wait for them.
 * It never ends: passes follow each other.
 *
 * @example
 * ```ts ignore
 * await using loader = new Loader(dataset, new BatchSampler({ size: dataset.size, batchSize: 64 }));
 * for (let step = 0; step < 1000; step++) {
 *   const { images, labels } = await loader.next();
 * }
 * save(loader.position); // what a sampler continues from
 * ```
 */
export class Loader implements AsyncDisposable {
  readonly #dataset: Dataset;
  readonly #sampler: BatchSampler;
  readonly #prefetch: number;
  readonly #queue: Promise<Batch>[] = [];
  #position: SamplerPosition;
  #waitSeconds = 0;
  #closed = false;

  /** Starts to read. The sampler is the loader's from then on. */
  constructor(dataset: Dataset, sampler: BatchSampler, { prefetch = 4 }: LoaderOptions = {}) {
    if (!Number.isInteger(prefetch) || prefetch < 1) {
      throw new RangeError(`Loader: expected to prefetch 1 batch or more but got ${prefetch}`);
    }
    this.#dataset = dataset;
    this.#sampler = sampler;
    this.#prefetch = prefetch;
    this.#position = sampler.position;
    this.#fill();
  }

  /** Where to continue after the batches that were handed out: what a checkpoint stores. */
  get position(): SamplerPosition {
    return this.#position;
  }

  /** How long `next()` has waited for data so far, in seconds. */
  get waitSeconds(): number {
    return this.#waitSeconds;
  }

  /**
   * The next batch.
   *
   * @throws Whatever reading it threw.
   */
  async next(): Promise<Batch> {
    if (this.#closed) throw new Error("Loader: next() after close()");
    const start = performance.now();
    try {
      const batch = await this.#queue.shift()!;
      this.#position = batch.next;
      return batch;
    } finally {
      this.#waitSeconds += (performance.now() - start) / 1000;
      this.#fill();
    }
  }

  /** Stops reading ahead, once what is under way has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#queue.splice(0));
  }

  /** Closes the loader, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #fill(): void {
    while (!this.#closed && this.#queue.length < this.#prefetch) {
      const plan = this.#sampler.next();
      // After a task of its own, so that the consumer continues before the next read starts.
      const batch = new Promise((resolve) => setTimeout(resolve, 0))
        .then(() => this.#dataset.read(plan.indices, plan))
        .then((examples): Batch => ({ ...plan, ...examples }));
      batch.catch(() => {}); // it is reported when its turn comes
      this.#queue.push(batch);
    }
  }
}
