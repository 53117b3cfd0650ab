/** A world of MPI's: COMM_WORLD of the launcher that started this process. */
import { CommandError } from "../../shared/errors.ts";
import type { Launcher } from "../launcher.ts";
import type { ReducibleArray, Reduction, World } from "../world.ts";
import type { DataType } from "./abi.ts";
import type { MpiLibrary } from "./library.ts";

/** Bytes of one message at most: libraries count them in 32 bits with a sign. */
const MOST_BYTES = 2 ** 30;

/** Joins the processes of a launcher. */
export class MpiWorld implements World {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly localSize: number;
  readonly transport: string;
  readonly #library: MpiLibrary;
  /** The operation that was begun last: the next one waits for it, in the same order everywhere. */
  #last: Promise<void> = Promise.resolve();
  #closed = false;

  /**
   * Initialises MPI.
   *
   * @throws {CommandError} where it has no threads, or where the launcher counts other processes.
   */
  constructor(library: MpiLibrary, launcher: Launcher) {
    this.#library = library;
    const { symbols, abi } = library;
    const got = new Int32Array(1);
    this.#check(symbols.MPI_Init_thread(null, null, abi.threads.multiple, got), "MPI_Init_thread");
    this.#check(
      symbols.MPI_Comm_set_errhandler(abi.commWorld, abi.errorsReturn),
      "MPI_Comm_set_errhandler",
    );
    if (got[0]! < abi.threads.serialized) {
      throw new CommandError(
        `${library.version} (${library.path}) was built without threads: expected at least ` +
          `MPI_THREAD_SERIALIZED but got level ${got[0]}`,
      );
    }
    this.transport = `MPI (${library.version})`;
    this.rank = this.#number("MPI_Comm_rank", abi.commWorld);
    this.size = this.#number("MPI_Comm_size", abi.commWorld);
    const machine = new BigUint64Array(1);
    this.#check(
      symbols.MPI_Comm_split_type(
        abi.commWorld,
        abi.commTypeShared,
        0,
        abi.infoNull,
        new Uint8Array(machine.buffer),
      ),
      "MPI_Comm_split_type",
    );
    this.localRank = this.#number("MPI_Comm_rank", machine[0]!);
    this.localSize = this.#number("MPI_Comm_size", machine[0]!);
    if (launcher.size !== null && launcher.size !== this.size) {
      throw new CommandError(
        `${launcher.name} started ${launcher.size} processes, but ${library.version} ` +
          `(${library.path}) sees ${this.size}: it is not the library of this launcher. Use its ` +
          `own mpirun, set DIT_MPI_LIBRARY to the right library, or under Slurm choose how they ` +
          `meet (srun --mpi=pmix for Open MPI, --mpi=pmi2 for MPICH)`,
      );
    }
  }

  allReduce(values: ReducibleArray, reduction: Reduction = "sum"): Promise<void> {
    const { symbols, abi } = this.#library;
    const type = abi.types[dataTypeOf(values)];
    return this.#parts(
      values,
      (pointer, count) =>
        symbols.MPI_Allreduce(abi.inPlace, pointer, count, type, abi.ops[reduction], abi.commWorld),
      "MPI_Allreduce",
    );
  }

  broadcast(bytes: Uint8Array, root = 0): Promise<void> {
    const { symbols, abi } = this.#library;
    return this.#parts(
      bytes,
      (pointer, count) => symbols.MPI_Bcast(pointer, count, abi.types.byte, root, abi.commWorld),
      "MPI_Bcast",
    );
  }

  async allGather(bytes: Uint8Array): Promise<Uint8Array[]> {
    const lengths = new Float64Array(this.size);
    lengths[this.rank] = bytes.length;
    await this.allReduce(lengths);
    const all = Array.from(
      lengths,
      (length, rank) => rank === this.rank ? bytes.slice() : new Uint8Array(length),
    );
    await Promise.all(all.map((its, rank) => this.broadcast(its, rank)));
    return all;
  }

  barrier(): Promise<void> {
    const { symbols, abi } = this.#library;
    return this.#queue(async () =>
      this.#check(await symbols.MPI_Barrier(abi.commWorld), "MPI_Barrier")
    );
  }

  abort(reason: string, code: number): never {
    this.#closed = true;
    console.error(`rank ${this.rank} of ${this.size}: ${reason}`);
    this.#library.symbols.MPI_Abort(this.#library.abi.commWorld, code);
    Deno.exit(code);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#queue(async () =>
      this.#check(await this.#library.symbols.MPI_Finalize(), "MPI_Finalize")
    );
    this.#closed = true;
  }

  /** Runs an operation on an array, in parts that a library can count. */
  #parts(
    values: ReducibleArray | Uint8Array,
    operation: (pointer: Deno.PointerValue, count: number) => Promise<number>,
    name: string,
  ): Promise<void> {
    const most = MOST_BYTES / values.BYTES_PER_ELEMENT;
    return this.#queue(async () => {
      for (let begin = 0; begin < values.length; begin += most) {
        const part = values.subarray(begin, begin + most);
        // the view keeps its memory where it is until the operation is through
        const pointer = Deno.UnsafePointer.of(part as typeof part & ArrayBufferView<ArrayBuffer>);
        this.#check(await operation(pointer, part.length), name);
      }
    });
  }

  #queue(operation: () => Promise<void>): Promise<void> {
    if (this.#closed) throw new Error("the world is closed");
    const next = this.#last.then(operation);
    this.#last = next.catch(() => {});
    return next;
  }

  #number(name: "MPI_Comm_rank" | "MPI_Comm_size", communicator: bigint): number {
    const value = new Int32Array(1);
    this.#check(this.#library.symbols[name](communicator, value), name);
    return value[0]!;
  }

  #check(code: number, name: string): void {
    if (code === 0) return;
    const text = new Uint8Array(1024);
    const length = new Int32Array(1);
    this.#library.symbols.MPI_Error_string(code, text, length);
    throw new CommandError(`${name}: ${new TextDecoder().decode(text.subarray(0, length[0]))}`);
  }
}

function dataTypeOf(values: ReducibleArray): DataType {
  if (values instanceof Float32Array) return "float32";
  return values instanceof Float64Array ? "float64" : "int32";
}
