/**
 * One row of a tile of an elementwise kernel: in blocks of several vectors, then in single vectors.
 * The last vector of a row may read past the row's end (never past the memory's, see
 * `SharedMemory.alloc`) but writes only what is there.
 */
import { DTYPE_BYTES } from "../../dtype.ts";
import type { Program } from "../../expr.ts";
import {
  type AccessContext,
  loadInputs,
  loadRowInputs,
  type RowInputs,
  storeLanes,
  storeUnit,
} from "../emit/access.ts";
import { type Func, I32, I64, V128 } from "../emit/assembler.ts";
import { type Layout, type Odometer, rowSlotCount } from "../emit/odometer.ts";
import { stagedType } from "./staging.ts";
import { Constants, Temporaries } from "../emit/vector_math.ts";
import { HEAVY, VectorProgram } from "../emit/vector_expr.ts";

/** Emits the code for one row of a tile. */
export class ElementwiseBody {
  readonly #f: Func;
  readonly context: AccessContext;
  readonly #program: VectorProgram;
  readonly #rows: Odometer;
  readonly #inputs: RowInputs;
  readonly #outputs: Omit<RowInputs, "repeated">;
  /** Numbers of the next four elements. */
  readonly #index: number;

  /**
   * @param staged inputs that lie ready in staging memory, unit step, as what they compute as
   * @param firstSlot where the slots of `rowSlots` begin; launch-time numbers follow them
   */
  constructor(
    f: Func,
    program: Program,
    layout: Layout,
    rows: Odometer,
    staged: readonly number[],
    firstSlot: number,
    half: boolean,
  ) {
    this.#f = f;
    this.#rows = rows;
    const count = program.inputs.length;
    this.#inputs = {
      operands: layout.operands.slice(0, count).map((operand, i) =>
        staged.includes(i) ? { dtype: stagedType(operand.dtype), step: "unit" } : operand
      ),
      pointers: f.locals(I64, count),
      steps: rows.steps.slice(0, count),
      repeated: f.locals(V128, count),
    };
    this.#outputs = {
      operands: layout.operands.slice(count),
      pointers: f.locals(I64, layout.operands.length - count),
      steps: rows.steps.slice(count),
    };
    this.context = { f, constants: new Constants(f), temporaries: new Temporaries(f), half };
    this.#program = new VectorProgram(
      this.context,
      program,
      this.#inputs.operands.map(({ step }) => step === "repeated"),
      firstSlot + rowSlotCount(layout),
    );
    this.#index = f.local(V128);
  }

  /**
   * @param staged for each staged input the i64 local with its row's address
   * @param columns i32 local with the elements to do
   * @param pushIndex pushes the row-major index of the first, an i32
   */
  emitRow(staged: ReadonlyMap<number, number>, columns: number, pushIndex: () => void): void {
    const f = this.#f;
    const left = f.local(I32);
    const unroll = this.#program.weight > HEAVY ? 2 : 4;
    f.get(columns).set(left);
    [...this.#inputs.pointers, ...this.#outputs.pointers].forEach((pointer, i) => {
      f.get(staged.get(i) ?? this.#rows.pointers[i]!).set(pointer);
    });
    if (this.#program.usesIndex) {
      pushIndex();
      f.i32x4("splat").get(this.context.constants.lanes(0, 1, 2, 3)).i32x4("add");
      f.set(this.#index);
    }
    loadRowInputs(this.context, this.#inputs);
    this.#program.emitRow(this.#inputs.repeated);

    const block = 4 * unroll;
    f.get(left).i32const(block).i32("ge_s").if(() => {
      f.doWhile(() => {
        this.#emitVectors(unroll, undefined);
        f.get(left).i32const(block).i32("sub").set(left);
      }, () => f.get(left).i32const(block).i32("ge_s"));
    });
    f.get(left).i32const(0).i32("gt_s").if(() => {
      f.doWhile(() => {
        this.#emitVectors(1, left);
        f.get(left).i32const(4).i32("sub").set(left);
      }, () => f.get(left).i32const(0).i32("gt_s"));
    });
  }

  /** Code for `vectors` times four elements, or for at most `left` (an i32 local) of four. */
  #emitVectors(vectors: number, left: number | undefined): void {
    const f = this.#f;
    const context = this.context;
    const inputs = loadInputs(context, this.#inputs, vectors, left);
    const outs = inputs.map((values, u) => this.#program.emitElements(values, this.#indexAt(u)));
    this.#outputs.operands.forEach(({ dtype, step }, i) => {
      const pointer = this.#outputs.pointers[i]!, stride = this.#outputs.steps[i]!;
      const values = outs.map((out) => out[i]!);
      if (step === "unit") {
        if (left === undefined) {
          storeUnit(context, dtype, pointer, values);
        } else {
          f.get(left).i32const(4).i32("ge_s").if(
            () => storeUnit(context, dtype, pointer, values),
            () => storeLanes(context, dtype, pointer, values[0]!, undefined, left),
          );
        }
        f.advance(pointer, 4 * vectors * DTYPE_BYTES[dtype]);
        return;
      }
      for (const value of values) {
        storeLanes(context, dtype, pointer, value, stride, left);
        f.get(pointer).get(stride).i64const(4).i64("mul").i64("add").set(pointer);
      }
    });
    if (this.#program.usesIndex) {
      f.get(this.#index).get(context.constants.i32(4 * vectors)).i32x4("add").set(this.#index);
    }
    context.temporaries.releaseAll();
  }

  /** Local with the indices of the `u`-th vector. */
  #indexAt(u: number): number {
    if (u === 0 || !this.#program.usesIndex) return this.#index;
    const { temporaries, constants, f } = this.context;
    const index = temporaries.take();
    f.get(this.#index).get(constants.i32(4 * u)).i32x4("add").set(index);
    return index;
  }
}
