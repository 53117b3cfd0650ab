/**
 * One row of a tile of an elementwise kernel: in blocks of several vectors, then in single vectors.
 * The last vector of a row may read past the row's end (never past the memory's, see
 * `SharedMemory.alloc`) but writes only what is there.
 */
import { DTYPE_BYTES } from "../dtype.ts";
import type { Program } from "../expr.ts";
import {
  type AccessContext,
  loadRepeated,
  loadStrided,
  loadUnit,
  storeLanes,
  storeUnit,
} from "./access.ts";
import { type Func, I32, I64, V128 } from "./assembler.ts";
import { type Layout, type Odometer, type Operand, rowSlotCount } from "./odometer.ts";
import { stagedType } from "./staging.ts";
import { Constants, Temporaries } from "./vector_math.ts";
import { VectorProgram } from "./vector_expr.ts";

/** Programs of more nodes than this are unrolled by two instead of four. */
const HEAVY = 24;

/** Emits the code for one row of a tile. */
export class ElementwiseBody {
  readonly #f: Func;
  readonly context: AccessContext;
  readonly #program: VectorProgram;
  readonly #operands: readonly Operand[];
  readonly #rows: Odometer;
  readonly #inputs: number;
  /** Per operand: i64 local that moves along the row. */
  readonly #pointers: number[];
  /** Per repeated input: its value in all lanes. */
  readonly #repeated: number[];
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
    this.#operands = layout.operands.map((operand, i) =>
      staged.includes(i) ? { dtype: stagedType(operand.dtype), step: "unit" } : operand
    );
    this.#rows = rows;
    this.#inputs = program.inputs.length;
    this.context = { f, constants: new Constants(f), temporaries: new Temporaries(f), half };
    this.#program = new VectorProgram(
      this.context,
      program,
      this.#operands.map(({ step }) => step === "repeated"),
      firstSlot + rowSlotCount(layout),
    );
    this.#pointers = layout.operands.map(() => f.local(I64));
    this.#repeated = program.inputs.map(() => f.local(V128));
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
    this.#pointers.forEach((pointer, i) => {
      f.get(staged.get(i) ?? this.#rows.pointers[i]!).set(pointer);
    });
    if (this.#program.usesIndex) {
      pushIndex();
      f.i32x4("splat").get(this.context.constants.lanes(0, 1, 2, 3)).i32x4("add");
      f.set(this.#index);
    }
    for (let i = 0; i < this.#inputs; i++) {
      const { dtype, step } = this.#operands[i]!;
      if (step !== "repeated") continue;
      loadRepeated(this.context, dtype, this.#pointers[i]!, this.#repeated[i]!);
    }
    this.#program.emitRow(this.#repeated);

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
    const operands = this.#operands;
    const inputs = Array.from(
      { length: vectors },
      (_, u) =>
        operands.slice(0, this.#inputs).map(({ dtype, step }, i) => {
          const pointer = this.#pointers[i]!;
          if (step === "repeated") return this.#repeated[i]!;
          if (step === "unit") return loadUnit(context, dtype, pointer, 4 * u * DTYPE_BYTES[dtype]);
          const value = loadStrided(context, dtype, pointer, this.#rows.steps[i]!, left);
          this.#advance(i, 1);
          return value;
        }),
    );
    const outs = inputs.map((values, u) => this.#program.emitElements(values, this.#indexAt(u)));
    for (let i = this.#inputs; i < operands.length; i++) {
      const { dtype, step } = operands[i]!;
      const pointer = this.#pointers[i]!;
      const values = outs.map((out) => out[i - this.#inputs]!);
      if (step === "unit") {
        if (left === undefined) {
          storeUnit(context, dtype, pointer, values);
        } else {
          f.get(left).i32const(4).i32("ge_s").if(
            () => storeUnit(context, dtype, pointer, values),
            () => storeLanes(context, dtype, pointer, values[0]!, undefined, left),
          );
        }
        continue;
      }
      for (const value of values) {
        storeLanes(context, dtype, pointer, value, this.#rows.steps[i]!, left);
        this.#advance(i, 1);
      }
    }
    operands.forEach(({ step }, i) => step === "unit" && this.#advance(i, vectors));
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

  /** Moves an operand's pointer on by vectors of four elements. */
  #advance(operand: number, vectors: number): void {
    const { dtype, step } = this.#operands[operand]!;
    const pointer = this.#pointers[operand]!;
    if (step === "unit") this.#f.advance(pointer, 4 * vectors * DTYPE_BYTES[dtype]);
    else {
      this.#f.get(pointer).get(this.#rows.steps[operand]!).i64const(4).i64("mul").i64("add");
      this.#f.set(pointer);
    }
  }
}
