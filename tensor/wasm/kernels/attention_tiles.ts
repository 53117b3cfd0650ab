/**
 * Pieces that attention and its gradient share. Both work on panels of `tile.cols` queries side by
 * side: a matrix [X, queries] is kept as panels, each [X, tile.cols] without gaps.
 */
import { F32, Func, I32, I64, type Module, type Push, V128 } from "../emit/assembler.ts";
import { callTile, type Tile } from "./gemm_kernel.ts";
import { transpose4 } from "./pack.ts";

/** Queries taken at a time, a multiple of the panel width in both tiers. */
export const QUERY_BLOCK = 64;

/**
 * A function `(rows, panels, k, a, aRow, b, bPanel, c, cPanel, accumulate)`: the product of rows of
 * A with each of `panels` panels of B, into (or added to) panels of C; `bPanel` and `cPanel` are the
 * bytes between panels, `aRow` those between rows of A: 4 k where these are packed.
 *
 * @param kernels those for A as it lies
 * @param outer what the outer loop goes over: what the inner one goes over stays in the
 *   first-level cache
 */
export function panelProduct(
  module: Module,
  tile: Tile,
  kernels: readonly Func[],
  outer: "rows" | "panels",
): Func {
  const f = new Func("", [I64, I64, I64, I64, I64, I64, I64, I64, I64, I32]);
  const [rows, panels, k, a, aRow, b] = [0, 1, 2, 3, 4, 5] as const;
  const [bPanel, c, cPanel, accumulate] = [6, 7, 8, 9] as const;
  const row = f.local(I64), panel = f.local(I64), left = f.local(I64);
  const [aAt, bAt, cAt] = f.locals(I64, 3);
  const call = () => {
    f.get(a).get(row).get(aRow).i64("mul").i64("add").set(aAt!);
    f.get(b).get(panel).get(bPanel).i64("mul").i64("add").set(bAt!);
    f.get(c).get(panel).get(cPanel).i64("mul").i64("add");
    f.get(row).i64const(tile.cols * 4).i64("mul").i64("add").set(cAt!);
    f.get(rows).get(row).i64("sub").set(left);
    callTile(f, kernels, left, {
      k,
      a: aAt!,
      b: bAt!,
      c: cAt!,
      ldc: (f) => f.i64const(tile.cols * 4),
      accumulate,
      aStride: aRow,
    });
  };
  const overRows = (body: () => void) => {
    f.i64const(0).set(row);
    f.for64(row, rows, tile.rows, body);
  };
  const overPanels = (body: () => void) => {
    f.i64const(0).set(panel);
    f.for64(panel, panels, 1, body);
  };
  if (outer === "rows") overRows(() => overPanels(call));
  else overPanels(() => overRows(call));
  return module.add(f);
}

/**
 * A function `(panel, rows, lanes, factors, out, outRowBytes, accumulate)` that writes the first
 * `lanes` columns of a panel [rows, tile.cols] as rows of `out`, each times its factor (an f32 a
 * lane), or adds them there.
 */
export function writeTransposed(module: Module, tile: Tile): Func {
  const width = tile.cols * 4;
  const scalar = scalarTranspose(module, tile);
  const f = new Func("", [I64, I64, I64, I64, I64, I64, I32]);
  const [panel, rows, lanes, factors, out, rowBytes, accumulate] = [0, 1, 2, 3, 4, 5, 6] as const;
  const row = f.local(I64), from = f.local(I64), factor = f.local(V128);
  const outs = f.locals(I64, 4);
  const rest = (count: Push) => {
    f.get(from).get(rows).get(row).i64("sub").push(count).get(factors);
    f.get(outs[0]!).get(rowBytes).get(accumulate).call(scalar);
  };
  const more = () => f.get(lanes).i64const(4).i64("ge_s");
  const start = () => f.get(panel).set(from).get(out).set(outs[0]!).i64const(0).set(row);
  more();
  f.if(() =>
    f.doWhile(() => {
      start();
      for (let i = 1; i < 4; i++) f.get(outs[i - 1]!).get(rowBytes).i64("add").set(outs[i]!);
      f.get(factors).vmem("load").set(factor);
      f.for64(row, (f) => f.get(rows).i64const(3).i64("sub"), 4, () => {
        const values = Array.from({ length: 4 }, (_, i) => {
          const v = f.local(V128);
          f.get(from).vmem("load", i * width).get(factor).f32x4("mul").set(v);
          return v;
        });
        const columns = transpose4(f, values);
        f.get(accumulate).if(() => {
          columns.forEach((v, i) => f.get(v).get(outs[i]!).vmem("load").f32x4("add").set(v));
        });
        columns.forEach((v, i) => f.get(outs[i]!).get(v).vmem("store"));
        for (const o of outs) f.advance(o, 16);
        f.advance(from, 4 * width);
      });
      rest((f) => f.i64const(4));
      f.advance(panel, 16).advance(factors, 16).advance(lanes, -4);
      f.get(out).get(rowBytes).i64const(4).i64("mul").i64("add").set(out);
    }, more)
  );
  f.get(lanes).i64const(0).i64("gt_s").if(() => {
    start();
    rest((f) => f.get(lanes));
  });
  return module.add(f);
}

/** `(panel, rows, lanes, factors, out, outRowBytes, accumulate)`, one element at a time. */
function scalarTranspose(module: Module, tile: Tile): Func {
  const f = new Func("", [I64, I64, I64, I64, I64, I64, I32]);
  const [panel, rows, lanes, factors, out, rowBytes, accumulate] = [0, 1, 2, 3, 4, 5, 6] as const;
  const lane = f.local(I64), row = f.local(I64), from = f.local(I64), to = f.local(I64);
  f.for64(lane, lanes, 1, () => {
    f.get(panel).set(from).get(out).set(to).i64const(0).set(row);
    f.for64(row, rows, 1, () => {
      f.get(to).get(from).mem("f32.load").get(factors).mem("f32.load").f32("mul");
      f.get(accumulate).if(() => f.get(to).mem("f32.load"), () => f.f32const(0), F32);
      f.f32("add").mem("f32.store").advance(from, tile.cols * 4).advance(to, 4);
    });
    f.advance(panel, 4).advance(factors, 4);
    f.get(out).get(rowBytes).i64("add").set(out);
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
