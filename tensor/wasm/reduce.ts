/**
 * Reductions of the middle axis of [O, R, I]. Where the axis lies along memory, its elements are
 * combined within a row; otherwise whole rows of I columns are combined, four at a time, into a row
 * of accumulators that stays in the L1 cache (walking down columns is 2 to 3 times slower).
 *
 * A long axis is cut into blocks of a fixed length, whose results are reduced again. So the order
 * of operations depends on the shape alone, not on the threads, and the error of a sum grows with
 * the logarithm of its length.
 */
import type { KernelArgs, View } from "../backend.ts";
import { type Expr, type Program, program } from "../expr.ts";
import { collapse, contiguousStrides } from "../shape.ts";
import { claimChunks, kernel, scratchI64, slotI32, slotI64 } from "./abi.ts";
import { type AccessContext, loadRepeated, loadStrided, loadUnit, storeLanes } from "./access.ts";
import { DTYPE_BYTES } from "../dtype.ts";
import { type Func, I32, I64, Module, V128 } from "./assembler.ts";
import {
  type Layout,
  layoutFrom,
  layoutKey,
  Odometer,
  rowSlotCount,
  rowSlots,
} from "./odometer.ts";
import type { WasmRuntime } from "./runtime.ts";
import { Constants, Temporaries } from "./vector_math.ts";
import { VectorProgram } from "./vector_expr.ts";

type ReduceOp = KernelArgs["reduce"]["op"];

/** Elements of one row that are combined before their result is handed on. */
const ROW_BLOCK = 4096;
/** Elements after which a row's running results are put aside: shorter chains, smaller errors. */
const ROW_RUN = 1024;
/** Rows that are combined into one row of accumulators before it is handed on. */
const COLUMN_BLOCK = 128;
/** Columns done at a time: 8 KiB of accumulators. */
const COLUMN_WIDTH = 2048;
/** Elements that a thread claims at least. */
const CLAIM = 16384;
/** Programs of more nodes than this are unrolled less. */
const HEAVY = 24;

const IDENTITY = { sum: 0, max: -Infinity, min: Infinity } as const;
const COMBINE = { sum: "add", max: "max", min: "min" } as const;

const itself = program("reduce.itself", [{ kind: "input", ty: "f32" }], (x: Expr) => x);

/** Runs a reduction; see `KernelArgs.reduce`. */
export function reduce(runtime: WasmRuntime, args: KernelArgs["reduce"]): void {
  const { op, program: map, ins, scalars, out } = args;
  const [O, R, I] = shapeOf(args);
  const alongRows = I === 1 ||
    ins.some(({ strides }) => strides[1] === 1 && strides[2]! > 1);
  const blocks = Math.ceil(R / (alongRows ? ROW_BLOCK : COLUMN_BLOCK));
  const pass = alongRows ? reduceRows : reduceColumns;
  if (blocks === 1) {
    pass(runtime, args, 1, runtime.address(out));
    return;
  }
  const partials = runtime.alloc(O * I * blocks * 4, "reduce");
  try {
    pass(runtime, { op, program: map, ins, scalars, out }, blocks, partials.address);
    // Rows leave their blocks' results side by side, columns above each other.
    const shape = alongRows ? [O * I, blocks, 1] : [O, blocks, I];
    const strides = contiguousStrides(shape);
    const view: View = { buffer: partials, dtype: "f32", offset: 0, shape, strides };
    reduce(runtime, { op, program: itself, ins: [view], scalars: [], out });
  } finally {
    runtime.free(partials);
  }
}

function shapeOf({ ins, out }: KernelArgs["reduce"]): [number, number, number] {
  const [O, R, I] = (ins[0] ?? out).shape;
  return [O!, R!, I!];
}

// --- along rows ---------------------------------------------------------------------------------

const ROWS = { tiles: 0, rows: 1, columns: 2, tileRows: 3, blocks: 4, out: 5 } as const;
const ROWS_SLOTS = 6;

