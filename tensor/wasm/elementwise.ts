/**
 * Elementwise kernels: one pass over all inputs and outputs of a program, cut into tiles of rows
 * and columns that the threads claim one by one.
 *
 * A row goes in blocks of several vectors, then in single vectors. The last vector of a row may
 * read past the row's end (never past the memory's, see `SharedMemory.alloc`) but writes only what
 * is there.
 */
import type { KernelArgs } from "../backend.ts";
import type { Program } from "../expr.ts";
import { sizeOf } from "../shape.ts";
import { claimChunks, kernel, slotI32, slotI64 } from "./abi.ts";
import {
  type AccessContext,
  loadRepeated,
  loadStrided,
  loadUnit,
  storeLanes,
  storeUnit,
} from "./access.ts";
import { type Func, I32, I64, Module, V128 } from "./assembler.ts";
import { DTYPE_BYTES } from "../dtype.ts";
import { type Layout, layoutKey, layoutOf, Odometer, rowSlotCount, rowSlots } from "./odometer.ts";
import type { WasmRuntime } from "./runtime.ts";
import { Constants, Temporaries } from "./vector_math.ts";
import { VectorProgram } from "./vector_expr.ts";

/** Elements of a tile: long enough to make claiming cheap, short enough to share evenly. */
const TILE = 16384;
/** Columns of a tile where an operand jumps along rows: its cache lines serve several rows. */
const STRIDED_COLUMNS = 64;
/** Programs of more nodes than this are unrolled by two instead of four. */
const HEAVY = 24;

// Argument slots before those of the rows.
const TILES = 0, ROWS = 1, COLUMNS = 2, TILE_ROWS = 3, TILE_COLUMNS = 4, TILES_ACROSS = 5;
const ROW_SLOTS = 6;

/** Runs `program` over views of one shape; see `KernelArgs.elementwise`. */
export function elementwise(runtime: WasmRuntime, args: KernelArgs["elementwise"]): void {
  const { program, ins, outs, scalars } = args;
  const shape = outs[0]!.shape;
  const layout = layoutOf([...ins, ...outs], shape);
  const key = `elementwise ${program.key} ${layoutKey(layout)}`;
  const run = runtime.load(key, () => build(program, layout, runtime.tier === "fast"))("run");

  const strided = layout.operands.some(({ step }) => step === "strided");
  const tileColumns = Math.min(layout.columns, strided ? STRIDED_COLUMNS : TILE);
  const tileRows = Math.max(1, Math.min(layout.rows, Math.floor(TILE / tileColumns)));
  const across = Math.ceil(layout.columns / tileColumns);
  const tiles = across * Math.ceil(layout.rows / tileRows);
  runtime.launch(
    run,
    [
      tiles,
      layout.rows,
      layout.columns,
      tileRows,
      tileColumns,
      across,
      ...rowSlots(runtime, layout),
      ...scalars,
    ],
    { threads: Math.min(tiles, runtime.threadsFor(sizeOf(shape))) },
  );
}

function build(program: Program, layout: Layout, half: boolean): Uint8Array<ArrayBuffer> {
  const module = new Module();
  const f = module.add(kernel("run"));
  const tileRows = slotI64(f, TILE_ROWS), tileColumns = slotI64(f, TILE_COLUMNS);
  const rowCount = slotI64(f, ROWS), columnCount = slotI64(f, COLUMNS);
  const across = slotI32(f, TILES_ACROSS), tiles = slotI32(f, TILES);
  const rows = new Odometer(f, layout, ROW_SLOTS);
  const body = new ElementwiseBody(f, program, layout, rows, half);

  const row = f.local(I64), rowEnd = f.local(I64), column = f.local(I64), columns = f.local(I32);
  const [left, right] = [f.local(I64), f.local(I64)];
  /** The smaller of two i64 locals, on the stack. */
  const smaller = (a: number, b: number) => f.get(a).get(b).get(a).get(b).i64("lt_s").select();
  claimChunks(f, tiles, (tile) => {
    f.get(tile).get(across).i32("div_u").i64("extend_i32_u").get(tileRows).i64("mul").set(row);
    f.get(tile).get(across).i32("rem_u").i64("extend_i32_u").get(tileColumns).i64("mul");
    f.set(column);
    f.get(row).get(tileRows).i64("add").set(left);
    smaller(left, rowCount).set(rowEnd);
    f.get(columnCount).get(column).i64("sub").set(right);
    smaller(right, tileColumns).i32("wrap_i64").set(columns);
    rows.locate(row, column);
    f.for64(row, rowEnd, 1, () => {
      body.emitRow(columns, () => {
        f.get(row).get(columnCount).i64("mul").get(column).i64("add").i32("wrap_i64");
      });
      rows.next();
    });
  });
  return module.bytes();
}

/** Emits the code for one row of a tile. */
class ElementwiseBody {
  readonly #f: Func;
  readonly #context: AccessContext;
  readonly #program: VectorProgram;
  readonly #layout: Layout;
  readonly #rows: Odometer;
  readonly #inputs: number;
  /** Per operand: i64 local that moves along the row. */
  readonly #pointers: number[];
  /** Per repeated input: its value in all lanes. */
  readonly #repeated: number[];
  readonly #index: number;

  constructor(f: Func, program: Program, layout: Layout, rows: Odometer, half: boolean) {
    this.#f = f;
    this.#layout = layout;
    this.#rows = rows;
    this.#inputs = program.inputs.length;
    this.#context = { f, constants: new Constants(f), temporaries: new Temporaries(f), half };
    this.#program = new VectorProgram(
      this.#context,
      program,
      layout.operands.map(({ step }) => step === "repeated"),
      ROW_SLOTS + rowSlotCount(layout),
    );
    this.#pointers = layout.operands.map(() => f.local(I64));
    this.#repeated = program.inputs.map(() => f.local(V128));
    this.#index = f.local(V128);
  }

  /**
   * @param columns i32 local with the elements to do
   * @param pushIndex pushes the row-major index of the first, an i32
   */
  emitRow(columns: number, pushIndex: () => void): void {
    const f = this.#f;
    const left = f.local(I32);
    const unroll = this.#program.weight > HEAVY ? 2 : 4;
    f.get(columns).set(left);
    this.#pointers.forEach((pointer, i) => f.get(this.#rows.pointers[i]!).set(pointer));
    if (this.#program.usesIndex) {
      pushIndex();
      f.i32x4("splat").get(this.#context.constants.lanes(0, 1, 2, 3)).i32x4("add");
      f.set(this.#index);
    }
    for (let i = 0; i < this.#inputs; i++) {
      const { dtype, step } = this.#layout.operands[i]!;
      if (step !== "repeated") continue;
      loadRepeated(this.#context, dtype, this.#pointers[i]!, this.#repeated[i]!);
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
    const context = this.#context;
    const { operands } = this.#layout;
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
    const { temporaries, constants, f } = this.#context;
    const index = temporaries.take();
    f.get(this.#index).get(constants.i32(4 * u)).i32x4("add").set(index);
    return index;
  }

  /** Moves an operand's pointer on by vectors of four elements. */
  #advance(operand: number, vectors: number): void {
    const { dtype, step } = this.#layout.operands[operand]!;
    const pointer = this.#pointers[operand]!;
    if (step === "unit") this.#f.advance(pointer, 4 * vectors * DTYPE_BYTES[dtype]);
    else {
      this.#f.get(pointer).get(this.#rows.steps[operand]!).i64const(4).i64("mul").i64("add");
      this.#f.set(pointer);
    }
  }
}
