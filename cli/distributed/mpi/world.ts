/** A world of MPI's: COMM_WORLD of the launcher that started this process. */
import { CommandError } from "../../shared/errors.ts";
import { type Cores, ownCores, threadsFor } from "../cores.ts";
import type { Launcher } from "../launcher.ts";
import type { ReducibleArray, Reduction, World } from "../world.ts";
import type { DataType } from "./abi.ts";
import { type Order, Ring, SLOTS } from "./ring.ts";
import type { Message, Start } from "./thread.ts";

/** Bytes of one message at most: libraries count them in 32 bits with a sign. */
const MOST_BYTES = 2 ** 30;

/**
 * Milliseconds that ranks other than the first wait before they end all: where all fail alike, the
 * first says it for all.
 */
const PRECEDENCE = 1500;

/** Milliseconds for the launcher to pass the reason on: it may end ranks without reading the rest. */
const PASSING_ON = 500;

/** Milliseconds in which all ranks come to MPI's start, which has no end of its own. */
const START_PATIENCE = 300_000;

/** Milliseconds that the library has to end all ranks, before this process ends by itself. */
const ABORT_PATIENCE = 5000;

/** An order that is not done yet. */
interface Pending {
  readonly order: Order;
  /** What must not be freed until then. */
  readonly values: ReducibleArray | Uint8Array | null;
  readonly resolve: () => void;
}

/** How a world is joined. */
export interface MpiOptions {
  readonly launcher: Launcher;
  /** How long an operation may wait for other ranks, in milliseconds. */
  readonly patience: number;
  /** Gets the message where an operation has failed: no rank can go on. */
  readonly onFailure: (world: MpiWorld, message: string) => void;
  /** Bytes of one message at most. */
  readonly mostBytes?: number;
}

/** The processes of a launcher, joined. */
export class MpiWorld implements World {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly localSize: number;
  /** The lowest rank of this machine. */
  readonly machine: number;
  readonly transport: string;
  #threads: number | null = null;
  #cores: readonly Cores[] = [];
  readonly #worker: Worker;
  readonly #ring: Ring;
  get threads(): number | null {
    return this.#threads;
  }

  /** Where each rank may run. */
  get cores(): readonly Cores[] {
    return this.#cores;
  }

  /** Whether it was left. */
  get isClosed(): boolean {
    return this.#closing;
  }

  /** Orders by number, oldest first: those given to the other thread, and those to come. */
  readonly #pending: Pending[] = [];
  /** How many of them were given. */
  #given = 0;
  /** Orders that were done before those. */
  #done = 0;
  #closing = false;
  #mostBytes = MOST_BYTES;

  private constructor(worker: Worker, ring: Ring, ready: Message & { readonly kind: "ready" }) {
    [this.#worker, this.#ring] = [worker, ring];
    ({ rank: this.rank, size: this.size } = ready);
    ({ localRank: this.localRank, localSize: this.localSize } = ready);
    this.machine = ready.machine;
    this.transport = `MPI (${ready.version})`;
  }

  /**
   * Initialises MPI.
   *
   * @throws {CommandError} where its library is missing or counts other processes than the
   * launcher.
   */
  static async join({ launcher, patience, onFailure, mostBytes }: MpiOptions): Promise<MpiWorld> {
    const worker = new Worker(new URL("thread.ts", import.meta.url), { type: "module" });
    const ring = new Ring();
    const { promise, resolve, reject } = Promise.withResolvers<Message>();
    worker.onmessage = ({ data }: MessageEvent<Message>) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    worker.postMessage({ ring: ring.buffer, launcher, patience } satisfies Start);
    const late = setTimeout(() =>
      reject(
        new CommandError(
          `MPI did not start within ${START_PATIENCE / 1000} s: another rank may have ended before`,
        ),
      ), START_PATIENCE);
    const ready = await promise.finally(() => clearTimeout(late));
    if (ready.kind === "failed") throw new CommandError(ready.message);
    if (ready.kind !== "ready") throw new Error(`expected MPI to be ready but got ${ready.kind}`);
    const world = new MpiWorld(worker, ring, ready);
    world.#mostBytes = mostBytes ?? MOST_BYTES;
    worker.onmessage = ({ data }: MessageEvent<Message>) =>
      data.kind === "failed" ? onFailure(world, data.message) : world.#settle();
    worker.onerror = (event) => {
      event.preventDefault();
      onFailure(world, event.message);
    };
    // not aborted but thrown: such a world is of this process alone
    const isAlone = world.size === 1 && (launcher.rank ?? 0) > 0;
    if (isAlone || (launcher.size ?? world.size) !== world.size) {
      throw new CommandError(
        `${launcher.name} started ${
          launcher.size ?? "several"
        } processes, but ${ready.version} (${ready.path}) ` +
          `sees ${world.size}: it is not the library of this launcher. Start with its own mpirun, ` +
          `set DIT_MPI_LIBRARY to the launcher's library, or under Slurm choose how they meet ` +
          `(srun --mpi=pmix for Open MPI, --mpi=pmi2 for MPICH)`,
      );
    }
    await world.#shareCores();
    return world;
  }

  /** Shares the cores of each machine among its ranks. */
  async #shareCores(): Promise<void> {
    const own = new TextEncoder().encode(JSON.stringify(ownCores(this.machine)));
    const text = new TextDecoder();
    this.#cores = (await this.allGather(own)).map((bytes) => JSON.parse(text.decode(bytes)));
    this.#threads = threadsFor(this.rank, this.#cores);
  }