function reduceRows(
  runtime: WasmRuntime,
  args: KernelArgs["reduce"],
  blocks: number,
  out: number,
): void {
  const { op, program, ins, scalars } = args;
  const [O, R, I] = shapeOf(args);
  const outer = collapse([O, I], ins.map(({ strides }) => [strides[0]!, strides[2]!]));
  const layout = layoutFrom(
    ins,
    [...outer.shape, R],
    outer.strides.map((strides, i) => [...strides, ins[i]!.strides[1]!]),
  );
  const key = `reduceRows ${op} ${program.key} ${layoutKey(layout)}`;
  const run = runtime.load(key, () => buildRows(op, program, layout, runtime.tier === "fast"));
  const tileRows = Math.max(1, Math.floor(CLAIM / Math.min(R, ROW_BLOCK)));
  const tiles = Math.ceil(layout.rows / tileRows) * blocks;
  runtime.launch(
    run("run"),
    [tiles, layout.rows, R, tileRows, blocks, out, ...rowSlots(runtime, layout), ...scalars],
    { threads: Math.min(tiles, runtime.threadsFor(O * R * I)), scratchBytes: 256 },
  );
}

function buildRows(op: ReduceOp, program: Program, layout: Layout, half: boolean) {
  const module = new Module();
  const f = module.add(kernel("run"));
  const context = { f, constants: new Constants(f), temporaries: new Temporaries(f), half };
  const tiles = slotI32(f, ROWS.tiles), blocks = slotI32(f, ROWS.blocks);
  const rowCount = slotI64(f, ROWS.rows), columnCount = slotI64(f, ROWS.columns);
  const tileRows = slotI64(f, ROWS.tileRows), out = slotI64(f, ROWS.out);
  const scratch = scratchI64(f);
  const odometer = new Odometer(f, layout, ROWS_SLOTS);
  const repeated = layout.operands.map(({ step }) => step === "repeated");
  const slots = ROWS_SLOTS + rowSlotCount(layout);
  const code = new VectorProgram(context, program, repeated, slots);
  const unroll = code.weight > HEAVY ? 2 : 4;

  const row = f.local(I64), rowEnd = f.local(I64), column = f.local(I64), left = f.local(I32);
  const block = f.local(I32), target = f.local(I64);
  const running = f.locals(V128, unroll), totals = f.locals(V128, unroll), mask = f.local(V128);
  const stop = f.local(I32);
  const pointers = f.locals(I64, layout.operands.length);
  const repeatedValues = f.locals(V128, layout.operands.length);
  const identity = context.constants.f32(IDENTITY[op]);

  const combine = (vectors: number, masked: boolean) => {
    const inputs = Array.from(
      { length: vectors },
      (_, u) =>
        layout.operands.map(({ dtype, step }, i) => {
          const pointer = pointers[i]!;
          if (step === "repeated") return repeatedValues[i]!;
          if (step === "unit") return loadUnit(context, dtype, pointer, 4 * u * DTYPE_BYTES[dtype]);
          const stride = odometer.steps[i]!;
          const value = loadStrided(context, dtype, pointer, stride, masked ? left : undefined);
          f.get(pointer).get(stride).i64const(4).i64("mul").i64("add").set(pointer);
          return value;
        }),
    );
    const values = inputs.map((locals) => code.emitElements(locals, -1)[0]!);
    values.forEach((value, u) => {
      const into = masked ? totals[u]! : running[u]!;
      f.get(into).get(value);
      if (masked) f.get(identity).get(mask).v128("bitselect");
      f.f32x4(COMBINE[op]).set(into);
    });
    layout.operands.forEach(({ dtype, step }, i) => {
      if (step === "unit") f.advance(pointers[i]!, 4 * vectors * DTYPE_BYTES[dtype]);
    });
    context.temporaries.releaseAll();
  };
  const step = 4 * unroll;

  claimChunks(f, tiles, (tile) => {
    f.get(tile).get(blocks).i32("rem_u").set(block);
    f.get(block).i64("extend_i32_u").i64const(ROW_BLOCK).i64("mul").set(column);
    f.get(tile).get(blocks).i32("div_u").i64("extend_i32_u").get(tileRows).i64("mul").tee(row);
    f.get(tileRows).i64("add").set(rowEnd);
    smaller(f, rowEnd, rowCount);
    f.set(rowEnd);
    odometer.locate(row, column);
    f.get(row).get(blocks).i64("extend_i32_u").i64("mul");
    f.get(block).i64("extend_i32_u").i64("add").i64const(4).i64("mul").get(out).i64("add");
    f.set(target);
    f.for64(row, rowEnd, 1, () => {
      const rest = f.local(I64), full = f.local(I64);
      f.get(columnCount).get(column).i64("sub").set(rest);
      f.i64const(ROW_BLOCK).set(full);
      smaller(f, rest, full);
      f.i32("wrap_i64").set(left);
      pointers.forEach((pointer, i) => f.get(odometer.pointers[i]!).set(pointer));
      layout.operands.forEach(({ dtype, step }, i) => {
        if (step === "repeated") loadRepeated(context, dtype, pointers[i]!, repeatedValues[i]!);
      });
      code.emitRow(repeatedValues);
      for (const total of totals) f.get(identity).set(total);
      f.get(left).i32const(step).i32("ge_s").if(() => {
        f.doWhile(() => {
          for (const local of running) f.get(identity).set(local);
          // Until ROW_RUN elements are done or too few are left.
          f.get(left).i32const(ROW_RUN).i32("sub").tee(stop).i32const(step - 1);
          f.get(stop).i32const(step - 1).i32("gt_s").select().set(stop);
          f.doWhile(() => {
            combine(unroll, false);
            f.get(left).i32const(step).i32("sub").set(left);
          }, () => f.get(left).get(stop).i32("gt_s"));
          totals.forEach((total, u) => {
            f.get(total).get(running[u]!).f32x4(COMBINE[op]).set(total);
          });
        }, () => f.get(left).i32const(step).i32("ge_s"));
      });
      f.get(left).i32const(0).i32("gt_s").if(() => {
        f.doWhile(() => {
          f.get(left).i32x4("splat").get(context.constants.lanes(0, 1, 2, 3)).i32x4("gt_s");
          f.set(mask);
          combine(1, true);
          f.get(left).i32const(4).i32("sub").set(left);
        }, () => f.get(left).i32const(0).i32("gt_s"));
      });
      storeCombined(context, op, totals, scratch, target);
      f.get(target).get(blocks).i64("extend_i32_u").i64const(4).i64("mul").i64("add").set(target);
      odometer.next();
    });
  });
  return module.bytes();
}

