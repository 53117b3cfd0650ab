/** Kernel arguments by name: one list of fields orders the slots for the host and for the kernel. */
import { slotF32x4, slotI32, slotI64 } from "./abi.ts";
import type { Func } from "./assembler.ts";

/** Reads a kernel's slots by name, each into a new local. */
export interface SlotReader<Field extends string> {
  i64(field: Field): number;
  i32(field: Field): number;
  f32x4(field: Field): number;
}

/** Names for the argument slots of a kernel, in their order. */
export class Slots<Field extends string> {
  readonly #fields: readonly Field[];

  constructor(fields: readonly Field[]) {
    this.#fields = fields;
  }

  /** The readers for a kernel's function. */
  of(f: Func): SlotReader<Field> {
    const at = (field: Field) => this.#fields.indexOf(field);
    return {
      i64: (field) => slotI64(f, at(field)),
      i32: (field) => slotI32(f, at(field)),
      f32x4: (field) => slotF32x4(f, at(field)),
    };
  }

  /** What `launch` takes. */
  fill(values: Readonly<Record<Field, number>>): number[] {
    return this.#fields.map((field) => values[field]);
  }
}
