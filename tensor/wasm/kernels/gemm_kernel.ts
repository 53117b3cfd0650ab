/**
 * The innermost product: a tile of `rows` x `cols` of C from a panel of A and a panel of B, or from
 * either where it lies.
 *
 * A panel of A holds, for each k, the tile's rows next to each other; a panel of B its columns
 * (`pack.ts` makes both). The tile stays in registers while k runs. Under the V8 flags of the fast
 * tier pairs of 128-bit operations become 256-bit ones, so a tile twice as wide fits there; V8
 * pairs only neighbours of the same kind, which is why loads and products come vector by vector.
 */
import { Func, I32, I64, type Module, type Push, V128 } from "../emit/assembler.ts";

/** Sizes of the register tile, measured: larger ones spill, smaller ones starve. */
export interface Tile {
  readonly rows: number;
  readonly cols: number;
  /** Steps of k in one turn of the loop. */
  readonly unroll: number;
}

/** Without and with V8's 256-bit registers. */
export const TILES = {
  safe: { rows: 6, cols: 8, unroll: 8 },
  fast: { rows: 6, cols: 16, unroll: 2 },
} as const satisfies Record<string, Tile>;

/**
 * How a tile's A lies: `packed` as `pack.ts` makes it; `transposed` as panels of B, where
 * `tile.cols` steps of k lie side by side for each row; or, as in a matrix, by `rows`, of which the
 * steps of k are neighbours, or by `columns`, where the rows are.
 */
export type ALayout = "packed" | "transposed" | "rows" | "columns";

/** How a tile's B lies: `packed` as `pack.ts` makes it, or as columns that are neighbours. */
export type BLayout = "packed" | "rows";

/**
 * A function `(k, a, b, c, ldc, accumulate, aStride, bStride, bias)` for a tile of `rows` rows, at
 * most `tile.rows`: `c = a . b + bias`, or `c += a . b + bias` where `accumulate` is not 0. `ldc` is
 * the bytes between rows of C; `aStride` those between panels of a transposed A, between its rows or
 * between its columns, `bStride` those between steps of k where B is not packed. `bias` is the
 * address of an f32 for each column of the tile, or 0. Every element is one chain of fused
 * multiply-adds in the order of k, whatever the tile and the layouts.
 */