/** The smaller of two i64 locals, on the stack. */
function smaller(f: Func, a: number, b: number): Func {
  return f.get(a).get(b).get(a).get(b).i64("lt_s").select();
}

/**
 * Combines vectors, then their lanes, pairwise, and stores the result at `target`. The detour over
 * memory lets V8 pair the accumulators of the loop before into 256-bit ones: it looks for stores
 * that are next to each other.
 */
function storeCombined(
  { f, temporaries }: AccessContext,
  op: ReduceOp,
  accumulators: readonly number[],
  scratch: number,
  target: number,
): void {
  const combine = COMBINE[op];
  accumulators.forEach((local, u) => f.get(scratch).get(local).vmem("store", 16 * u));
  const sum = (from: number, to: number): void => {
    if (to - from === 1) {
      f.get(scratch).vmem("load", 16 * from);
      return;
    }
    const middle = (from + to) / 2;
    sum(from, middle);
    sum(middle, to);
    f.f32x4(combine);
  };
  const total = temporaries.take();
  sum(0, accumulators.length);
  f.set(total);
  f.get(total).get(total).get(total).shuffle32([2, 3, 0, 1]).f32x4(combine).set(total);
  f.get(target).get(total).get(total).get(total).shuffle32([1, 0, 3, 2]).f32x4(combine);
  f.vlane("store32_lane", 0);
  temporaries.releaseAll();
}

// --- along columns ------------------------------------------------------------------------------

const COLUMNS = {
  claims: 0,
  tasks: 1,
  group: 2,
  across: 3,
  blocks: 4,
  R: 5,
  I: 6,
  out: 7,
} as const;
const COLUMNS_SLOTS = 8;

function reduceColumns(
  runtime: WasmRuntime,
  args: KernelArgs["reduce"],
  blocks: number,
  out: number,
): void {
  const { op, program, ins, scalars } = args;
  const [O, R, I] = shapeOf(args);
  const layout = layoutFrom(ins, [O, R, I], ins.map(({ strides }) => strides));
  const key = `reduceColumns ${op} ${program.key} ${layoutKey(layout)}`;
  const run = runtime.load(key, () => buildColumns(op, program, layout, runtime.tier === "fast"));
  const across = Math.ceil(I / COLUMN_WIDTH);
  const tasks = O * blocks * across;
  const size = Math.min(R, COLUMN_BLOCK) * Math.min(I, COLUMN_WIDTH);
  const group = Math.max(1, Math.floor(CLAIM / size));
  const claims = Math.ceil(tasks / group);
  runtime.launch(
    run("run"),
    [claims, tasks, group, across, blocks, R, I, out, ...rowSlots(runtime, layout), ...scalars],
    { threads: Math.min(claims, runtime.threadsFor(O * R * I)) },
  );
}

