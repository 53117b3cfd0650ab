/** Rows of a table by index, and sums of rows that share an index: an embedding and its gradient. */
import type { KernelArgs } from "../../kernels.ts";
import { claimChunks, kernel } from "../emit/abi.ts";
import { type Func, I64, Module } from "../emit/assembler.ts";
import { rowAddress, vectorContext, walk } from "../emit/rows.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";

/** Elements that a thread claims at a time. */
const CHUNK = 16384;

const GATHER = new Slots([
  "chunks",
  "chunkRows",
  "rows",
  "columns",
  "last",
  "index",
  "table",
  "tableBytes",
  "out",
]);

/**
 * The table's row that entry `row` of the index asks for, as an i64 in a new local. An index
 * outside the table, which `checkIndices` reports, reads the last row: never other memory.
 */
function indexAt(f: Func, index: number, row: number, last: number): number {
  const at = f.local(I64);
  f.get(index).get(row).i64const(2).i64("shl").i64("add").mem("i32.load").i64("extend_i32_u");
  f.set(at);
  f.get(at).get(last).get(at).get(last).i64("lt_u").select().set(at);
  return at;
}

function gatherKernel(): Func {
  const f = kernel("gather");
  const c = vectorContext(f);
  const slots = GATHER.of(f);
  const chunks = slots.i32("chunks"), chunkRows = slots.i64("chunkRows"), rows = slots.i64("rows");
  const columns = slots.i64("columns"), last = slots.i64("last"), index = slots.i64("index");
  const table = slots.i64("table"), tableBytes = slots.i64("tableBytes"), out = slots.i64("out");
  const bytes = f.local(I64), row = f.local(I64), end = f.local(I64);
  f.get(columns).i64const(2).i64("shl").set(bytes);
  claimChunks(f, chunks, (chunk) => {
    f.get(chunk).i64("extend_i32_u").get(chunkRows).i64("mul").tee(row);
    f.get(chunkRows).i64("add").set(end);
    f.get(end).get(rows).get(end).get(rows).i64("lt_s").select().set(end);
    f.for64(row, end, 1, () => {
      const from = rowAddress(f, table, indexAt(f, index, row, last), tableBytes);
      const to = rowAddress(f, out, row, bytes);
      walk(c, columns, [from, to], (step) => step.store(1, step.load(0)));
    });
  });
  return f;
}

/** `gather` of the kernel contract. */
export function gather(runtime: WasmRuntime, args: KernelArgs["gather"]): void {
  const { table, index, out } = args;
  const [rows, columns] = out.shape as [number, number];
  const chunkRows = Math.max(1, Math.ceil(CHUNK / columns));
  const slots = GATHER.fill({
    chunks: Math.ceil(rows / chunkRows),
    chunkRows,
    rows,
    columns,
    last: table.shape[0]! - 1,
    index: runtime.address(index),
    table: runtime.address(table),
    tableBytes: table.strides[0]! * 4,
    out: runtime.address(out),
  });
  const kernelId = runtime.load("gather", build)("gather");
  runtime.launch(kernelId, slots, { threads: runtime.threadsFor(rows * columns) });
}

const SCATTER = new Slots([
  "chunks",
  "chunkColumns",
  "rows",
  "columns",
  "last",
  "index",
  "g",
  "out",
]);

/** Threads share the columns, so that each sum is made by one thread in the order of the index. */
function scatterKernel(): Func {
  const f = kernel("scatterAdd");
  const c = vectorContext(f);
  const slots = SCATTER.of(f);
  const chunks = slots.i32("chunks"), chunkColumns = slots.i64("chunkColumns");
  const rows = slots.i64("rows"), columns = slots.i64("columns"), last = slots.i64("last");
  const index = slots.i64("index"), g = slots.i64("g"), out = slots.i64("out");
  const bytes = f.local(I64);
  f.get(columns).i64const(2).i64("shl").set(bytes);
  claimChunks(f, chunks, (chunk) => {
    const first = f.local(I64), width = f.local(I64), left = f.local(I64), row = f.local(I64);
    f.get(chunk).i64("extend_i32_u").get(chunkColumns).i64("mul").set(first);
    f.get(columns).get(first).i64("sub").set(left);
    f.get(chunkColumns).get(left).get(chunkColumns).get(left).i64("lt_s").select().set(width);
    const outPart = f.local(I64), gPart = f.local(I64);
    for (const [part, base] of [[outPart, out], [gPart, g]] as const) {
      f.get(base).get(first).i64const(2).i64("shl").i64("add").set(part);
    }
    f.i64const(0).set(row);
    f.for64(row, (f) => f.get(last).i64const(1).i64("add"), 1, () => {
      const to = rowAddress(f, outPart, row, bytes);
      f.get(to).i32const(0).get(width).i64const(2).i64("shl").memoryFill();
    });
    f.i64const(0).set(row);
    f.for64(row, rows, 1, () => {
      const to = rowAddress(f, outPart, indexAt(f, index, row, last), bytes);
      const from = rowAddress(f, gPart, row, bytes);
      walk(c, width, [from, to], (step) => {
        const more = step.load(0), sums = step.load(1);
        sums.forEach((sum, i) => f.get(sum).get(more[i]!).f32x4("add").set(sum));
        step.store(1, sums);
      });
    });
  });
  return f;
}

/** Columns that a thread takes at least: two cache lines. */
const LEAST_COLUMNS = 32;

/** `scatterAdd` of the kernel contract. */
export function scatterAdd(runtime: WasmRuntime, args: KernelArgs["scatterAdd"]): void {
  const { g, index, out } = args;
  const [rows, columns] = g.shape as [number, number];
  const tableRows = out.shape[0]!;
  const threads = runtime.threadsFor((rows + tableRows) * columns);
  const share = Math.ceil(columns / threads / LEAST_COLUMNS) * LEAST_COLUMNS;
  const slots = SCATTER.fill({
    chunks: Math.ceil(columns / share),
    chunkColumns: share,
    rows,
    columns,
    last: tableRows - 1,
    index: runtime.address(index),
    g: runtime.address(g),
    out: runtime.address(out),
  });
  runtime.launch(runtime.load("gather", build)("scatterAdd"), slots, { threads });
}

function build(): Module {
  const module = new Module();
  module.add(gatherKernel());
  module.add(scatterKernel());
  return module;
}
