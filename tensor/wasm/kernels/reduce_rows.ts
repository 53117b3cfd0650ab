/** Reductions along rows of memory: the elements of a row are combined, lane by lane, then the lanes. */
import type { KernelArgs } from "../../kernels.ts";
import type { Program } from "../../expr.ts";
import { collapse } from "../../shape.ts";
import { claimChunks, kernel, scratchI64, slotI32, slotI64, smaller } from "../emit/abi.ts";
import {
  type AccessContext,
  loadDense,
  loadInputs,
  loadRowInputs,
  moveDense,
  type RowInputs,
} from "../emit/access.ts";
import { I32, I64, Module, V128 } from "../emit/assembler.ts";
import {
  type Layout,
  layoutFrom,
  layoutKey,
  Odometer,
  rowSlotCount,
  rowSlots,
} from "../emit/odometer.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Constants, Temporaries } from "../emit/vector_math.ts";
import { HEAVY, VectorProgram } from "../emit/vector_expr.ts";

type ReduceOp = KernelArgs["reduce"]["op"];

/** How a reduction goes: what changes nothing, and the instruction that combines two values. */
export const REDUCTIONS = {
  sum: { identity: 0, combine: "add" },
  max: { identity: -Infinity, combine: "max" },
  min: { identity: Infinity, combine: "min" },
} as const;

/** Elements of one row that are combined before their result is handed on. */
export const ROW_BLOCK = 4096;
/** Elements after which a row's running results are put aside: shorter chains, smaller errors. */
const ROW_RUN = 1024;
/** Elements that a thread claims at least. */
const CLAIM = 16384;

// Argument slots before those of the odometer.
const ROWS = { tiles: 0, rows: 1, columns: 2, tileRows: 3, blocks: 4, out: 5 } as const;
const ROWS_SLOTS = 6;

/**
 * Reduces [O, R, I] to [O, I, blocks]: one result for each `ROW_BLOCK` elements.
 *
 * @param out address of the results
 */
export function reduceRows(
  runtime: WasmRuntime,
  args: KernelArgs["reduce"],
  blocks: number,
  out: number,
): void {
  const { op, program, ins, scalars } = args;
  const [O, R, I] = ins[0]!.shape as [number, number, number];
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
  const rowInputs: RowInputs = {
    operands: layout.operands,
    pointers,
    steps: odometer.steps,
    repeated: f.locals(V128, layout.operands.length),
  };
  const identity = context.constants.f32(REDUCTIONS[op].identity);

  /** Combines a value, or what the mask leaves of it, with what there is. */
  const add = (into: number, value: number, masked = false) => {
    f.get(into).get(value);
    if (masked) f.get(identity).get(mask).v128("bitselect");
    f.f32x4(REDUCTIONS[op].combine).set(into);
  };
  const combine = (inputs: readonly number[][], into: readonly number[], masked = false) => {
    const values = inputs.map((locals) => code.emitElements(locals, -1)[0]!);
    values.forEach((value, u) => add(into[u]!, value, masked));
    context.temporaries.releaseAll();
  };
  const step = 4 * unroll;
  const isDense = layout.operands.every(({ step }) => step !== "strided");
  /**
   * All runs of a block side by side, in the order of their sums one after the other: memory hands
   * out several streams faster than one.
   */
  const wholeBlock = () => {
    const runs = Array.from({ length: ROW_BLOCK / ROW_RUN }, () => f.locals(V128, unroll));
    for (const local of runs.flat()) f.get(identity).set(local);
    f.i32const(ROW_RUN / step).set(stop);
    f.doWhile(() => {
      runs.forEach((sums, run) => {
        const inputs = Array.from(
          { length: unroll },
          (_, u) =>
            layout.operands.map((_, i) => loadDense(context, rowInputs, i, run * ROW_RUN + 4 * u)),
        );
        combine(inputs, sums);
      });
      moveDense(context, rowInputs, step);
    }, () => f.get(stop).i32const(1).i32("sub").tee(stop).i32const(0).i32("gt_s"));
    moveDense(context, rowInputs, ROW_BLOCK - ROW_RUN);
    // By way of memory, as in `storeCombined`.
    runs.flat().forEach((local, i) => f.get(scratch).get(local).vmem("store", 16 * i));
    runs.forEach((_, run) =>
      totals.forEach((total, u) => {
        f.get(total).get(scratch).vmem("load", 16 * (run * unroll + u));
        f.f32x4(REDUCTIONS[op].combine).set(total);
      })
    );
    f.get(left).i32const(ROW_BLOCK).i32("sub").set(left);
  };

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
      loadRowInputs(context, rowInputs);
      code.emitRow(rowInputs.repeated);
      for (const total of totals) f.get(identity).set(total);
      if (isDense) f.get(left).i32const(ROW_BLOCK).i32("ge_s").if(wholeBlock);
      f.get(left).i32const(step).i32("ge_s").if(() => {
        f.doWhile(() => {
          for (const local of running) f.get(identity).set(local);
          // Until ROW_RUN elements are done or too few are left.
          f.get(left).i32const(ROW_RUN).i32("sub").tee(stop).i32const(step - 1);
          f.get(stop).i32const(step - 1).i32("gt_s").select().set(stop);
          f.doWhile(() => {
            combine(loadInputs(context, rowInputs, unroll, undefined), running);
            f.get(left).i32const(step).i32("sub").set(left);
          }, () => f.get(left).get(stop).i32("gt_s"));
          totals.forEach((total, u) => add(total, running[u]!));
        }, () => f.get(left).i32const(step).i32("ge_s"));
      });
      f.get(left).i32const(0).i32("gt_s").if(() => {
        f.doWhile(() => {
          f.get(left).i32x4("splat").get(context.constants.lanes(0, 1, 2, 3)).i32x4("gt_s");
          f.set(mask);
          combine(loadInputs(context, rowInputs, 1, left), totals, true);
          f.get(left).i32const(4).i32("sub").set(left);
        }, () => f.get(left).i32const(0).i32("gt_s"));
      });
      storeCombined(context, op, totals, scratch, target);
      f.get(target).get(blocks).i64("extend_i32_u").i64const(4).i64("mul").i64("add").set(target);
      odometer.next();
    });
  });
  return module;
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
  const combine = REDUCTIONS[op].combine;
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