function buildColumns(op: ReduceOp, program: Program, layout: Layout, half: boolean) {
  const module = new Module();
  const f = module.add(kernel("run"));
  const context = { f, constants: new Constants(f), temporaries: new Temporaries(f), half };
  const claims = slotI32(f, COLUMNS.claims), tasks = slotI64(f, COLUMNS.tasks);
  const group = slotI64(f, COLUMNS.group), across = slotI64(f, COLUMNS.across);
  const blocks = slotI64(f, COLUMNS.blocks), out = slotI64(f, COLUMNS.out);
  const R = slotI64(f, COLUMNS.R), I = slotI64(f, COLUMNS.I);
  const odometer = new Odometer(f, layout, COLUMNS_SLOTS);
  const slots = COLUMNS_SLOTS + rowSlotCount(layout);
  const code = new VectorProgram(context, program, layout.operands.map(() => false), slots);
  const heavy = code.weight > HEAVY;
  const block = new ColumnBlock(context, op, code, layout, odometer);

  const task = f.local(I64), taskEnd = f.local(I64), rest = f.local(I64);
  const column = f.local(I64), row = f.local(I64), outRow = f.local(I64);
  const width = f.local(I64), limit = f.local(I64), rows = f.local(I64), target = f.local(I64);
  claimChunks(f, claims, (claim) => {
    f.get(claim).i64("extend_i32_u").get(group).i64("mul").tee(task).get(group).i64("add");
    f.set(taskEnd);
    smaller(f, taskEnd, tasks).set(taskEnd);
    f.for64(task, taskEnd, 1, () => {
      // task = (o * blocks + block) * across + column block
      f.get(task).get(across).i64("rem_u").i64const(COLUMN_WIDTH).i64("mul").set(column);
      f.get(task).get(across).i64("div_u").set(outRow);
      f.get(outRow).get(blocks).i64("rem_u").i64const(COLUMN_BLOCK).i64("mul").set(row);
      f.get(R).get(row).i64("sub").set(rows);
      f.i64const(COLUMN_BLOCK).set(limit);
      smaller(f, rows, limit).set(rows);
      f.get(I).get(column).i64("sub").set(width);
      f.i64const(COLUMN_WIDTH).set(limit);
      smaller(f, width, limit).set(width);
      f.get(outRow).get(I).i64("mul").get(column).i64("add").i64const(4).i64("mul");
      f.get(out).i64("add").set(target);
      f.get(outRow).get(blocks).i64("div_u").get(R).i64("mul").get(row).i64("add").set(rest);
      odometer.locate(rest, column);
      block.emitFill(target, width);
      if (!heavy) {
        f.get(rows).i64const(4).i64("ge_s").if(() => {
          f.doWhile(() => {
            block.emitRows(4, target, width);
            f.get(rows).i64const(4).i64("sub").set(rows);
          }, () => f.get(rows).i64const(4).i64("ge_s"));
        });
      }
      f.get(rows).i64const(0).i64("gt_s").if(() => {
        f.doWhile(() => {
          block.emitRows(1, target, width);
          f.get(rows).i64const(1).i64("sub").set(rows);
        }, () => f.get(rows).i64const(0).i64("gt_s"));
      });
    });
  });
  return module.bytes();
}

/** Combines rows of up to `COLUMN_WIDTH` columns into a row of accumulators. */
class ColumnBlock {
  readonly #f: Func;
  readonly #context: AccessContext;
  readonly #op: ReduceOp;
  readonly #code: VectorProgram;
  readonly #layout: Layout;
  readonly #odometer: Odometer;
  /** For each of four rows and each operand: where it is, and its value where it repeats. */
  readonly #pointers: readonly number[][];
  readonly #repeated: readonly number[][];
  readonly #left: number;
  readonly #at: number;

  constructor(
    context: AccessContext,
    op: ReduceOp,
    code: VectorProgram,
    layout: Layout,
    odometer: Odometer,
  ) {
    const { f } = context;
    this.#f = f;
    this.#context = context;
    this.#op = op;
    this.#code = code;
    this.#layout = layout;
    this.#odometer = odometer;
    const each = (type: typeof I64 | typeof V128) =>
      Array.from({ length: 4 }, () => f.locals(type, layout.operands.length));
    this.#pointers = each(I64);
    this.#repeated = each(V128);
    this.#left = f.local(I32);
    this.#at = f.local(I64);
  }