  allReduce(values: ReducibleArray, reduction: Reduction = "sum"): Promise<void> {
    const type = dataTypeOf(values);
    return this.#inParts(
      values,
      (address, count) => ({ operation: "allReduce", address, count, type, reduction }),
    );
  }

  broadcast(bytes: Uint8Array, root = 0): Promise<void> {
    return this.#inParts(
      bytes,
      (address, count) => ({ operation: "broadcast", address, count, root }),
    );
  }

  async allGather(bytes: Uint8Array): Promise<Uint8Array[]> {
    const own = bytes.slice(); // they may change before the others come to them
    const lengths = new Float64Array(this.size);
    lengths[this.rank] = own.length;
    await this.allReduce(lengths);
    const all = Array.from(
      lengths,
      (length, rank) => rank === this.rank ? own : new Uint8Array(length),
    );
    await Promise.all(all.map((its, rank) => this.broadcast(its, rank)));
    return all;
  }

  barrier(): Promise<void> {
    return this.#order({ operation: "barrier" }, null);
  }

  abort(reason: string, code: number): never {
    if (this.rank > 0) this.#ring.rest(PRECEDENCE);
    console.error(`rank ${this.rank} of ${this.size}: ${reason}`);
    this.#ring.rest(PASSING_ON);
    this.#ring.abort(code);
    this.#ring.rest(ABORT_PATIENCE);
    Deno.exit(code);
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    const closed = this.#order({ operation: "finalize" }, null);
    this.#closing = true;
    await closed;
    this.#worker.terminate();
  }

  /** Orders an operation on an array, in parts that a library can count. */
  async #inParts(
    values: ReducibleArray | Uint8Array,
    orderOf: (address: bigint, count: number) => Order,
  ): Promise<void> {
    if (values.length === 0) return;
    const { BYTES_PER_ELEMENT, length } = values;
    const view = values as typeof values & ArrayBufferView<ArrayBuffer>; // or of shared memory
    const first = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(view)));
    const most = this.#mostBytes / BYTES_PER_ELEMENT;
    const parts: Promise<void>[] = [];
    for (let begin = 0; begin < length; begin += most) {
      const address = first + BigInt(begin * BYTES_PER_ELEMENT);
      parts.push(this.#order(orderOf(address, Math.min(most, length - begin)), values));
    }
    await Promise.all(parts);
  }

  #order(order: Order, values: Pending["values"]): Promise<void> {
    if (this.#closing) throw new Error("the world is closed");
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#pending.push({ order, values, resolve });
    this.#give();
    return promise;
  }

  /** Hands over as many orders as there are slots for. */
  #give(): void {
    for (; this.#given < Math.min(this.#pending.length, SLOTS); this.#given++) {
      this.#ring.give(this.#done + this.#given, this.#pending[this.#given]!.order);
    }
  }

  /** Takes note of the orders that are done. */
  #settle(): void {
    const count = (this.#ring.done - this.#done) | 0;
    for (const { resolve } of this.#pending.splice(0, count)) resolve();
    this.#done = (this.#done + count) | 0;
    this.#given -= count;
    this.#give();
  }
}

function dataTypeOf(values: ReducibleArray): DataType {
  if (values instanceof Float32Array) return "float32";
  return values instanceof Float64Array ? "float64" : "int32";
}
