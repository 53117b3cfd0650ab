/**
 * The innermost product: a tile of `rows` x `cols` of C from a panel of A and a panel of B.
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
 * How a tile's A lies: `packed` as `pack.ts` makes it, or `transposed`: as panels of B, where
 * `tile.cols` steps of k lie side by side for each row.
 */
export type ALayout = "packed" | "transposed";

/**
 * A function `(k, a, b, c, ldc, accumulate, panel)` for a tile of `rows` rows, at most `tile.rows`:
 * `c = a . b`, or `c += a . b` where `accumulate` is not 0. `ldc` is the bytes between rows of C;
 * `panel` those between panels of a transposed A. Every element is one chain of fused
 * multiply-adds in the order of k, whatever the tile.
 */
function tileKernel(module: Module, tile: Tile, rows: number, layout: ALayout): Func {
  const f = new Func("", [I64, I64, I64, I64, I64, I32, I64]);
  const [k, a, b, c, ldc, accumulate, panel] = [0, 1, 2, 3, 4, 5, 6] as const;
  const packed = layout === "packed";
  const rowBytes = packed ? 4 : tile.cols * 4, kBytes = packed ? tile.rows * 4 : 4;
  const vectors = tile.cols / 4;
  const acc = Array.from({ length: rows }, () => f.locals(V128, vectors));
  const bv = f.locals(V128, vectors);
  const av = f.local(V128);
  const end = f.local(I64), unrolledEnd = f.local(I64);

  const step = (u: number) => {
    for (let v = 0; v < vectors; v++) {
      f.get(b).vmem("load", (u * tile.cols + v * 4) * 4).set(bv[v]!);
    }
    for (let r = 0; r < rows; r++) {
      f.get(a).vmem("load32_splat", u * kBytes + r * rowBytes).set(av);
      for (let v = 0; v < vectors; v++) {
        const sum = acc[r]![v]!;
        f.get(av).get(bv[v]!).get(sum).f32x4("relaxed_madd").set(sum);
      }
    }
  };
  const loop = (until: number, steps: number) => {
    f.get(a).get(until).i64("lt_u").if(() => {
      f.doWhile(() => {
        for (let u = 0; u < steps; u++) step(u);
        f.advance(b, steps * tile.cols * 4).advance(a, steps * kBytes);
      }, () => f.get(a).get(until).i64("lt_u"));
    });
  };
  const run = (steps: number) => {
    f.get(a).get(steps).i64const(-tile.unroll).i64("and").i64const(kBytes).i64("mul").i64("add");
    f.set(unrolledEnd);
    f.get(a).get(steps).i64const(kBytes).i64("mul").i64("add").set(end);
    loop(unrolledEnd, tile.unroll);
    loop(end, 1);
  };
  if (packed) {
    run(k);
  } else {
    const start = f.local(I64), steps = f.local(I64), width = f.local(I64);
    f.get(a).set(start).i64const(tile.cols).set(width);
    f.doWhile(() => {
      f.get(k).get(width).get(k).get(width).i64("lt_s").select().set(steps);
      run(steps);
      f.get(start).get(panel).i64("add").tee(start).set(a).advance(k, -tile.cols);
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
  for (let r = 0; r < rows; r++) {
    for (let v = 0; v < vectors; v++) f.get(c).get(acc[r]![v]!).vmem("store", v * 16);
    if (r < rows - 1) f.get(c).get(ldc).i64("add").set(c);
  }
  return module.add(f);
}

/** The kernels for tiles of 1, 2, ... `tile.rows` rows. */
export function tileKernels(module: Module, tile: Tile, layout: ALayout = "packed"): Func[] {
  return Array.from({ length: tile.rows }, (_, i) => tileKernel(module, tile, i + 1, layout));
}

/** What a tile kernel is called with: locals, or code that pushes a value. */
export interface TileCall {
  readonly k: Push | number;
  readonly a: Push | number;
  readonly b: Push | number;
  readonly c: Push | number;
  readonly ldc: Push | number;
  readonly accumulate: Push | number;
  /** Bytes between panels of a transposed A. */
  readonly panel?: Push | number;
}

/** Calls the kernel for `rows` (an i64 local; more than the tile has counts as all of it). */
export function callTile(f: Func, kernels: readonly Func[], rows: number, call: TileCall): void {
  const callWith = (count: number) => {
    f.push(call.k).push(call.a).push(call.b).push(call.c).push(call.ldc).push(call.accumulate);
    f.push(call.panel ?? ((f) => f.i64const(0))).call(kernels[count - 1]!);
  };
  // The full tile is asked for first: it is nearly always the one.
  const choose = (count: number): void => {
    if (count === 1) return callWith(1);
    f.get(rows).i64const(count).i64("ge_s").if(() => callWith(count), () => choose(count - 1));
  };
  choose(kernels.length);
}
