/**
 * Matrix products. The blocked product of `gemm.ts` on each piece of a grid of batches, rows and
 * columns, which threads claim one by one.
 */
import type { KernelArgs, View } from "../backend.ts";
import { DTYPE_BYTES } from "../dtype.ts";
import { claimChunks, kernel, scratchI64 } from "./abi.ts";
import { type Func, I32, I64, Module } from "./assembler.ts";
import { ACTIVATIONS, FINISH } from "./epilogue.ts";
import { addProduct, blocksFor, emitProduct, productScratch } from "./gemm.ts";
import { type Tile, TILES } from "./gemm_kernel.ts";
import { packPanels } from "./pack.ts";
import type { WasmRuntime } from "./runtime.ts";
import { Slots } from "./slots.ts";
import type { Tier } from "./tier.ts";

/** Slots of the kernel, in order. */
// deno-fmt-ignore
const SLOTS = new Slots([
  "pieces", "piecesM", "piecesN", "stepM", "stepN", "m", "n", "k", "innerBatches",
  "mc", "nc", "kc", "ks", "offsetFinish", "offsetA", "offsetB", "offsetC",
  "a", "aOuter", "aInner", "aRow", "aColumn", "aHalf",
  "b", "bOuter", "bInner", "bRow", "bColumn", "bHalf",
  "out", "outOuter", "outInner", "outRow", "outHalf", "accumulate",
  "finish", "activation", "bias", "biasHalf", "pre", "preHalf",
]);

