/**
 * The thread that communicates: it alone calls MPI, so that a library with the least support of
 * threads will do, and goes on while the thread that computes does not look up.
 *
 * MPI's own ways of waiting keep a processor busy. With ranks on all of them that is a processor
 * which another rank needs to arrive: on two busy cores, all-reduces of 1 MB took 31 ms that way
 * and 1.5 ms with pauses. So operations are begun without waiting, and asked after.
 */
import { messageOf } from "../../shared/errors.ts";
import type { Launcher } from "../launcher.ts";
import { type MpiLibrary, openLibrary, TIMEOUT_VARIABLE } from "./library.ts";
import { type Order, Ring } from "./ring.ts";

/** What the computing thread says first. */
export interface Start {
  readonly ring: SharedArrayBuffer;
  readonly launcher: Launcher;
  /** How long an operation may wait for other ranks, in milliseconds. */
  readonly patience: number;
}

/** What this thread says: where it stands, that orders are done, or why it cannot go on. */
export type Message =
  | {
    readonly kind: "ready";
    readonly rank: number;
    readonly size: number;
    readonly localRank: number;
    readonly localSize: number;
    /** The lowest rank of this machine. */
    readonly machine: number;
    readonly version: string;
    readonly path: string;
  }
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly message: string };

/** Milliseconds in which an operation is asked after without a pause: most are through by then. */
const EAGER = 0.03;

/** Milliseconds of a pause; systems make about 0.1 of it. */
const PAUSE = 0.05;

/**
 * Milliseconds that an operation takes by itself at most, where no rank is late: some, and those of
 * its bytes at 100 MB/s. From then on it waits for other ranks, and pauses grow with what it has
 * waited: with short ones, a rank that waits takes a quarter of a processor.
 */
const promptly = (bytes: number): number => 5 + bytes / 1e5;

/** Milliseconds of a pause at most. */
const LONGEST_PAUSE = 2;

/** MPI as the communicating thread uses it. */
class Communicator {
  readonly #library: MpiLibrary;
  readonly #ring: Ring;
  readonly #patience: number;
  readonly #request = new Uint8Array(8);
  readonly #flag = new Int32Array(1);
  readonly #status = new Uint8Array(64); // larger than that of any library