  /** Sets `width` (i64 local) accumulators at `target` to what changes nothing. */
  emitFill(target: number, width: number): void {
    const f = this.#f;
    const identity = this.#context.constants.f32(IDENTITY[this.#op]);
    this.#loop(target, width, 4, (vectors, left) => {
      if (left === undefined) {
        for (let u = 0; u < vectors; u++) f.get(this.#at).get(identity).vmem("store", 16 * u);
      } else {
        storeLanes(this.#context, "f32", this.#at, identity, undefined, left);
      }
    });
  }

  /** Combines the odometer's next `rows` rows into the accumulators at `target`. */
  emitRows(rows: number, target: number, width: number): void {
    const f = this.#f;
    for (let j = 0; j < rows; j++) {
      this.#layout.operands.forEach(({ dtype, step }, i) => {
        f.get(this.#odometer.pointers[i]!).set(this.#pointers[j]![i]!);
        if (step !== "repeated") return;
        loadRepeated(this.#context, dtype, this.#pointers[j]![i]!, this.#repeated[j]![i]!);
      });
      this.#odometer.next();
    }
    this.#context.temporaries.releaseAll();
    this.#loop(target, width, this.#code.weight > HEAVY ? 2 : 4, (vectors, left) => {
      const sums = Array.from({ length: vectors }, () => this.#context.temporaries.take());
      sums.forEach((sum, u) => f.get(this.#at).vmem("load", 16 * u).set(sum));
      const values: number[][] = [];
      for (let j = 0; j < rows; j++) values.push(this.#values(j, vectors, left));
      sums.forEach((sum, u) => {
        // (a + b) + (c + d), then the accumulator: a shorter chain, and a smaller error.
        const combine = (from: number, to: number): void => {
          if (to - from === 1) {
            f.get(values[from]![u]!);
            return;
          }
          combine(from, (from + to) / 2);
          combine((from + to) / 2, to);
          f.f32x4(COMBINE[this.#op]);
        };
        f.get(sum);
        combine(0, rows);
        f.f32x4(COMBINE[this.#op]).set(sum);
      });
      if (left === undefined) {
        sums.forEach((sum, u) => f.get(this.#at).get(sum).vmem("store", 16 * u));
      } else {
        storeLanes(this.#context, "f32", this.#at, sums[0]!, undefined, left);
      }
      this.#context.temporaries.releaseAll();
    });
  }

  /** Locals of the program's next values in row `j`; pointers move on. */
  #values(j: number, vectors: number, left: number | undefined): number[] {
    const f = this.#f;
    const context = this.#context;
    const pointers = this.#pointers[j]!;
    const inputs = Array.from(
      { length: vectors },
      (_, u) =>
        this.#layout.operands.map(({ dtype, step }, i) => {
          const pointer = pointers[i]!;
          if (step === "repeated") return this.#repeated[j]![i]!;
          if (step === "unit") return loadUnit(context, dtype, pointer, 4 * u * DTYPE_BYTES[dtype]);
          const stride = this.#odometer.steps[i]!;
          const value = loadStrided(context, dtype, pointer, stride, left);
          f.get(pointer).get(stride).i64const(4).i64("mul").i64("add").set(pointer);
          return value;
        }),
    );
    this.#layout.operands.forEach(({ dtype, step }, i) => {
      if (step === "unit") f.advance(pointers[i]!, 4 * vectors * DTYPE_BYTES[dtype]);
    });
    return inputs.map((locals) => this.#code.emitElements(locals, -1)[0]!);
  }

  /**
   * Emits a loop over `width` accumulators from `target` on: `body` gets the number of vectors,
   * or one vector and the i32 local with how many accumulators are left.
   */
  #loop(
    target: number,
    width: number,
    unroll: number,
    body: (vectors: number, left: number | undefined) => void,
  ): void {
    const f = this.#f;
    const left = this.#left;
    const pass = (vectors: number, partial: boolean) => {
      const step = 4 * vectors;
      const more = () => f.get(left).i32const(partial ? 1 : step).i32("ge_s");
      more().if(() => {
        f.doWhile(() => {
          body(vectors, partial ? left : undefined);
          f.advance(this.#at, 16 * vectors);
          f.get(left).i32const(step).i32("sub").set(left);
        }, more);
      });
    };
    f.get(target).set(this.#at).get(width).i32("wrap_i64").set(left);
    pass(unroll, false);
    pass(1, true);
  }
}
