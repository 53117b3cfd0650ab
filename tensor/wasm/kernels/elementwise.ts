/**
 * Elementwise kernels: one pass over all inputs and outputs of a program, cut into tiles of rows
 * and columns that the threads claim one by one.
 *
 * Dimensions are walked in the order in which the output lies in memory. An input that lies the
 * other way round (a transpose) is transposed tile by tile, see staging.ts.
 */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import type { Expr, Program } from "../../expr.ts";
import { collapse } from "../../shape.ts";
import { claimChunks, kernel, slotI32, slotI64, smaller } from "../emit/abi.ts";
import { I32, I64, Module } from "../emit/assembler.ts";
import { ElementwiseBody } from "./elementwise_body.ts";
import { type Layout, layoutFrom, layoutKey, Odometer, rowSlots } from "../emit/odometer.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { STAGED_COLUMNS, STAGED_ROWS, Staging, stagingBytes } from "./staging.ts";
import { HEAVY, operandsOf } from "../emit/vector_expr.ts";

/** Elements of a tile: long enough to make claiming cheap, short enough to share evenly. */
const TILE = 16384;
/** The same where a program has more nodes than `HEAVY`. */
const HEAVY_TILE = 4096;
/** Columns of a tile where an operand jumps along rows: its cache lines serve several rows. */
const STRIDED_COLUMNS = 64;

// Argument slots before those of the rows.
const TILES = 0, RUN = 1, COLUMNS = 2, TILE_ROWS = 3, TILE_COLUMNS = 4, ACROSS = 5, DOWN = 6;
const ROW_SLOTS = 7;

/** Runs `program` over views of one shape; see `KernelArgs.elementwise`. */
export function elementwise(runtime: WasmRuntime, args: KernelArgs["elementwise"]): void {
  const { program, ins, outs, scalars } = args;
  const { usesIndex, nodes } = traitsOf(program);
  const tile = nodes > HEAVY ? HEAVY_TILE : TILE;
  const layout = planLayout(ins, outs, usesIndex);
  const staged = stagedInputs(layout, ins.length);
  const key = `elementwise ${program.key} ${layoutKey(layout)} ${staged.join()}`;
  const run = runtime.load(key, () => build(program, layout, staged, runtime.tier === "fast"));

  const { rows, columns, operands } = layout;
  const strided = operands.some(({ step }) => step === "strided");
  const tileColumns = Math.min(
    columns,
    staged.length > 0 ? STAGED_COLUMNS : strided ? STRIDED_COLUMNS : tile,
  );
  // Tiles of staged inputs must stay within one run of rows that are neighbours in them.
  const runRows = staged.length > 0 ? layout.outer.at(-1)! : rows;
  const tileRows = staged.length > 0
    ? Math.min(runRows, STAGED_ROWS)
    : Math.max(1, Math.min(rows, Math.floor(tile / tileColumns)));
  const across = Math.ceil(columns / tileColumns);
  const down = Math.ceil(runRows / tileRows);
  const tiles = across * down * (rows / runRows);
  runtime.launch(
    run("run"),
    [
      tiles,
      runRows,
      columns,
      tileRows,
      tileColumns,
      across,
      down,
      ...rowSlots(runtime, layout),
      ...scalars,
    ],
    {
      threads: Math.min(tiles, runtime.threadsFor(rows * columns, tile)),
      scratchBytes: stagingBytes(staged.length),
    },
  );
}

/** What matters of a program before its code is made. */
interface Traits {
  /** Whether it asks for the element's number, which fixes the order of dimensions. */
  readonly usesIndex: boolean;
  readonly nodes: number;
}

const traits = new WeakMap<Program, Traits>();

function traitsOf(program: Program): Traits {
  let found = traits.get(program);
  if (!found) {
    const nodes = new Set<Expr>();
    const visit = (expr: Expr): void => {
      if (nodes.has(expr)) return;
      nodes.add(expr);
      operandsOf(expr).forEach(visit);
    };
    program.outs.forEach(visit);
    const usesIndex = [...nodes].some(({ node }) => node.kind === "index");
    found = { usesIndex, nodes: nodes.size };
    traits.set(program, found);
  }
  return found;
}

