/**
 * Reductions across rows of memory: whole rows are combined, four at a time, into a row of
 * accumulators that stays in the L1 cache. Walking down columns is 2 to 3 times slower.
 */
import type { KernelArgs } from "../../kernels.ts";
import type { Program } from "../../expr.ts";
import { claimChunks, kernel, slotI32, slotI64, smaller } from "../emit/abi.ts";
import {
  type AccessContext,
  loadInputs,
  loadRowInputs,
  type RowInputs,
  storeLanes,
} from "../emit/access.ts";
import { type Func, I32, I64, Module, V128 } from "../emit/assembler.ts";
import {
  type Layout,
  layoutFrom,
  layoutKey,
  Odometer,
  rowSlotCount,
  rowSlots,
} from "../emit/odometer.ts";
import { REDUCTIONS } from "./reduce_rows.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Constants, Temporaries } from "../emit/vector_math.ts";
import { HEAVY, VectorProgram } from "../emit/vector_expr.ts";

type ReduceOp = KernelArgs["reduce"]["op"];

/** Rows that are combined into one row of accumulators before it is handed on. */
export const COLUMN_BLOCK = 128;
/** Columns done at a time: 8 KiB of accumulators. */
const COLUMN_WIDTH = 2048;
/** Elements that a thread claims at least. */
const CLAIM = 16384;

// Argument slots before those of the odometer.
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

/**
 * Reduces [O, R, I] to [O, blocks, I]: one row of results for each `COLUMN_BLOCK` rows.
 *
 * @param out address of the results
 */
export function reduceColumns(
  runtime: WasmRuntime,
  args: KernelArgs["reduce"],
  blocks: number,
  out: number,
): void {
  const { op, program, ins, scalars } = args;
  const [O, R, I] = ins[0]!.shape as [number, number, number];
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
  return module;
}

/** Combines rows of up to `COLUMN_WIDTH` columns into a row of accumulators. */
class ColumnBlock {
  readonly #f: Func;
  readonly #context: AccessContext;
  readonly #op: ReduceOp;
  readonly #code: VectorProgram;
  readonly #odometer: Odometer;
  /** Four rows at most are combined at once. */
  readonly #rows: readonly RowInputs[];
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
    this.#odometer = odometer;
    this.#rows = Array.from({ length: 4 }, () => ({
      operands: layout.operands,
      pointers: f.locals(I64, layout.operands.length),
      steps: odometer.steps,
      repeated: f.locals(V128, layout.operands.length),
    }));
    this.#left = f.local(I32);
    this.#at = f.local(I64);
  }

  /** Sets `width` (i64 local) accumulators at `target` to what changes nothing. */
  emitFill(target: number, width: number): void {
    const f = this.#f;
    const identity = this.#context.constants.f32(REDUCTIONS[this.#op].identity);
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
      const row = this.#rows[j]!;
      row.pointers.forEach((pointer, i) => f.get(this.#odometer.pointers[i]!).set(pointer));
      loadRowInputs(this.#context, row);
      this.#odometer.next();
    }
    this.#context.temporaries.releaseAll();
    this.#loop(target, width, this.#code.weight > HEAVY ? 2 : 4, (vectors, left) => {
      const sums = Array.from({ length: vectors }, () => this.#context.temporaries.take());
      sums.forEach((sum, u) => f.get(this.#at).vmem("load", 16 * u).set(sum));
      const values: number[][] = [];
      for (let j = 0; j < rows; j++) {
        const inputs = loadInputs(this.#context, this.#rows[j]!, vectors, left);
        values.push(inputs.map((locals) => this.#code.emitElements(locals, -1)[0]!));
      }
      sums.forEach((sum, u) => {
        // (a + b) + (c + d), then the accumulator: a shorter chain, and a smaller error.
        const combine = (from: number, to: number): void => {
          if (to - from === 1) {
            f.get(values[from]![u]!);
            return;
          }
          combine(from, (from + to) / 2);
          combine((from + to) / 2, to);
          f.f32x4(REDUCTIONS[this.#op].combine);
        };
        f.get(sum);
        combine(0, rows);
        f.f32x4(REDUCTIONS[this.#op].combine).set(sum);
      });
      if (left === undefined) {
        sums.forEach((sum, u) => f.get(this.#at).get(sum).vmem("store", 16 * u));
      } else {
        storeLanes(this.#context, "f32", this.#at, sums[0]!, undefined, left);
      }
      this.#context.temporaries.releaseAll();
    });
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