function build(tier: Tier): Uint8Array<ArrayBuffer> {
  const module = new Module();
  const code = addProduct(module, tier);
  const { tile } = code;
  const packA = {
    f32: packPanels(module, tier, tile.rows),
    f16: packPanels(module, tier, tile.rows, "f16"),
  };
  const packB = {
    f32: packPanels(module, tier, tile.cols),
    f16: packPanels(module, tier, tile.cols, "f16"),
  };
  const f = kernel("matmul");
  const slots = SLOTS.of(f);
  const scratch = scratchI64(f);
  const within = (field: "offsetFinish" | "offsetA" | "offsetB" | "offsetC") => {
    const address = slots.i64(field);
    f.get(scratch).get(address).i64("add").set(address);
    return address;
  };
  const m = slots.i64("m"), n = slots.i64("n"), k = slots.i64("k");
  const stepM = slots.i64("stepM"), stepN = slots.i64("stepN");
  const piecesM = slots.i32("piecesM"),
    piecesN = slots.i32("piecesN"),
    inner = slots.i32("innerBatches");
  const a = slots.i64("a"),
    aRow = slots.i64("aRow"),
    aColumn = slots.i64("aColumn"),
    aHalf = slots.i32("aHalf");
  const b = slots.i64("b"),
    bRow = slots.i64("bRow"),
    bColumn = slots.i64("bColumn"),
    bHalf = slots.i32("bHalf");
  const out = slots.i64("out"), outRow = slots.i64("outRow"), outHalf = slots.i32("outHalf");
  const outBytesShift = f.local(I64);
  f.i64const(2).get(outHalf).i64("extend_i32_u").i64("sub").set(outBytesShift);
  const pre = slots.i64("pre"), preShift = f.local(I64), preRow = f.local(I64);
  f.i64const(2).push(slots.i64("preHalf")).i64("sub").set(preShift);
  f.get(n).get(preShift).i64("shl").set(preRow);
  const bias = slots.i64("bias"), biasShift = f.local(I64);
  f.i64const(2).push(slots.i64("biasHalf")).i64("sub").set(biasShift);
  const strides = {
    a: [slots.i64("aOuter"), slots.i64("aInner")],
    b: [slots.i64("bOuter"), slots.i64("bInner")],
    out: [slots.i64("outOuter"), slots.i64("outInner")],
  } as const;
  const job = within("offsetFinish");
  const accumulateF32 = f.local(I32);
  const accumulate = slots.i32("accumulate");
  f.get(accumulate).get(outHalf).i32("eqz").i32("and").set(accumulateF32);
  const blocks = {
    mc: slots.i64("mc"),
    nc: slots.i64("nc"),
    kc: slots.i64("kc"),
    ks: slots.i64("ks"),
  };
  const panels = {
    panelsA: within("offsetA"),
    panelsB: within("offsetB"),
    spare: scratch,
  };

  const block = within("offsetC");

  // The parts of the finish job that stay the same.
  const put = (name: keyof typeof FINISH, value: () => void) => {
    f.get(job);
    value();
    f.mem("i64.store", FINISH[name]);
  };
  put("activation", () => f.push(slots.i64("activation")));
  put("biasHalf", () => f.push(slots.i64("biasHalf")));
  put("biasPerRow", () => f.i64const(0));
  put("preHalf", () => f.push(slots.i64("preHalf")));
  put("preRowBytes", () => f.get(preRow));
  put("outHalf", () => f.get(outHalf).i64("extend_i32_u"));
  put("outRowBytes", () => f.get(outRow));
  put("add", () => f.get(accumulate).i64("extend_i32_u"));
  const finish = f.local(I64);
  f.get(job).i64const(0).push(slots.i32("finish")).select().set(finish);

  claimChunks(f, slots.i32("pieces"), (piece) => {
    const outer = f.local(I64), innerAt = f.local(I64), batch = f.local(I32), q = f.local(I32);
    const pieceM = f.local(I64), pieceN = f.local(I64);
    f.get(piece).get(piecesM).get(piecesN).i32("mul").i32("div_u").set(batch);
    f.get(piece).get(piecesM).get(piecesN).i32("mul").i32("rem_u").set(q);
    f.get(batch).get(inner).i32("div_u").i64("extend_i32_u").set(outer);
    f.get(batch).get(inner).i32("rem_u").i64("extend_i32_u").set(innerAt);
    f.get(q).get(piecesN).i32("div_u").i64("extend_i32_u").set(pieceM);
    f.get(q).get(piecesN).i32("rem_u").i64("extend_i32_u").set(pieceN);
    const range = (at: number, step: number, size: number) => {
      const from = f.local(I64), to = f.local(I64);
      f.get(at).get(step).i64("mul").tee(from).get(step).i64("add").set(to);
      f.get(to).get(size).get(to).get(size).i64("lt_s").select().set(to);
      return [from, to] as const;
    };
    const [m0, m1] = range(pieceM, stepM, m);
    const [n0, n1] = range(pieceN, stepN, n);
    const start = (base: number, [o, i]: readonly [number, number]) => {
      const address = f.local(I64);
      f.get(base).get(outer).get(o).i64("mul").i64("add");
      f.get(innerAt).get(i).i64("mul").i64("add").set(address);
      return address;
    };
    const a0 = start(a, strides.a), b0 = start(b, strides.b), c0 = start(out, strides.out);
    const pre0 = f.local(I64);
    f.get(pre).get(batch).i64("extend_i32_u").get(m).i64("mul").get(preRow).i64("mul").i64("add");
    f.set(pre0);
    const at = (base: number, row: number, rowBytes: number, column: number, columnBytes: number) =>
      f.get(base).get(row).get(rowBytes).i64("mul").i64("add")
        .get(column).get(columnBytes).i64("mul").i64("add");
    emitProduct(f, code, {
      m0,
      m1,
      n0,
      n1,
      k,
      ...blocks,
      ...panels,
      c: c0,
      ldc: outRow,
      accumulate: accumulateF32,
      aside: { when: outHalf, block },
      packA({ dst, row, lines, p, steps }) {
        const pack = (call: Func) => {
          at(a0, row, aRow, p, aColumn);
          f.get(dst).get(steps).get(aRow).get(aColumn).get(lines).call(call);
        };
        f.get(aHalf).if(() => pack(packA.f16), () => pack(packA.f32));
      },
      packB({ dst, column, lines, p, steps }) {
        const pack = (call: Func) => {
          at(b0, p, bRow, column, bColumn);
          f.get(dst).get(steps).get(bColumn).get(bRow).get(lines).call(call);
        };
        f.get(bHalf).if(() => pack(packB.f16), () => pack(packB.f32));
      },
      finish: {
        job: finish,
        prepare(row, column) {
          put("bias", () => {
            f.get(bias).get(column).get(biasShift).i64("shl").i64("add").i64const(0);
            f.get(bias).i64const(0).i64("ne").select();
          });
          put("pre", () => {
            f.get(pre0).get(row).get(preRow).i64("mul").i64("add");
            f.get(column).get(preShift).i64("shl").i64("add").i64const(0);
            f.get(pre).i64const(0).i64("ne").select();
          });
          put("out", () => {
            f.get(c0).get(row).get(outRow).i64("mul").i64("add");
            f.get(column).get(outBytesShift).i64("shl").i64("add");
          });
        },
      },
    });
  });
  module.add(f);
  return module.bytes();
}

