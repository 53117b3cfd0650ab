/** GPU memory in size classes, so that a warmed-up loop creates no buffer. */
import type { DeviceBuffer } from "../../view.ts";
import { DeviceError, OutOfMemoryError, UseAfterFreeError } from "../../errors.ts";
import { Arena } from "./arena.ts";
import { Block } from "./block.ts";
import type { Faults } from "./faults.ts";
import { FreeBlocks } from "./free_blocks.ts";

/** A block on loan to one storage. */
export class GpuBuffer implements DeviceBuffer {
  #block: Block | null;

  constructor(block: Block, readonly bytes: number) {
    this.#block = block;
  }

  /** The block; throws once the buffer has been freed. */
  get block(): Block {
    if (this.#block === null) throw new UseAfterFreeError("a freed GPU buffer was used");
    return this.#block;
  }

  /** Takes the block back. */
  release(): Block {
    const block = this.block;
    this.#block = null;
    return block;
  }
}

const SMALLEST = 256;
/** Smaller blocks are created rather than reclaimed from recordings. */
const RECLAIMED_FROM = 2 ** 20;

/**
 * The size really allocated for `bytes`: a power of two or one of three (from 1 MiB on, seven)
 * even steps up to the next, so that nearby sizes share blocks and at most a quarter is wasted.
 */
export function sizeClass(bytes: number): number {
  if (bytes <= SMALLEST) return SMALLEST;
  const power = 2 ** Math.floor(Math.log2(bytes));
  const step = Math.max(SMALLEST, power / (power >= 2 ** 20 ? 8 : 4));
  return Math.ceil(bytes / step) * step;
}

/**
 * Buffers by size class. A freed block may be taken at once: commands run in the order they were
 * recorded, so work of the former owner is done before the new owner's begins.
 */
export class BufferPool {
  /** Buffers taken from the system since the start. */
  allocations = 0;
  /** Bytes held from the system, free blocks included. */
  reservedBytes = 0;
  #usedBytes = 0;
  #peakUsedBytes = 0;
  #nextId = 0;
  readonly #free = new FreeBlocks();
  /** Arenas that have blocks of this pool. */
  readonly arenas: Set<Arena> = new Set();
  /** What blocks are taken from first, and set aside for. */
  #arena: Arena | null = null;

  constructor(
    readonly device: GPUDevice,
    readonly faults: Faults,
    /** Free blocks may fill this much, or as much as was ever in use, whichever is more. */
    readonly freeBytesCap: number,
  ) {}

  alloc(bytes: number, op: string): GpuBuffer {
    const limit = Math.floor(this.device.limits.maxBufferSize / 16) * 16;
    if (!(bytes <= limit)) {
      throw new OutOfMemoryError(
        `${op}: expected at most ${limit} bytes in one buffer of this GPU but got ${bytes}`,
      );
    }
    const size = Math.min(sizeClass(bytes), limit);
    const block = this.#arena?.take(size) ?? this.#take(size, op);
    block.loans++;
    return new GpuBuffer(block, bytes);
  }

  #take(size: number, op: string): Block {
    const block = this.#free.take(size) ?? this.#reclaim(size) ?? this.#create(size, op);
    this.#usedBytes += size;
    this.#peakUsedBytes = Math.max(this.#peakUsedBytes, this.#usedBytes);
    this.#arena?.add(block);
    return block;
  }

  /**
   * A block of memory that recordings have and do not need at the moment, so that they take no more
   * than what they recorded would: a model's activations, say, between two steps. Not for another
   * recording, or two would take it from each other for ever.
   */
  #reclaim(size: number): Block | undefined {
    if (this.#arena || size < RECLAIMED_FROM) return undefined;
    for (const arena of this.arenas) if (arena.isUnneeded) arena.clear();
    return this.#free.take(size);
  }

  /** Memory for recordings. */
  newArena(): Arena {
    return new Arena(this);
  }

  /** Sets the blocks that `run` is lent aside in `arena`; those that it has are lent first. */
  within(arena: Arena, run: () => void): void {
    const before = this.#arena;
    this.#arena = arena;
    try {
      run();
    } finally {
      this.#arena = before;
    }
  }

  #create(size: number, op: string): Block {
    const { device } = this;
    device.pushErrorScope("validation");
    device.pushErrorScope("out-of-memory");
    const gpu = device.createBuffer({
      label: op,
      size,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    // Some systems report an allocation that does not fit as a validation error.
    for (let scope = 0; scope < 2; scope++) {
      device.popErrorScope().then((error) => {
        if (error === null) return;
        this.faults.add(
          new OutOfMemoryError(`${op}: the GPU could not allocate ${size} bytes: ${error.message}`),
        );
      }, () => {/* The device is lost, which the next call reports. */});
    }
    this.allocations++;
    this.reservedBytes += size;
    return new Block(this.#nextId++, gpu, size);
  }

  free(buffer: DeviceBuffer): void {
    const block = gpuBuffer(buffer).release();
    block.loans++;
    if (block.holder) block.holder.put(block);
    else this.put(block);
  }

  /** Takes a free block back. */
  put(block: Block): void {
    this.#usedBytes -= block.size;
    this.#free.put(block);
  }

  /** Whether free blocks take more than they may. */
  get overfull(): boolean {
    const free = this.reservedBytes - this.#usedBytes;
    return free > Math.max(this.freeBytesCap, this.#peakUsedBytes);
  }

  /**
   * Gives free blocks back to the system until they fit the cap, those idle longest first. No
   * command that uses them may be recorded and not yet submitted.
   */
  trim(): void {
    if (!this.overfull) return;
    const idle = [...this.#free].sort((a, b) => a.batch - b.batch);
    for (const block of idle) {
      if (!this.overfull) break;
      this.#free.remove(block);
      this.reservedBytes -= block.size;
      block.destroy();
    }
  }

  /** Destroys every free block; those on loan go with the device. */
  dispose(): void {
    for (const block of [...this.#free]) {
      this.#free.remove(block);
      this.reservedBytes -= block.size;
      block.destroy();
    }
  }
}

/** `buffer` as this backend's kind. */
export function gpuBuffer(buffer: DeviceBuffer): GpuBuffer {
  if (buffer instanceof GpuBuffer) return buffer;
  throw new DeviceError("expected a buffer of the WebGPU device but got one of another device");
}
