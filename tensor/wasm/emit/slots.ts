/**
 * Kernel arguments by name: one list orders the slots for the host and for the kernel.
 *
 * Launching is on the way of every op, so `fill` takes plain object literals: one that spreads
 * others costs 10 us.
 */
import type { View } from "../../view.ts";
import { DTYPE_BYTES } from "../../dtype.ts";
import { slotF32x4, slotI32, slotI64 } from "./abi.ts";
import type { Func } from "./assembler.ts";
import type { WasmRuntime } from "../device/runtime.ts";

/** Dimensions of an operand at most; those of smaller ones come first, the rest have stride 0. */
const DIMENSIONS = 4;

/** A view inside a kernel: i64 locals with its address and its strides in bytes. */
export interface OperandLocals {
  readonly base: number;
  readonly strides: readonly [number, number, number, number];
}

/** Reads a kernel's slots by name, each into new locals. */
export interface SlotReader<Field extends string, Operand extends string> {
  i64(field: Field): number;
  i32(field: Field): number;
  f32x4(field: Field): number;
  operand(name: Operand): OperandLocals;
}

/** Names for the argument slots of a kernel, in their order: numbers, then views. */
export class Slots<Field extends string, Operand extends string = never> {
  readonly #fields: readonly Field[];
  readonly #operands: readonly Operand[];
  readonly #first: number;

  /** @param first number of slots of another list that come before this one's */
  constructor(fields: readonly Field[], operands: readonly Operand[] = [], first = 0) {
    this.#fields = fields;
    this.#operands = operands;
    this.#first = first;
  }

  /** How many slots there are, those of lists before this one included. */
  get end(): number {
    return this.#first + this.#fields.length + this.#operands.length * (1 + DIMENSIONS);
  }

  /** The readers for a kernel's function. */
  of(f: Func): SlotReader<Field, Operand> {
    const at = (field: Field) => this.#first + this.#fields.indexOf(field);
    return {
      i64: (field) => slotI64(f, at(field)),
      i32: (field) => slotI32(f, at(field)),
      f32x4: (field) => slotF32x4(f, at(field)),
      operand: (name) => {
        const first = this.#first + this.#fields.length +
          this.#operands.indexOf(name) * (1 + DIMENSIONS);
        const stride = (d: number) => slotI64(f, first + 1 + d);
        return { base: slotI64(f, first), strides: [stride(0), stride(1), stride(2), stride(3)] };
      },
    };
  }

  /** What `launch` takes for a kernel without views. */
  fill(values: Readonly<Record<Field, number>>): number[] {
    const slots: number[] = [];
    for (const field of this.#fields) slots.push(values[field]);
    return slots;
  }

  /** What `launch` takes. */
  fillWith(
    runtime: WasmRuntime,
    values: Readonly<Record<Field, number>>,
    views: Readonly<Record<Operand, View>>,
  ): number[] {
    const slots = this.fill(values);
    for (const name of this.#operands) {
      const view = views[name];
      const bytes = DTYPE_BYTES[view.dtype];
      slots.push(runtime.address(view));
      for (let d = 0; d < DIMENSIONS; d++) slots.push((view.strides[d] ?? 0) * bytes);
    }
    return slots;
  }
}
