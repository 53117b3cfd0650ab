/**
 * The processes ("ranks") that work on one command. Each computes its share; what they tell each
 * other goes through here. A command that was started alone is a world of one, for which nothing is
 * loaded and every operation is the identity.
 */

/** What values of several ranks are combined with. */
export type Reduction = "sum" | "min" | "max";

/** Numbers that ranks can combine. */
export type ReducibleArray = Float32Array | Float64Array | Int32Array;

/**
 * All ranks and this one's place among them. Its operations are collective: every rank calls the
 * same ones, in the same order, with arrays of the same length.
 */
export interface World {
  /** This process, 0 to `size` - 1. Rank 0 writes what is written once, and speaks for all. */
  readonly rank: number;
  /** How many there are. */
  readonly size: number;
  /** This process among those of its machine, 0 to `localSize` - 1. */
  readonly localRank: number;
  /** How many of them run on this machine. */
  readonly localSize: number;
  /** The lowest rank of this machine, which ranks of other machines do not have. */
  readonly machine: number;
  /** Threads for this process on the CPU, its share of the machine; null for as many as it has. */
  readonly threads: number | null;
  /** What it runs under: `MPI (Open MPI 4.1.4)`; null for a world of one. */
  readonly transport: string | null;
  /**
   * Combines `values` over all ranks, in place; all get the same bits. The array must not be
   * touched until then; several may be under way at once, begun in the same order everywhere.
   */
  allReduce(values: ReducibleArray, reduction?: Reduction): Promise<void>;
  /** Overwrites `bytes` with those of `root`. */
  broadcast(bytes: Uint8Array, root?: number): Promise<void>;
  /** The bytes of every rank, by rank; their lengths may differ. */
  allGather(bytes: Uint8Array): Promise<Uint8Array[]>;
  /** Waits until every rank is here. */
  barrier(): Promise<void>;
  /** Ends all ranks at once, with this exit code, because this one cannot go on. */
  abort(reason: string, code: number): never;
  /** Leaves the world at the end of a command; after it no operation is allowed. */
  close(): Promise<void>;
}

/** The world of a process that was started alone. */
export const ALONE: World = {
  rank: 0,
  size: 1,
  localRank: 0,
  localSize: 1,
  machine: 0,
  threads: null,
  transport: null,
  allReduce: () => Promise.resolve(),
  broadcast: () => Promise.resolve(),
  allGather: (bytes) => Promise.resolve([bytes]),
  barrier: () => Promise.resolve(),
  abort(reason: string, code: number): never {
    console.error(reason);
    Deno.exit(code);
  },
  close: () => Promise.resolve(),
};
