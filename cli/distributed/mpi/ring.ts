/**
 * Orders from the thread that computes to the one that communicates, in memory that both see: the
 * communicating thread takes them in order, also while the other computes without a pause.
 */
import type { Reduction } from "../world.ts";
import type { DataType } from "./abi.ts";

/** Orders that can be under way at once. */
export const SLOTS = 256;

/** What is ordered. */
export type Order =
  | {
    readonly operation: "allReduce";
    readonly address: bigint;
    readonly count: number;
    readonly type: DataType;
    readonly reduction: Reduction;
  }
  | {
    readonly operation: "broadcast";
    readonly address: bigint;
    readonly count: number;
    readonly root: number;
  }
  | { readonly operation: "barrier" }
  | { readonly operation: "finalize" };

const OPERATIONS = ["allReduce", "broadcast", "barrier", "finalize"] as const;
const TYPES: readonly DataType[] = ["float32", "float64", "int32", "byte"];
const REDUCTIONS: readonly Reduction[] = ["sum", "min", "max"];

/** Numbers of an order: operation, address, count, type, and reduction or root. */
const FIELDS = 5;

/** Where the counters are: orders given and done, an exit code + 1, and one that never changes. */
const [BEGUN, DONE, ABORT, NEVER] = [0, 1, 2, 3] as const;

/** The counters and the orders. */
export class Ring {
  readonly buffer: SharedArrayBuffer;
  readonly #counters: Int32Array;
  readonly #orders: BigInt64Array;

  /** @param buffer That of the other thread; a new one by default. */
  constructor(buffer = new SharedArrayBuffer(16 + SLOTS * 8 * FIELDS)) {
    this.buffer = buffer;
    this.#counters = new Int32Array(buffer, 0, 4);
    this.#orders = new BigInt64Array(buffer, 16, SLOTS * FIELDS);
  }

  /** Orders that were carried out so far; wraps around at 2^32. */
  get done(): number {
    return Atomics.load(this.#counters, DONE);
  }

  /** Gives the order of number `index`, which has a slot of its own. */
  give(index: number, order: Order): void {
    const { operation } = order;
    const fields = this.#orders.subarray(slotOf(index) * FIELDS);
    fields[0] = BigInt(OPERATIONS.indexOf(operation));
    if (operation === "allReduce" || operation === "broadcast") {
      fields[1] = order.address;
      fields[2] = BigInt(order.count);
    }
    if (operation === "allReduce") {
      fields[3] = BigInt(TYPES.indexOf(order.type));
      fields[4] = BigInt(REDUCTIONS.indexOf(order.reduction));
    } else if (operation === "broadcast") {
      fields[4] = BigInt(order.root);
    }
    Atomics.store(this.#counters, BEGUN, (index + 1) | 0);
    Atomics.notify(this.#counters, BEGUN);
  }

  /** The exit code that all ranks are to end with at once; null while there is none. */
  get aborted(): number | null {
    const code = Atomics.load(this.#counters, ABORT);
    return code === 0 ? null : code - 1;
  }

  /** Asks the communicating thread to end all ranks. */
  abort(code: number): void {
    Atomics.store(this.#counters, ABORT, code + 1);
    Atomics.notify(this.#counters, BEGUN);
  }

  /** Sleeps. */
  rest(milliseconds: number): void {
    Atomics.wait(this.#counters, NEVER, 0, milliseconds);
  }

  /** Waits for the order of number `index`, without using the processor; null for an abort. */
  take(index: number): Order | null {
    while (Atomics.load(this.#counters, BEGUN) === index) {
      if (this.aborted !== null) return null;
      Atomics.wait(this.#counters, BEGUN, index);
    }
    const [operation, address, count, type, last] = this.#orders.subarray(slotOf(index) * FIELDS);
    const name = OPERATIONS[Number(operation)]!;
    if (name === "barrier" || name === "finalize") return { operation: name };
    const data = { address: address!, count: Number(count) };
    if (name === "broadcast") return { operation: name, ...data, root: Number(last) };
    return {
      operation: name,
      ...data,
      type: TYPES[Number(type)]!,
      reduction: REDUCTIONS[Number(last)]!,
    };
  }

  /** Notes that the order of number `index` is done. */
  finish(index: number): void {
    Atomics.store(this.#counters, DONE, (index + 1) | 0);
  }
}

function slotOf(index: number): number {
  return (index >>> 0) % SLOTS;
}
