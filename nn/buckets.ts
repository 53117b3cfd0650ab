/**
 * Gradients that several processes combine: in buckets, begun while backward still computes others
 * (Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", arXiv
 * 2006.15704, section 3.2).
 */
import type { Parameter } from "../autograd/mod.ts";
import { checkOptionNames, type HostArray, type Tensor } from "../tensor/mod.ts";
import type { AdamW } from "./adamw.ts";
import type { FlatBuffer } from "./flat.ts";

/**
 * Combines numbers of all processes, in place. Calls are begun in the same order everywhere, and
 * several are under way at once.
 */
export type ReduceFn = (values: Float32Array | Float64Array) => Promise<void>;

/** Settings of {@link GradientBuckets}. */
export interface GradientBucketsOptions {
  /**
   * Size of a bucket: 1 MiB, which stays in a processor's caches; 16 MiB where gradients are copied
   * to the host, which waits for the GPU at every copy.
   */
  bytes?: number;
}

/** A piece of a flat gradient buffer. */
interface Bucket {
  readonly buffer: FlatBuffer;
  readonly begin: number;
  readonly end: number;
  /** Parameters that have gradients in it. */
  readonly members: number;
  /** Of those, how many are not complete in the backward under way. */
  missing: number;
}

/**
 * Hands gradients to a reduction as they become complete, in the reverse order of the parameters,
 * which is about the order in which backward completes them. Pieces are cut without regard to where
 * a parameter begins, so that a large one is several buckets.
 *
 * @example
 * ```ts ignore
 * const buckets = new GradientBuckets(optimizer, (values) => world.allReduce(values));
 * backward(loss, undefined, { onGradient: buckets.begin() });
 * await buckets.finish();
 * optimizer.step();
 * ```
 */
export class GradientBuckets {
  readonly #reduce: ReduceFn;
  readonly #buffers: readonly FlatBuffer[];
  /** In the order in which they are begun. */
  readonly #buckets: readonly Bucket[];
  readonly #bucketsOf = new Map<Parameter, Bucket[]>();
  /** Buckets that were begun in the step under way. */
  #begun = 0;
  readonly #underWay: Promise<void>[] = [];
  /** Ends when the reduction of the last bucket has begun. */
  #order: Promise<void> = Promise.resolve();

  /** Gathers what an optimiser trains. */
  constructor(optimizer: AdamW, reduce: ReduceFn, options: GradientBucketsOptions = {}) {
    checkOptionNames("GradientBuckets", options, { bytes: 1 });
    const isCopied = optimizer.buffers[0]?.weights.device.backend.hostView === undefined;
    const { bytes = isCopied ? 2 ** 24 : 2 ** 20 } = options;
    const length = Math.floor(bytes / 4);
    if (!(length >= 1)) {
      throw new RangeError(`GradientBuckets: expected 4 bytes or more but got ${bytes}`);
    }
    this.#reduce = reduce;
    this.#buffers = optimizer.buffers;
    this.#buckets = [...this.#buffers].reverse().flatMap((buffer) => cut(buffer, length));
    for (const bucket of this.#buckets) {
      for (const p of membersOf(bucket)) {
        const list = this.#bucketsOf.get(p);
        if (list) list.push(bucket);
        else this.#bucketsOf.set(p, [bucket]);
      }
    }
  }

  /** Number of buckets. */
  get length(): number {
    return this.#buckets.length;
  }

  /** Begins a step; returns what the last `backward` of it is given as `onGradient`. */
  begin(): (parameter: Parameter) => void {
    for (const bucket of this.#buckets) bucket.missing = bucket.members;
    this.#begun = 0;
    return (parameter) => {
      const buckets = this.#bucketsOf.get(parameter);
      if (!buckets) return; // trained by another optimiser
      parameter.zeroGradIfMissing();
      for (const bucket of buckets) bucket.missing--;
      this.#beginComplete();
    };
  }

  /**
   * Reduces what is left (parameters that backward did not reach count as zeros), and waits until
   * every gradient is that of all processes.
   */
  async finish(): Promise<void> {
    for (const buffer of this.#buffers) buffer.completeGrads();
    for (const bucket of this.#buckets) bucket.missing = 0;
    this.#beginComplete();
    await Promise.all(this.#underWay.splice(0));
  }

  /** Begins buckets that are complete, in order. */
  #beginComplete(): void {
    for (
      let next = this.#buckets[this.#begun];
      next?.missing === 0;
      next = this.#buckets[++this.#begun]
    ) {
      const reduced = this.#reduceBucket(next);
      reduced.catch(() => {}); // reported by finish()
      this.#underWay.push(reduced);
    }
  }

  #reduceBucket({ buffer, begin, end }: Bucket): Promise<void> {
    const grads = buffer.bindGrads();
    const values = grads.device.backend.hostView?.(grads.storage.buffer, begin, end - begin);
    return values ? this.#reduce(values) : this.#reduceCopy(grads, begin, end);
  }

  /** By way of the host, where the gradients are in a memory of the device's own. */
  async #reduceCopy(grads: Tensor, begin: number, end: number): Promise<void> {
    const { storage: { buffer, dtype }, device: { backend } } = grads;
    const reading = backend.read(buffer, dtype, begin, end - begin);
    const before = this.#order;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#order = promise;
    let reduced: Promise<void>;
    let values: HostArray;
    try {
      values = await reading;
      await before;
      reduced = this.#reduce(values as Float32Array | Float64Array);
    } finally {
      resolve();
    }
    await reduced;
    backend.write(buffer, begin, values);
  }
}

/** Pieces of a buffer, the last one first. */
function cut(buffer: FlatBuffer, length: number): Bucket[] {
  const [size] = buffer.weights.shape as [number];
  return Array.from({ length: Math.ceil(size / length) }, (_, i) => {
    const begin = i * length;
    const end = Math.min(begin + length, size);
    const members = membersOf({ buffer, begin, end }).length;
    return { buffer, begin, end, members, missing: members };
  }).reverse();
}

function membersOf({ buffer, begin, end }: Pick<Bucket, "buffer" | "begin" | "end">): Parameter[] {
  return buffer.members.filter(([p, at]) => at < end && at + p.size > begin).map(([p]) => p);
}
