/**
 * Which storage bindings the views of a launch get: each its own, or a shared one where the launch
 * writes the view's block (a block may not be bound twice when one binding writes).
 */
import { viewBytes } from "../../view.ts";
import { DTYPE_BYTES } from "../../dtype.ts";
import { DeviceError } from "../../errors.ts";
import type { Block } from "./block.ts";
import type { Dispatch } from "./dispatch.ts";
import { MAX_VIEWS } from "./pipelines.ts";
import { gpuBuffer } from "./pool.ts";

/** The bindings of the launch that `assign` was last called for. */
export class Bindings {
  /** Number of bindings. */
  count = 0;
  /** By binding: the block, and the bytes of it to bind. */
  readonly blocks: Block[] = [];
  readonly starts: number[] = [];
  readonly sizes: number[] = [];
  /** By view: its binding. */
  readonly slots: number[] = [];
  #serial = 0;

  constructor(
    /** `minStorageBufferOffsetAlignment`. */
    readonly align: number,
    /** Bytes of one buffer that a shader can see at once. */
    readonly maxBindingBytes: number,
  ) {}

  /** Finds the bindings of `d`. */
  assign(d: Dispatch): void {
    const serial = ++this.#serial;
    const { views } = d;
    if (views.length > MAX_VIEWS) {
      throw new DeviceError(
        `${d.op}: expected at most ${MAX_VIEWS} views a kernel but got ${views.length}`,
      );
    }
    for (let i = 0; i < views.length; i++) {
      if (views[i]!.access !== "read") gpuBuffer(views[i]!.view.buffer).block.writtenBy = serial;
    }
    let count = 0;
    for (let i = 0; i < views.length; i++) {
      const { view } = views[i]!;
      const { block } = gpuBuffer(view.buffer);
      const shared = block.writtenBy === serial && block.slotOf === serial;
      const slot = shared ? block.slot : count++;
      if (!shared) {
        block.slotOf = serial;
        block.slot = slot;
        this.blocks[slot] = block;
        this.starts[slot] = 0;
        this.sizes[slot] = block.size;
      }
      this.slots[i] = slot;
      if (block.size > this.maxBindingBytes) this.#window(d, i, slot, !shared);
    }
    this.count = count;
  }

  /** Narrows (or, for a shared binding, widens) the window of a block too large to bind whole. */
  #window({ op, views }: Dispatch, i: number, slot: number, fresh: boolean): void {
    const bytes = viewBytes(views[i]!.view);
    const from = Math.floor(bytes.start / this.align) * this.align;
    // Vec4 accesses may touch the 16 bytes that the last element is part of.
    const to = Math.ceil(bytes.end / 16) * 16;
    const start = fresh ? from : Math.min(from, this.starts[slot]!);
    const end = fresh ? to : Math.max(to, this.starts[slot]! + this.sizes[slot]!);
    this.starts[slot] = start;
    this.sizes[slot] = end - start;
    if (end - start > this.maxBindingBytes) {
      throw new DeviceError(
        `${op}: expected arrays within ${this.maxBindingBytes} bytes, ` +
          `the most this GPU binds at once, but got one that spans ${end - start} bytes`,
      );
    }
  }

  /** First element of view `i` of the launch, counted from the start of its binding. */
  offset({ views }: Dispatch, i: number): number {
    const { view } = views[i]!;
    return view.offset - this.starts[this.slots[i]!]! / DTYPE_BYTES[view.dtype];
  }
}