function tileKernel(
  module: Module,
  tile: Tile,
  rows: number,
  aLayout: ALayout,
  bLayout: BLayout,
): Func {
  const f = new Func("", [I64, I64, I64, I64, I64, I32, I64, I64, I64]);
  const [k, a, b, c, ldc, accumulate] = [0, 1, 2, 3, 4, 5] as const;
  const [aStride, bStride, bias] = [6, 7, 8] as const;
  const vectors = tile.cols / 4;
  const acc = Array.from({ length: rows }, () => f.locals(V128, vectors));
  const bv = f.locals(V128, vectors);
  const av = f.local(V128);
  const left = f.local(I64);
  // One pointer for all rows where they are at fixed distances, else one for each.
  const pointers = aLayout === "rows" ? f.locals(I64, rows) : Array.from({ length: rows }, () => a);
  const rowBytes = { packed: 4, columns: 4, transposed: tile.cols * 4, rows: 0 }[aLayout];
  const kBytes = { packed: tile.rows * 4, columns: 0, transposed: 4, rows: 4 }[aLayout];

  const step = (u: number) => {
    for (let v = 0; v < vectors; v++) {
      f.get(b).vmem("load", ((bLayout === "packed" ? u * tile.cols : 0) + v * 4) * 4).set(bv[v]!);
    }
    for (let r = 0; r < rows; r++) {
      f.get(pointers[r]!).vmem("load32_splat", u * kBytes + r * rowBytes).set(av);
      for (let v = 0; v < vectors; v++) {
        const sum = acc[r]![v]!;
        f.get(av).get(bv[v]!).get(sum).f32x4("relaxed_madd").set(sum);
      }
    }
    if (aLayout === "columns") f.get(a).get(aStride).i64("add").set(a);
    if (bLayout === "rows") f.get(b).get(bStride).i64("add").set(b);
  };
  /** Takes the next `left` steps, `unroll` at a time and then one by one. */
  const run = () => {
    for (const steps of [tile.unroll, 1]) {
      const more = () => f.get(left).i64const(steps).i64("ge_s");
      more();
      f.if(() =>
        f.doWhile(() => {
          for (let u = 0; u < steps; u++) step(u);
          if (bLayout === "packed") f.advance(b, steps * tile.cols * 4);
          if (aLayout !== "columns") {
            for (const pointer of new Set(pointers)) f.advance(pointer, steps * kBytes);
          }
          f.advance(left, -steps);
        }, more)
      );
    }
  };
  if (aLayout === "rows") {
    f.get(a).set(pointers[0]!);
    for (let r = 1; r < rows; r++) {
      f.get(pointers[r - 1]!).get(aStride).i64("add").set(pointers[r]!);
    }
  }
  if (aLayout !== "transposed") {
    f.get(k).set(left);
    run();
  } else {
    const start = f.local(I64), width = f.local(I64);
    f.get(a).set(start).i64const(tile.cols).set(width);
    f.doWhile(() => {
      f.get(k).get(width).get(k).get(width).i64("lt_s").select().set(left);
      run();
      f.get(start).get(aStride).i64("add").tee(start).set(a).advance(k, -tile.cols);
    }, () => f.get(k).i64const(0).i64("gt_s"));
  }

  f.get(accumulate).if(() => {
    const row = f.local(I64);
    f.get(c).set(row);
    for (let r = 0; r < rows; r++) {
      for (let v = 0; v < vectors; v++) {
        const sum = acc[r]![v]!;
        f.get(sum).get(row).vmem("load", v * 16).f32x4("add").set(sum);
      }
      if (r < rows - 1) f.get(row).get(ldc).i64("add").set(row);
    }
  });
  f.get(bias).i64const(0).i64("ne").if(() => {
    for (let r = 0; r < rows; r++) {
      for (let v = 0; v < vectors; v++) {
        const sum = acc[r]![v]!;
        f.get(sum).get(bias).vmem("load", v * 16).f32x4("add").set(sum);
      }
    }
  });
  for (let r = 0; r < rows; r++) {
    for (let v = 0; v < vectors; v++) f.get(c).get(acc[r]![v]!).vmem("store", v * 16);
    if (r < rows - 1) f.get(c).get(ldc).i64("add").set(c);
  }
  return module.add(f);
}

/** The kernels for tiles of 1, 2, ... `tile.rows` rows. */
export function tileKernels(
  module: Module,
  tile: Tile,
  a: ALayout = "packed",
  b: BLayout = "packed",
): Func[] {
  return Array.from({ length: tile.rows }, (_, i) => tileKernel(module, tile, i + 1, a, b));
}

/** What a tile kernel is called with: locals, or code that pushes a value. */
export interface TileCall {
  readonly k: Push | number;
  readonly a: Push | number;
  readonly b: Push | number;
  readonly c: Push | number;
  readonly ldc: Push | number;
  readonly accumulate: Push | number;
  /** Bytes between panels of a transposed A, or between its rows or columns. */
  readonly aStride?: Push | number;
  /** Bytes between steps of k where B is not packed. */
  readonly bStride?: Push | number;
  /** Address of what is added to each column, or 0. */
  readonly bias?: Push | number;
}

/** Calls the kernel for `rows` (an i64 local; more than the tile has counts as all of it). */
export function callTile(f: Func, kernels: readonly Func[], rows: number, call: TileCall): void {
  const callWith = (count: number) => {
    f.push(call.k).push(call.a).push(call.b).push(call.c).push(call.ldc).push(call.accumulate);
    const none: Push = (f) => f.i64const(0);
    f.push(call.aStride ?? none).push(call.bStride ?? none).push(call.bias ?? none);
    f.call(kernels[count - 1]!);
  };
  // The full tile is asked for first: it is nearly always the one.
  const choose = (count: number): void => {
    if (count === 1) return callWith(1);
    f.get(rows).i64const(count).i64("ge_s").if(() => callWith(count), () => choose(count - 1));
  };
  choose(kernels.length);
}
