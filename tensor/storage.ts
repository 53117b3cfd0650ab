import type { Backend } from "./backend.ts";
import type { DeviceBuffer } from "./view.ts";
import { type DType, DTYPE_BYTES } from "./dtype.ts";
import { UseAfterFreeError } from "./errors.ts";

/** What `memory()` reports of one device. */
export interface MemoryStats {
  /** Bytes that live tensors hold (a storage shared by views counts once). */
  liveBytes: number;
  /** The most that `liveBytes` has been since the start or the last `resetPeak()`. */
  peakBytes: number;
  /** Tensor handles that are not disposed of. */
  tensors: number;
  /** Storages that are not freed. */
  storages: number;
}

/** Live counts of one device. */
export class MemoryLedger implements MemoryStats {
  liveBytes = 0;
  peakBytes = 0;
  tensors = 0;
  storages = 0;

  /** Counts a storage of `bytes` in. */
  allocated(bytes: number): void {
    this.storages++;
    this.liveBytes += bytes;
    if (this.liveBytes > this.peakBytes) this.peakBytes = this.liveBytes;
  }
  /** Counts a storage of `bytes` out. */
  freed(bytes: number): void {
    this.storages--;
    this.liveBytes -= bytes;
  }
}

/** A device in use: its backend and what tensors hold on it. */
export interface Device {
  /** What `init({ device })` calls it. */
  readonly name: Backend["name"];
  /** What does the work. */
  readonly backend: Backend;
  /** What live tensors hold here. */
  readonly ledger: MemoryLedger;
}

/** Smallest and largest of integers that came from the host, so that indices need no read-back. */
export interface IndexRange {
  /** No element is below. */
  readonly min: number;
  /** No element is above. */
  readonly max: number;
}

let made = 0;

/**
 * Reference-counted device memory. Tensors that view the same elements share one; so do the nodes
 * of a tape that need them for backward. It is freed when the last holder lets go.
 */
export class Storage {
  #holders = 1;
  #buffer: DeviceBuffer | null;
  /** Its number: storages that are made later have higher ones. */
  readonly serial: number = ++made;
  /** Known for integers uploaded from the host; every view lies within. */
  range: IndexRange | null = null;
  /** Times the elements were changed in place; a tape checks that what it saved is unchanged. */
  version = 0;

  /** Memory for `length` elements, contents undefined, held once. `op` is named if memory runs out. */
  constructor(readonly device: Device, readonly dtype: DType, readonly length: number, op: string) {
    const bytes = length * DTYPE_BYTES[dtype];
    this.#buffer = device.backend.alloc(bytes, op);
    device.ledger.allocated(bytes);
  }

  /** Number of the storage that was made last. */
  static get lastSerial(): number {
    return made;
  }

  /** Size of all its elements. */
  get bytes(): number {
    return this.length * DTYPE_BYTES[this.dtype];
  }

  /** The device's own block. Throws {@link UseAfterFreeError} once nothing holds the storage. */
  get buffer(): DeviceBuffer {
    if (!this.#buffer) throw new UseAfterFreeError("storage used after its last holder let go");
    return this.#buffer;
  }

  /** Whether this is the only holder of the storage. */
  get exclusive(): boolean {
    return this.#holders === 1;
  }

  /** Adds a holder. */
  retain(): this {
    if (this.#holders === 0) throw new UseAfterFreeError("storage retained after it was freed");
    this.#holders++;
    return this;
  }

  /** Takes a holder off; the last one frees the memory. */
  release(): void {
    if (this.#holders === 0) throw new UseAfterFreeError("storage released more often than held");
    if (--this.#holders > 0) return;
    this.device.backend.free(this.#buffer!);
    this.#buffer = null;
    this.device.ledger.freed(this.bytes);
  }
}
