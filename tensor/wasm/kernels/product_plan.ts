/**
 * How threads share a batch of products: each product is cut into a grid of pieces, which threads
 * claim one by one, and each piece into the blocks of `gemm.ts`.
 */
import { scratchI64 } from "../emit/abi.ts";
import { type Func, I32, I64 } from "../emit/assembler.ts";
import { blocksFor, productScratch } from "./gemm.ts";
import { type Tile, TILES } from "./gemm_kernel.ts";
import { min64 } from "../emit/rows.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";

// deno-fmt-ignore
const FIELDS = [
  "pieces", "piecesM", "piecesN", "stepM", "stepN", "m", "n", "k", "mc", "nc", "kc", "ks",
  "finish", "panelsA", "panelsB", "block",
] as const;

/** The first slots of every kernel that multiplies. Offsets are into a thread's scratch memory. */
export const PLAN = new Slots(FIELDS);

/** Multiply-adds that take as long as packing one element. */
const PACK_COST = 13;

/** Multiply-adds under which waking another thread does not pay. */
const MIN_WORK_FOR_THREADS = 1 << 17;

/**
 * Multiply-adds in a piece at least where there is more than one a thread. Cores need not be
 * equally fast, or free: a thread that is done sooner takes another piece.
 */
const LEAST_PIECE = 1 << 26, MOST_PIECES = 4;

/** A batch of products of m x k by k x n. */
export interface ProductSize {
  readonly batches: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Whether k has to stay whole: results cannot be added to where they end up. */
  readonly wholeK?: boolean;
  /** Whether the batch adds up to one result: every piece then takes all of it. */
  readonly summed?: boolean;
  /** Whether A is packed beforehand, once for all pieces. */
  readonly packedA?: boolean;
}

/** Values for `PLAN`, and what to launch with. */
export interface ProductPlan extends Record<typeof FIELDS[number], number> {
  scratchBytes: number;
  threads: number;
}

/** Rows and columns of the pieces that keep `threads` threads equally busy with least packing. */
export function pieceSteps(
  tile: Tile,
  threads: number,
  batches: number,
  { m, n, packedA = false }: Pick<ProductSize, "m" | "n" | "packedA">,
): { stepM: number; stepN: number } {
  const tilesM = Math.ceil(m / tile.rows), tilesN = Math.ceil(n / tile.cols);
  let stepM = m, stepN = n, best = Infinity;
  for (let piecesM = 1; piecesM <= Math.min(threads, tilesM); piecesM++) {
    for (let piecesN = 1; piecesM * piecesN <= threads && piecesN <= tilesN; piecesN++) {
      const rows = Math.ceil(tilesM / piecesM) * tile.rows;
      const columns = Math.ceil(tilesN / piecesN) * tile.cols;
      // What the busiest thread does, in multiply-adds for each k.
      const rounds = Math.ceil(batches * piecesM * piecesN / threads);
      const packed = (packedA ? 0 : rows) + columns;
      const cost = rounds * (rows * columns + PACK_COST * packed);
      if (cost < best) {
        best = cost;
        stepM = Math.min(rows, m);
        stepN = Math.min(columns, n);
      }
    }
  }
  return { stepM, stepN };
}

/** Plans a batch of products. */
export function planProduct(runtime: WasmRuntime, size: ProductSize): ProductPlan {
  const { batches, m, n, k, wholeK = false, summed = false } = size;
  const tile = TILES[runtime.tier];
  const work = batches * m * n * k;
  const threads = work < MIN_WORK_FOR_THREADS ? 1 : runtime.threads;
  const share = threads === 1 ? 1 : Math.floor(work / threads / LEAST_PIECE);
  const workers = threads * Math.max(1, Math.min(MOST_PIECES, share));
  const separate = summed ? 1 : batches;
  const { stepM, stepN } = pieceSteps(tile, workers, separate, size);
  const piecesM = Math.ceil(m / stepM), piecesN = Math.ceil(n / stepN);
  const blocks = blocksFor(tile, stepM, stepN, k, wholeK);
  const scratch = productScratch(tile, blocks, wholeK);
  return {
    pieces: separate * piecesM * piecesN,
    piecesM,
    piecesN,
    stepM,
    stepN,
    m,
    n,
    k,
    mc: blocks.mc,
    nc: blocks.nc,
    kc: blocks.kc,
    ks: blocks.ks,
    finish: scratch.finish,
    panelsA: scratch.a,
    panelsB: scratch.b,
    block: scratch.c,
    scratchBytes: scratch.bytes,
    threads,
  };
}

/** A piece of a product: i64 locals. */
export interface Piece {
  readonly batch: number;
  readonly m0: number;
  readonly m1: number;
  readonly n0: number;
  readonly n1: number;
}

/** The plan inside a kernel. All i64 locals, scratch offsets made addresses. */
export interface PlanLocals {
  readonly k: number;
  readonly mc: number;
  readonly nc: number;
  readonly kc: number;
  readonly ks: number;
  readonly spare: number;
  readonly panelsA: number;
  readonly panelsB: number;
}

/** Reads the plan's slots in a kernel. */
export function planLocals(f: Func): {
  blocks: PlanLocals;
  m: number;
  n: number;
  finish: number;
  block: number;
  pieces: number;
  /** Works out which piece the i32 local `number` stands for. */
  piece: (number: number) => Piece;
} {
  const slots = PLAN.of(f);
  const scratch = scratchI64(f);
  const within = (field: "finish" | "panelsA" | "panelsB" | "block") => {
    const address = slots.i64(field);
    f.get(scratch).get(address).i64("add").set(address);
    return address;
  };
  const m = slots.i64("m"), n = slots.i64("n");
  const stepM = slots.i64("stepM"), stepN = slots.i64("stepN");
  const piecesM = slots.i32("piecesM"), piecesN = slots.i32("piecesN");
  const range = (index: () => void, step: number, size: number): [number, number] => {
    const from = f.local(I64);
    index();
    f.i64("extend_i32_u").get(step).i64("mul").set(from);
    return [from, min64(f, size, (f) => f.get(from).get(step).i64("add"))];
  };
  return {
    blocks: {
      k: slots.i64("k"),
      mc: slots.i64("mc"),
      nc: slots.i64("nc"),
      kc: slots.i64("kc"),
      ks: slots.i64("ks"),
      spare: scratch,
      panelsA: within("panelsA"),
      panelsB: within("panelsB"),
    },
    m,
    n,
    finish: within("finish"),
    block: within("block"),
    pieces: slots.i32("pieces"),
    piece: (number) => {
      const batch = f.local(I64), q = f.local(I32);
      f.get(number).get(piecesM).get(piecesN).i32("mul").i32("div_u").i64("extend_i32_u");
      f.set(batch);
      f.get(number).get(piecesM).get(piecesN).i32("mul").i32("rem_u").set(q);
      const [m0, m1] = range(() => f.get(q).get(piecesN).i32("div_u"), stepM, m);
      const [n0, n1] = range(() => f.get(q).get(piecesN).i32("rem_u"), stepN, n);
      return { batch, m0, m1, n0, n1 };
    },
  };
}
