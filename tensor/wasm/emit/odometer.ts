/**
 * Walks operands of one shape row by row: the innermost dimension is a row, the others are counted
 * like an odometer, each operand's pointer following its own strides.
 */
import type { View } from "../../view.ts";
import { DTYPE_BYTES } from "../../dtype.ts";
import { slotI64 } from "./abi.ts";
import { type Operand, stepOf } from "./access.ts";
import { type Func, I64 } from "./assembler.ts";
import type { WasmRuntime } from "../device/runtime.ts";

/** Operands with their common dimensions merged where all allow it. */
export interface Layout {
  readonly operands: readonly Operand[];
  /** Dimensions outside the row, outermost first. */
  readonly outer: readonly number[];
  /** Elements of a row. */
  readonly columns: number;
  readonly rows: number;
  /** For each operand its strides in elements, all dimensions. */
  readonly strides: readonly (readonly number[])[];
  readonly views: readonly View[];
}

/** The layout of views walked as `dims`, by the given strides, without merging. */
export function layoutFrom(
  views: readonly View[],
  dims: readonly number[],
  strides: readonly (readonly number[])[],
): Layout {
  const outer = dims.slice(0, -1);
  return {
    operands: views.map((view, i) => ({ dtype: view.dtype, step: stepOf(strides[i]!.at(-1)!) })),
    outer,
    columns: dims.at(-1)!,
    rows: outer.reduce((a, b) => a * b, 1),
    strides,
    views,
  };
}

/** Names the code that a layout needs. */
export function layoutKey({ operands, outer }: Layout): string {
  return `${operands.map(({ dtype, step }) => dtype + step[0]).join()};${outer.length}`;
}

/** Argument slots that `Odometer` reads, for the host to append. */
export function rowSlots(runtime: WasmRuntime, layout: Layout): number[] {
  const slots = [...layout.outer];
  layout.views.forEach((view, i) => {
    const size = DTYPE_BYTES[view.dtype];
    slots.push(runtime.address(view), ...layout.strides[i]!.map((s) => s * size));
  });
  return slots;
}

/** Number of slots that `rowSlots` makes. */
export function rowSlotCount({ operands, outer }: Layout): number {
  return outer.length + operands.length * (outer.length + 2);
}

/** Emits the walk. */
export class Odometer {
  readonly #f: Func;
  readonly #sizes: number[];
  readonly #counters: number[];
  readonly #addresses: number[] = [];
  readonly #strides: number[][] = [];
  /** For each operand the i64 local with its address at the present row's start. */
  readonly pointers: readonly number[];
  /** For each operand the i64 local with its step along a row, in bytes. */
  readonly steps: readonly number[];

  /** @param firstSlot where the slots of `rowSlots` begin */
  constructor(f: Func, layout: Layout, firstSlot: number) {
    this.#f = f;
    const outer = layout.outer.length;
    let slot = firstSlot;
    this.#sizes = layout.outer.map(() => slotI64(f, slot++));
    this.#counters = f.locals(I64, outer);
    const steps: number[] = [];
    for (const _ of layout.operands) {
      this.#addresses.push(slotI64(f, slot++));
      this.#strides.push(layout.outer.map(() => slotI64(f, slot++)));
      steps.push(slotI64(f, slot++));
    }
    this.steps = steps;
    this.pointers = f.locals(I64, layout.operands.length);
  }

  /** Goes to a row and a column of it, both i64 locals. */
  locate(row: number, column: number): void {
    const f = this.#f;
    const rest = f.local(I64);
    f.get(row).set(rest);
    for (let d = this.#sizes.length - 1; d >= 0; d--) {
      if (d === 0) {
        f.get(rest).set(this.#counters[d]!);
      } else {
        f.get(rest).get(this.#sizes[d]!).i64("rem_u").set(this.#counters[d]!);
        f.get(rest).get(this.#sizes[d]!).i64("div_u").set(rest);
      }
    }
    this.pointers.forEach((pointer, i) => {
      f.get(this.#addresses[i]!).get(column).get(this.steps[i]!).i64("mul").i64("add");
      this.#counters.forEach((counter, d) => {
        f.get(counter).get(this.#strides[i]![d]!).i64("mul").i64("add");
      });
      f.set(pointer);
    });
  }

  /** Goes to the same column of the next row. */
  next(): void {
    const f = this.#f;
    f.block(() => {
      for (let d = this.#sizes.length - 1; d >= 0; d--) {
        const counter = this.#counters[d]!, size = this.#sizes[d]!;
        f.get(counter).i64const(1).i64("add").set(counter);
        this.pointers.forEach((pointer, i) => {
          f.get(pointer).get(this.#strides[i]![d]!).i64("add").set(pointer);
        });
        if (d === 0) return;
        f.get(counter).get(size).i64("lt_u").brIf(0);
        f.i64const(0).set(counter);
        this.pointers.forEach((pointer, i) => {
          f.get(pointer).get(this.#strides[i]![d]!).get(size).i64("mul").i64("sub").set(pointer);
        });
      }
    });
  }
}