  constructor(library: MpiLibrary, ring: Ring, patience: number) {
    [this.#library, this.#ring, this.#patience] = [library, ring, patience];
  }

  /** Initialises MPI; returns this process's place. */
  init(): Message {
    const { symbols, abi, version, path } = this.#library;
    const got = new Int32Array(1);
    this.#check("MPI_Init_thread", symbols.MPI_Init_thread(null, null, abi.threadFunneled, got));
    this.#check(
      "MPI_Comm_set_errhandler",
      symbols.MPI_Comm_set_errhandler(abi.commWorld, abi.errorsReturn),
    );
    const machine = new Uint8Array(8); // a handle, which takes half of it in MPICH
    this.#check(
      "MPI_Comm_split_type",
      symbols.MPI_Comm_split_type(abi.commWorld, abi.commTypeShared, 0, abi.infoNull, machine),
    );
    const local = new BigUint64Array(machine.buffer)[0]!;
    const rank = this.#number("MPI_Comm_rank", abi.commWorld);
    return {
      kind: "ready",
      rank,
      machine: this.#lowest(rank, local),
      size: this.#number("MPI_Comm_size", abi.commWorld),
      localRank: this.#number("MPI_Comm_rank", local),
      localSize: this.#number("MPI_Comm_size", local),
      version,
      path,
    };
  }

  /** Carries out orders until one of them is the last. */
  run(): void {
    for (let index = 0;; index = (index + 1) | 0) {
      const order = this.#ring.take(index);
      if (order === null) return this.#abort();
      this.#carryOut(order);
      this.#ring.finish(index);
      say({ kind: "done" });
      if (order.operation === "finalize") return;
    }
  }

  /** After a failure: nothing is left to do but to end all ranks, once that is asked for. */
  awaitAbort(): void {
    while (this.#ring.aborted === null) this.#ring.rest(100);
    this.#abort();
  }

  /** The least of numbers of the processes of a communicator. */
  #lowest(own: number, communicator: bigint): number {
    const { symbols, abi: { inPlace, types, ops } } = this.#library;
    const value = Int32Array.of(own);
    const address = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(value)));
    this.#check(
      "MPI_Iallreduce",
      symbols.MPI_Iallreduce(
        inPlace,
        address,
        1,
        types.int32,
        ops.min,
        communicator,
        this.#request,
      ),
    );
    this.#wait({ operation: "barrier" });
    return value[0]!;
  }

  #carryOut(order: Order): void {
    if (order.operation === "finalize") {
      // MPI_Finalize would keep a processor busy until the last rank is through
      this.#check("MPI_Ibarrier", this.#begin({ operation: "barrier" }));
      this.#wait(order);
      this.#check("MPI_Finalize", this.#library.symbols.MPI_Finalize());
    } else {
      this.#check(order.operation, this.#begin(order));
      this.#wait(order);
    }
  }

  #begin(order: Exclude<Order, { operation: "finalize" }>): number {
    const { symbols, abi } = this.#library;
    switch (order.operation) {
      case "allReduce": {
        const { address, count, type, reduction } = order;
        return symbols.MPI_Iallreduce(
          abi.inPlace,
          address,
          count,
          abi.types[type],
          abi.ops[reduction],
          abi.commWorld,
          this.#request,
        );
      }
      case "broadcast": {
        const { address, count, root } = order;
        const { types: { byte }, commWorld } = abi;
        return symbols.MPI_Ibcast(address, count, byte, root, commWorld, this.#request);
      }
      case "barrier":
        return symbols.MPI_Ibarrier(abi.commWorld, this.#request);
    }
  }

  #wait(order: Order): void {
    const { symbols } = this.#library;
    const prompt = promptly("count" in order ? order.count * 8 : 0);
    const start = performance.now();
    for (let since = start;;) {
      this.#check(order.operation, symbols.MPI_Test(this.#request, this.#flag, this.#status));
      if (this.#flag[0] !== 0) return;
      if (this.#ring.aborted !== null) this.#abort();
      const now = performance.now();
      if (now - since < EAGER) continue;
      const hasGivenUp = now - start > this.#patience && order.operation !== "finalize";
      if (hasGivenUp) this.#giveUp(order, now - start);
      const late = now - start > prompt;
      this.#ring.rest(late ? Math.min((now - start) / 20, LONGEST_PAUSE) : PAUSE);
      since = performance.now();
    }
  }

  #giveUp({ operation }: Order, waited: number): never {
    throw new Error(
      `waited ${Math.round(waited / 1000)} s for the other ranks (${operation}): one of them ` +
        `hangs, or has more to do than ${TIMEOUT_VARIABLE} allows, in seconds`,
    );
  }

  #abort(): void {
    this.#library.symbols.MPI_Abort(this.#library.abi.commWorld, this.#ring.aborted ?? 1);
  }

  #number(name: "MPI_Comm_rank" | "MPI_Comm_size", communicator: bigint): number {
    const value = new Int32Array(1);
    this.#check(name, this.#library.symbols[name](communicator, value));
    return value[0]!;
  }

  #check(name: string, code: number): void {
    if (code === 0) return;
    const text = new Uint8Array(1024);
    const length = new Int32Array(1);
    this.#library.symbols.MPI_Error_string(code, text, length);
    throw new Error(`${name}: ${new TextDecoder().decode(text.subarray(0, length[0]))}`);
  }
}

/** This thread, as the one that started it sees it. */
const scope = self as unknown as {
  onmessage: (event: MessageEvent<Start>) => void;
  postMessage(message: Message): void;
  close(): void;
};

function say(message: Message): void {
  scope.postMessage(message);
}

scope.onmessage = ({ data: { ring, launcher, patience } }) => {
  let communicator: Communicator | undefined;
  try {
    const library = openLibrary(launcher, (name) => Deno.env.get(name));
    communicator = new Communicator(library, new Ring(ring), patience);
    say(communicator.init());
    communicator.run();
  } catch (error) {
    say({ kind: "failed", message: messageOf(error) });
    communicator?.awaitAbort();
  }
  scope.close();
};