/**
 * The dimensions of all operands, in the order of the first output's strides unless element
 * numbers matter; a dimension along which an input's elements are neighbours goes next to the
 * innermost, for staging.
 */
function planLayout(ins: readonly View[], outs: readonly View[], usesIndex: boolean): Layout {
  const views = [...ins, ...outs];
  const shape = outs[0]!.shape;
  if (shape.length < 2 || usesIndex) {
    const { shape: dims, strides } = collapse(shape, views.map((view) => view.strides));
    return layoutFrom(views, dims, strides);
  }
  const first = outs[0]!.strides;
  const order = shape.map((_, d) => d);
  if (first.some((stride, d) => d > 0 && stride > first[d - 1]!)) {
    order.sort((a, b) => first[b]! - first[a]!);
  }
  const { shape: dims, strides } = collapse(
    order.map((d) => shape[d]!),
    views.map((view) => order.map((d) => view.strides[d]!)),
  );
  const inner = dims.length - 1;
  for (let i = 0; i < ins.length; i++) {
    if (strides[i]![inner]! <= 1) continue;
    const near = strides[i]!.findIndex((stride, d) => stride === 1 && d < inner);
    if (near < 0) continue;
    for (const list of [dims, ...strides]) list.splice(inner - 1, 0, ...list.splice(near, 1));
    break;
  }
  return layoutFrom(views, dims, strides);
}

/** Inputs that jump along rows but whose elements of successive rows are neighbours. */
function stagedInputs({ operands, outer, strides }: Layout, inputs: number): number[] {
  const staged: number[] = [];
  for (let i = 0; i < inputs; i++) {
    if (operands[i]!.step === "strided" && strides[i]![outer.length - 1] === 1) staged.push(i);
  }
  return staged;
}

function build(
  program: Program,
  layout: Layout,
  staged: readonly number[],
  half: boolean,
): Module {
  const module = new Module();
  const f = module.add(kernel("run"));
  const tileRows = slotI64(f, TILE_ROWS), tileColumns = slotI64(f, TILE_COLUMNS);
  const runRows = slotI64(f, RUN), columnCount = slotI64(f, COLUMNS);
  const across = slotI32(f, ACROSS), down = slotI32(f, DOWN), tiles = slotI32(f, TILES);
  const rows = new Odometer(f, layout, ROW_SLOTS);
  const body = new ElementwiseBody(f, program, layout, rows, staged, ROW_SLOTS, half);
  const staging = new Staging(body.context, layout, rows, staged);

  const row = f.local(I64), rowEnd = f.local(I64), column = f.local(I64), columns = f.local(I32);
  const [runEnd, rest] = [f.local(I64), f.local(I64)];
  claimChunks(f, tiles, (tile) => {
    // tile = (run * down + tile within the run) * across + tile of columns
    f.get(tile).get(across).i32("rem_u").i64("extend_i32_u").get(tileColumns).i64("mul");
    f.set(column);
    f.get(tile).get(across).i32("div_u").get(down).i32("div_u").i64("extend_i32_u");
    f.get(runRows).i64("mul").tee(row).get(runRows).i64("add").set(runEnd);
    f.get(tile).get(across).i32("div_u").get(down).i32("rem_u").i64("extend_i32_u");
    f.get(tileRows).i64("mul").get(row).i64("add").tee(row).get(tileRows).i64("add").set(rowEnd);
    smaller(f, rowEnd, runEnd).set(rowEnd);
    f.get(columnCount).get(column).i64("sub").set(rest);
    smaller(f, rest, tileColumns).i32("wrap_i64").set(columns);
    rows.locate(row, column);
    staging.emitTile(row, rowEnd, columns);
    f.for64(row, rowEnd, 1, () => {
      body.emitRow(staging.pointers, columns, () => {
        f.get(row).get(columnCount).i64("mul").get(column).i64("add").i32("wrap_i64");
      });
      rows.next();
      staging.emitNext();
    });
  });
  return module;
}
