/**
 * Pieces that attention and its gradient share. Both work on panels of `tile.cols` queries side by
 * side: a matrix [X, queries] is kept as panels, each [X, tile.cols] without gaps.
 */
import { Func, I32, I64, type Module, V128 } from "../emit/assembler.ts";
import { callTile, type Tile, tileKernels } from "./gemm_kernel.ts";
import { vectorContext, walk } from "../emit/rows.ts";

/** Queries taken at a time, a multiple of the panel width in both tiers. */
export const QUERY_BLOCK = 64;

/**
 * A function `(rows, panels, k, a, aRow, b, bPanel, c, cPanel)`: the product of rows of A, where they
 * lie, with each of `panels` panels of B, into panels of C; `aRow` are the bytes between rows of A,
 * `bPanel` and `cPanel` those between panels.
 */
export function panelProduct(module: Module, tile: Tile): Func {
  const kernels = tileKernels(module, tile, "rows");
  const f = new Func("", [I64, I64, I64, I64, I64, I64, I64, I64, I64]);
  const [rows, panels, k, a, aRow, b, bPanel, c, cPanel] = [0, 1, 2, 3, 4, 5, 6, 7, 8] as const;
  const [row, panel, left, aAt, bAt, cAt] = f.locals(I64, 6);
  f.i64const(0).set(row!);
  // Rows of A stay in the first-level cache while the panels pass.
  f.for64(row!, rows, tile.rows, () => {
    f.get(a).get(row!).get(aRow).i64("mul").i64("add").set(aAt!);
    f.get(rows).get(row!).i64("sub").set(left!);
    f.get(b).set(bAt!).get(c).get(row!).i64const(tile.cols * 4).i64("mul").i64("add").set(cAt!);
    f.i64const(0).set(panel!);
    f.for64(panel!, panels, 1, () => {
      callTile(f, kernels, left!, {
        k,
        a: aAt!,
        b: bAt!,
        c: cAt!,
        ldc: (f) => f.i64const(tile.cols * 4),
        accumulate: (f) => f.i32const(0),
        aStride: aRow,
      });
      f.get(bAt!).get(bPanel).i64("add").set(bAt!).get(cAt!).get(cPanel).i64("add").set(cAt!);
    });
  });
  return module.add(f);
}

/**
 * A function `(rows, cols, k, a, aPanel, b, c, cRow, accumulate)`: C [rows, cols], its rows `cRow`
 * bytes apart and its columns a multiple of the tile's, from panels of `k` steps of as many rows of A
 * side by side, `aPanel` bytes apart, and packed panels of B.
 */
export function rowsProduct(module: Module, tile: Tile): Func {
  const kernels = tileKernels(module, tile, "columns");
  const f = new Func("", [I64, I64, I64, I64, I64, I64, I64, I64, I32]);
  const [rows, cols, k, a, aPanel, b, c, ldc, accumulate] = [0, 1, 2, 3, 4, 5, 6, 7, 8] as const;
  const [row, col, left, bAt, cAt, panel, aAt] = f.locals(I64, 7);
  // A panel's rows in tiles of about the same size.
  const step = Math.ceil(tile.cols / Math.ceil(tile.cols / tile.rows));
  f.for64(col!, cols, tile.cols, () => {
    f.get(b).get(col!).get(k).i64("mul").i64const(4).i64("mul").i64("add").set(bAt!);
    f.get(c).get(col!).i64const(4).i64("mul").i64("add").set(cAt!);
    f.i64const(0).set(row!).get(a).set(panel!);
    f.for64(row!, rows, tile.cols, () => {
      for (let at = 0; at < tile.cols; at += step) {
        f.get(rows).get(row!).i64("sub").i64const(at).i64("sub").set(left!);
        f.get(left!).i64const(0).i64("gt_s").if(() => {
          const most = Math.min(step, tile.cols - at);
          f.get(panel!).i64const(at * 4).i64("add").set(aAt!);
          callTile(f, kernels.slice(0, most), left!, {
            k,
            a: aAt!,
            b: bAt!,
            c: cAt!,
            ldc,
            accumulate,
            aStride: (f) => f.i64const(tile.cols * 4),
          });
          f.get(cAt!).get(ldc).i64const(most).i64("mul").i64("add").set(cAt!);
        });
      }
      f.get(panel!).get(aPanel).i64("add").set(panel!);
    });
  });
  return module.add(f);
}

/**
 * A function `(from, fromRow, to, toRow, rows, columns, factors, accumulate)` that writes rows of f32
 * to others, or adds them there, each times its factor: an f32 a row at `factors`, 1 where that is 0.
 * `fromRow` and `toRow` are the bytes between rows.
 */
export function writeRows(module: Module): Func {
  const f = new Func("", [I64, I64, I64, I64, I64, I64, I64, I32]);
  const c = vectorContext(f);
  const [from, fromRow, to, toRow] = [0, 1, 2, 3] as const;
  const [rows, columns, factors, accumulate] = [4, 5, 6, 7] as const;
  const row = f.local(I64), factor = f.local(V128);
  const isScaled = () => f.get(factors).i64const(0).i64("ne");
  f.f32x4const(1).set(factor);
  f.for64(row, rows, 1, () => {
    isScaled().if(() => f.get(factors).vmem("load32_splat").set(factor).advance(factors, 4));
    walk(c, columns, [from, to], ({ load, store }) => {
      const values = load(0);
      for (const v of values) f.get(v).get(factor).f32x4("mul").set(v);
      f.get(accumulate).if(() => {
        const old = load(1);
        values.forEach((v, i) => f.get(old[i]!).get(v).f32x4("add").set(v));
      });
      store(1, values);
    });
    f.get(from).get(fromRow).i64("add").set(from).get(to).get(toRow).i64("add").set(to);
  });
  return module.add(f);
}

/** Loads `vectors` neighbouring vectors into new locals. */
export function loadVectors(f: Func, address: number, vectors: number, offset = 0): number[] {
  return Array.from({ length: vectors }, (_, v) => {
    const local = f.local(V128);
    f.get(address).vmem("load", offset + v * 16).set(local);
    return local;
  });
}

/** Stores vectors next to each other. */
export function storeVectors(
  f: Func,
  address: number,
  values: readonly number[],
  offset = 0,
): void {
  values.forEach((value, v) => f.get(address).get(value).vmem("store", offset + v * 16));
}

/** Into how many parts each of `heads` heads goes so that `threads` threads are about equally busy. */
export function headParts(heads: number, threads: number): number {
  if (heads >= 4 * threads) return 1;
  let parts = 1;
  while (heads * parts % threads !== 0) parts++;
  return parts;
}

/** Cuts `x` into the fewest equal parts of at most `most`; the size of a part. */
export function evenBlock(x: number, most: number): number {
  return Math.ceil(x / Math.ceil(x / most));
}