/** Multiply-adds that take as long as packing one element. */
export const PACK_COST = 13;

/**
 * Rows and columns of the pieces that `threads` threads share `batches` products in.
 *
 * @param packCost of an element of A and of B, in multiply-adds
 */
export function pieceGrid(
  tile: Tile,
  batches: number,
  m: number,
  n: number,
  threads: number,
  packCost: { a: number; b: number } = { a: PACK_COST, b: PACK_COST },
): { piecesM: number; piecesN: number; stepM: number; stepN: number } {
  let best = { piecesM: 1, piecesN: 1, stepM: m, stepN: n };
  let bestCost = Infinity;
  const tilesM = Math.ceil(m / tile.rows), tilesN = Math.ceil(n / tile.cols);
  for (let piecesM = 1; piecesM <= Math.min(threads, tilesM); piecesM++) {
    for (let piecesN = 1; piecesM * piecesN <= threads && piecesN <= tilesN; piecesN++) {
      const stepM = Math.ceil(tilesM / piecesM) * tile.rows;
      const stepN = Math.ceil(tilesN / piecesN) * tile.cols;
      // What the busiest thread does, in multiply-adds for each k.
      const rounds = Math.ceil(batches * piecesM * piecesN / threads);
      const cost = rounds * (stepM * stepN + packCost.a * stepM + packCost.b * stepN);
      if (cost < bestCost) {
        bestCost = cost;
        best = {
          piecesM: Math.ceil(m / stepM),
          piecesN: Math.ceil(n / stepN),
          stepM: Math.min(stepM, m),
          stepN: Math.min(stepN, n),
        };
      }
    }
  }
  return best;
}

/** Multiply-adds under which waking another thread does not pay. */
const MIN_WORK_FOR_THREADS = 1 << 17;

/** `matmul` of the kernel contract. */
export function matmul(runtime: WasmRuntime, args: KernelArgs["matmul"]): void {
  const { a, b, bias, activation, pre, out, accumulate } = args;
  const [outerBatches, innerBatches, m, k] = a.shape as [number, number, number, number];
  const n = b.shape[3]!;
  const { tier } = runtime;
  const tile = TILES[tier];
  const half = out.dtype === "f16";
  const batches = outerBatches * innerBatches;
  const threads = batches * m * n * k < MIN_WORK_FOR_THREADS ? 1 : runtime.threads;
  const grid = pieceGrid(tile, batches, m, n, threads);
  const blocks = blocksFor(tile, grid.stepM, grid.stepN, k, half);
  const scratch = productScratch(tile, blocks, half);
  const bytes = (view: View) => view.strides.map((s) => s * DTYPE_BYTES[view.dtype]);
  const [aOuter, aInner, aRow, aColumn] = bytes(a) as [number, number, number, number];
  const [bOuter, bInner, bRow, bColumn] = bytes(b) as [number, number, number, number];
  const [outOuter, outInner, outRow] = bytes(out) as [number, number, number, number];
  const slots = SLOTS.fill({
    ...grid,
    ...blocks,
    pieces: batches * grid.piecesM * grid.piecesN,
    m,
    n,
    k,
    innerBatches,
    offsetFinish: scratch.finish,
    offsetA: scratch.a,
    offsetB: scratch.b,
    offsetC: scratch.c,
    a: runtime.address(a),
    aOuter,
    aInner,
    aRow,
    aColumn,
    aHalf: Number(a.dtype === "f16"),
    b: runtime.address(b),
    bOuter,
    bInner,
    bRow,
    bColumn,
    bHalf: Number(b.dtype === "f16"),
    out: runtime.address(out),
    outOuter,
    outInner,
    outRow,
    outHalf: Number(half),
    accumulate: Number(accumulate),
    finish: Number(half || bias !== null || pre !== null || activation !== "none"),
    activation: ACTIVATIONS.indexOf(activation),
    bias: bias ? runtime.address(bias) : 0,
    biasHalf: Number(bias?.dtype === "f16"),
    pre: pre ? runtime.address(pre) : 0,
    preHalf: Number(pre?.dtype === "f16"),
  });
  const launch = runtime.load(`matmul ${tier}`, () => build(tier))("matmul");
  runtime.launch(launch, slots, { scratchBytes: scratch.bytes, threads });
}
