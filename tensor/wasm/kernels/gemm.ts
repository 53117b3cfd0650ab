/**
 * The blocked matrix product that matmul, convolution and their gradients share, after Goto and
 * van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): B is packed into
 * panels that stay in the shared cache, a block of A into panels that stay in the core's own, and
 * the register tile walks over both. What the tile can read as fast where it lies is not packed.
 *
 * Each element of C is one chain of fused multiply-adds over at most `KC` steps of k, and those
 * partial sums are added in order. Nothing about it depends on the number of threads, on the tier,
 * or on which block an element is in.
 */
import { F32, Func, I32, I64, type Module, type Push } from "../emit/assembler.ts";
import { loadUnit } from "../emit/access.ts";
import { finishTile } from "./epilogue.ts";
import { callTile, type Tile, tileKernels, TILES } from "./gemm_kernel.ts";
import { accessContext, min64 } from "../emit/rows.ts";
import type { Tier } from "../device/tier.ts";

/** Steps of k at most in one chain: a panel of B then fits the first-level cache. */
const KC = 384;
/** Rows at most of a packed block of A: it fills half of the second-level cache. */
const MC = 192;
/** Columns at most of a packed block of B, and its bytes at most (more where k must stay whole). */
const NC = 1024, B_BLOCK_BYTES = 6 << 20;

/** How a product of m x k by k x n is cut into blocks. */
export interface Blocks {
  readonly mc: number;
  readonly nc: number;
  readonly kc: number;
  /** Steps of k that are packed at a time, a multiple of `kc`. */
  readonly ks: number;
}

const ceilTo = (x: number, step: number): number => Math.ceil(x / step) * step;

/** Cuts x into the fewest equal parts of at most `most`, each a multiple of `step`. */
function evenPart(x: number, most: number, step: number): number {
  return ceilTo(Math.ceil(x / Math.ceil(x / most)), step);
}

/**
 * @param wholeK keep all of k together, for results that cannot be added to where they end up
 */
export function blocksFor(tile: Tile, m: number, n: number, k: number, wholeK: boolean): Blocks {
  const kc = evenPart(k, KC, 8);
  const mc = evenPart(m, MC, tile.rows);
  const most = Math.floor(B_BLOCK_BYTES / (4 * tile.cols * k)) * tile.cols;
  const widest = evenPart(n, NC, tile.cols);
  if (wholeK) return { mc, nc: Math.max(tile.cols, Math.min(most, widest)), kc, ks: k };
  const ks = Math.max(1, Math.floor(B_BLOCK_BYTES / (4 * widest * kc))) * kc;
  return { mc, nc: widest, kc, ks: Math.min(ks, ceilTo(k, kc)) };
}

/** Byte offsets in a thread's scratch memory. */
export interface ProductScratch {
  readonly finish: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly bytes: number;
}

/** Where a product keeps its panels, and its sums where `wholeK` keeps them out of C. */
export function productScratch(tile: Tile, blocks: Blocks, wholeK: boolean): ProductScratch {
  const { mc, nc, kc, ks } = blocks;
  const page = 4096;
  const finish = ceilTo(stripBiases(tile) + tile.cols * 4, 256);
  const a = page;
  const b = a + ceilTo(ceilTo(mc, tile.rows) * kc * 4, page) + 256;
  const c = b + ceilTo(ceilTo(ks, kc) * ceilTo(nc, tile.cols) * 4, page) + 256;
  return { finish, a, b, c, bytes: c + (wholeK ? mc * ceilTo(nc, tile.cols) * 4 : 0) };
}

/** Behind the spare tile: a strip's biases in f32, where they are kept as f16. */
const stripBiases = (tile: Tile): number => tile.rows * tile.cols * 4;

/** The functions a module needs for products. */
export interface ProductCode {
  readonly tile: Tile;
  /**
   * `(mc, nc, kc, a, b, c, ldc, accumulate, spare tile, finish job or 0, aStride, whether A lies by
   * columns, bStride, bias or 0, whether it is f16)` over blocks; the strides as in `ProductSpec`.
   */
  readonly block: Func;
}

/**
 * Adds the tile kernels and the loop over tiles to a module.
 *
 * @param inPlace whether A or B may be read where it lies
 */
export function addProduct(module: Module, tier: Tier, inPlace = false): ProductCode {
  const tile = TILES[tier];
  const kernels = {
    packed: tileKernels(module, tile),
    ...(inPlace && {
      rowsOfA: tileKernels(module, tile, "rows"),
      columnsOfA: tileKernels(module, tile, "columns"),
      rowsOfB: tileKernels(module, tile, "packed", "rows"),
    }),
  };
  return { tile, block: tileLoop(module, tier, kernels, finishTile(module, tier, tile)) };
}

/** Tile kernels by what they read where it lies. */
interface Kernels {
  readonly packed: readonly Func[];
  readonly rowsOfA?: readonly Func[];
  readonly columnsOfA?: readonly Func[];
  readonly rowsOfB?: readonly Func[];
}

function tileLoop(module: Module, tier: Tier, kernels: Kernels, finish: Func): Func {
  const tile = TILES[tier];
  const f = new Func("", Array.from({ length: 15 }, (_, i) => i === 7 ? I32 : I64));
  const [mc, nc, kc, a, b, c, ldc, accumulate] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
  const [spare, job, aStride, aAcross] = [8, 9, 10, 11] as const;
  const [bStride, bias, biasHalf] = [12, 13, 14] as const;
  const context = accessContext(f, tier);
  const i = f.local(I64), j = f.local(I64), rows = f.local(I64), cols = f.local(I64);
  const tileOfA = f.local(I64), at = f.local(I64), aStep = f.local(I64), bStep = f.local(I64);
  const row = f.local(I64), col = f.local(I64), from = f.local(I64), to = f.local(I64);
  const stripBias = f.local(I64), columnBias = f.local(I64);
  const isSet = (local: number) => f.get(local).i64const(0).i64("ne");
  // From a tile's A to the next one's, and from a strip's B to the next one's.
  isSet(aAcross).if(() => f.i64const(4).set(aStep), () => {
    isSet(aStride).if(() => f.get(aStride).set(aStep), () => {
      f.get(kc).i64const(4).i64("mul").set(aStep);
    });
  });
  f.get(aStep).i64const(tile.rows).i64("mul").set(aStep);
  f.get(kc).i64const(1).get(bStride).i64("eqz").select().i64const(tile.cols * 4).i64("mul");
  f.set(bStep);
  const call = (
    to: { c: number; ldc: Push | number; accumulate: Push | number; bias?: number },
  ) => {
    const operands = { k: kc, a: tileOfA, b, aStride, bStride, ...to };
    const packed = () => callTile(f, kernels.packed, rows, operands);
    const { rowsOfA, columnsOfA, rowsOfB } = kernels;
    if (!rowsOfA || !columnsOfA || !rowsOfB) return packed();
    isSet(aStride).if(() => {
      isSet(aAcross).if(
        () => callTile(f, columnsOfA, rows, operands),
        () => callTile(f, rowsOfA, rows, operands),
      );
    }, () => {
      isSet(bStride).if(() => callTile(f, rowsOfB, rows, operands), packed);
    });
  };
  /**
   * Takes the columns that exist over from the spare tile. Nothing to add is -0, which leaves every
   * value as it is, -0 too.
   */
  const takeOver = () => {
    f.get(rows).i64const(tile.rows).get(rows).i64const(tile.rows).i64("lt_s").select();
    f.set(rows).i64const(0).set(row).get(at).set(to).get(spare).set(from);
    f.for64(row, rows, 1, () => {
      f.i64const(0).set(col).get(stripBias).set(columnBias);
      f.for64(col, cols, 1, () => {
        f.get(to).get(from).mem("f32.load");
        f.get(accumulate).if(() => f.get(to).mem("f32.load"), () => f.f32const(-0), F32);
        f.f32("add");
        isSet(stripBias).if(() => f.get(columnBias).mem("f32.load"), () => f.f32const(-0), F32);
        f.f32("add").mem("f32.store").advance(to, 4).advance(from, 4).advance(columnBias, 4);
      });
      f.get(to).get(cols).i64const(2).i64("shl").i64("sub").get(ldc).i64("add").set(to);
      f.get(from).get(cols).i64const(2).i64("shl").i64("sub").i64const(tile.cols * 4);
      f.i64("add").set(from);
    });
  };
  f.for64(j, nc, tile.cols, () => {
    f.get(a).set(tileOfA).get(c).set(at).i64const(0).set(i);
    f.get(nc).get(j).i64("sub").set(cols);
    f.get(bias).set(stripBias);
    // Blocks before the last steps of k have no biases, of whatever type these are.
    isSet(bias).if(() =>
      isSet(biasHalf).if(() => {
        f.get(spare).i64const(stripBiases(tile)).i64("add").set(stripBias);
        for (let v = 0; v < tile.cols / 4; v++) {
          const values = loadUnit(context, "f16", bias, v * 8);
          f.get(stripBias).get(values).vmem("store", v * 16);
        }
        context.temporaries.releaseAll();
      })
    );
    f.for64(i, mc, tile.rows, () => {
      f.get(mc).get(i).i64("sub").set(rows);
      f.get(cols).i64const(tile.cols).i64("ge_s").if(() => {
        call({ c: at, ldc, accumulate, bias: stripBias });
      }, () => {
        // The last columns: a whole tile aside, of which the part that exists is taken over.
        call({
          c: spare,
          ldc: (f: Func) => f.i64const(tile.cols * 4),
          accumulate: (f: Func) => f.i32const(0),
        });
        takeOver();
      });
      // Finished tile by tile: rows that are a power of two apart would push each other out of
      // the cache before the end of the strip.
      isSet(job).if(() => {
        f.get(job).get(min64(f, rows, (f) => f.i64const(tile.rows)));
        f.get(min64(f, cols, (f) => f.i64const(tile.cols))).get(at).get(ldc).get(i).get(j);
        f.call(finish);
      });
      f.get(tileOfA).get(aStep).i64("add").set(tileOfA);
      f.get(at).get(ldc).i64const(tile.rows).i64("mul").i64("add").set(at);
    });
    f.advance(c, tile.cols * 4);
    f.get(b).get(bStep).i64("add").set(b);
    isSet(bias).if(() => {
      f.get(bias).i64const(tile.cols * 4).get(biasHalf).i64("shr_u").i64("add").set(bias);
    });
  });
  return module.add(f);
}

/** What `emitProduct` multiplies. Numbers are i64 locals unless said otherwise. */
export interface ProductSpec {
  /** Rows and columns to compute, from and to. */
  readonly m0: number;
  readonly m1: number;
  readonly n0: number;
  readonly n1: number;
  readonly k: number;
  readonly mc: number;
  readonly nc: number;
  readonly kc: number;
  readonly ks: number;
  /** Addresses of packed A and packed B, and of the spare tile. */
  readonly panelsA: number;
  readonly panelsB: number;
  readonly spare: number;
  /** Where C's row 0, column 0 is, and the bytes between its rows. */
  readonly c: number;
  readonly ldc: number;
  /** i32: whether to add to C. */
  readonly accumulate: number;
  /**
   * Packs `lines` rows of A from row `row` and step `p` on into panels at `dst`, or sets `dst` to
   * where they are.
   */
  packA(to: { dst: number; row: number; lines: number; p: number; steps: number }): void;
  /** Packs `lines` columns of B from column `column` and step `p` on into panels at `dst`. */
  packB(to: { dst: number; column: number; lines: number; p: number; steps: number }): void;
  /**
   * A where it lies, if `stride` is not 0, where `dst` is set to it: the bytes between its rows, whose
   * steps of k are neighbours; or, if `across` is not 0, between its steps of k, whose rows are.
   */
  readonly partsOfA?: { readonly stride: number; readonly across: number };
  /** B where it lies, by rows, if `stride`, the bytes between these, is not 0. */
  readonly rowsOfB?: { readonly stride: number; at(p: number, column: number): void };
  /** The address of what is added to the columns from `column` on, or 0; the i64 `half`: as f16. */
  readonly bias?: { readonly half: number; at(column: number): void };
  /** i32: whether B is there already, packed; it is one block then. */
  readonly hasB?: number;
  /** What happens to finished blocks. */
  readonly finish?: {
    /** Address of a finish job, or 0 for none. */
    readonly job: number;
    /** Fills the job for the block at (row, column). */
    prepare(row: number, column: number): void;
  };
  /** Where sums collect instead of in C (a block as wide as nc) if the i32 `when` is not 0. */
  readonly aside?: { readonly when: number; readonly block: number };
}

/** Emits the loops over blocks. */
export function emitProduct(f: Func, code: ProductCode, spec: ProductSpec): void {
  const { tile } = code;
  const { m0, m1, n0, n1, k, mc, nc, kc, ks } = spec;
  const [j, s, i, p, jb, sEnd, ib, pb, dst, a, b, bStep, c, ldc] = f.locals(I64, 14);
  const accumulate = f.local(I32);
  const min = (a: Push, b: Push, into: number) => {
    const x = f.local(I64), y = f.local(I64);
    f.push(a).set(x).push(b).set(y);
    f.get(x).get(y).get(x).get(y).i64("lt_s").select().set(into);
  };
  const by = (local: number): Push => (f) => f.get(local);
  const rest = (end: number, at: number): Push => (f) => f.get(end).get(at).i64("sub");
  f.get(n0).set(j!);
  f.for64(j!, n1, by(nc), () => {
    min((f) => f.get(nc), rest(n1, j!), jb!);
    f.get(jb!).i64const(tile.cols - 1).i64("add").i64const(-tile.cols).i64("and");
    f.i64const(4).i64("mul").set(bStep!);
    f.i64const(0).set(s!);
    f.for64(s!, k, by(ks), () => {
      min((f) => f.get(s!).get(ks).i64("add"), (f) => f.get(k), sEnd!);
      f.get(spec.panelsB).set(dst!).get(s!).set(p!);
      f.for64(p!, sEnd!, by(kc), () => {
        min((f) => f.get(kc), rest(sEnd!, p!), pb!);
        const pack = () => spec.packB({ dst: dst!, column: j!, lines: jb!, p: p!, steps: pb! });
        const unlessThere = () => {
          if (spec.hasB === undefined) pack();
          else f.get(spec.hasB).i32("eqz").if(pack);
        };
        if (spec.rowsOfB) f.get(spec.rowsOfB.stride).i64("eqz").if(unlessThere);
        else unlessThere();
        f.get(dst!).get(bStep!).get(pb!).i64("mul").i64("add").set(dst!);
      });
      f.get(m0).set(i!);
      f.for64(i!, m1, by(mc), () => {
        min((f) => f.get(mc), rest(m1, i!), ib!);
        f.get(spec.panelsB).set(b!).get(s!).set(p!);
        f.for64(p!, sEnd!, by(kc), () => {
          min((f) => f.get(kc), rest(sEnd!, p!), pb!);
          f.get(spec.panelsA).set(a!);
          spec.packA({ dst: a!, row: i!, lines: ib!, p: p!, steps: pb! });
          f.get(spec.c).get(i!).get(spec.ldc).i64("mul").i64("add");
          f.get(j!).i64const(4).i64("mul").i64("add").set(c!).get(spec.ldc).set(ldc!);
          if (spec.aside) {
            const { when, block } = spec.aside;
            f.get(when).if(() => {
              f.get(block).set(c!).get(nc).i64const(4).i64("mul").set(ldc!);
            });
          }
          f.get(p!).i64const(0).i64("ne").get(spec.accumulate).i32("or").set(accumulate);
          const job = f.local(I64), bias = f.local(I64), bAt = f.local(I64);
          f.i64const(0).set(job).i64const(0).set(bias);
          f.get(p!).get(pb!).i64("add").get(k).i64("ge_s").if(() => {
            if (spec.bias) {
              spec.bias.at(j!);
              f.set(bias);
            }
            if (spec.finish) {
              const { finish } = spec;
              f.get(finish.job).i64const(0).i64("ne").if(() => {
                finish.prepare(i!, j!);
                f.get(finish.job).set(job);
              });
            }
          });
          f.get(b!).set(bAt);
          if (spec.rowsOfB) {
            const { stride, at } = spec.rowsOfB;
            f.get(stride).i64const(0).i64("ne").if(() => {
              at(p!, j!);
              f.set(bAt);
            });
          }
          const orNone = (local: number | undefined) =>
            local === undefined ? f.i64const(0) : f.get(local);
          f.get(ib!).get(jb!).get(pb!).get(a!).get(bAt).get(c!).get(ldc!);
          f.get(accumulate).get(spec.spare).get(job);
          orNone(spec.partsOfA?.stride);
          orNone(spec.partsOfA?.across);
          orNone(spec.rowsOfB?.stride);
          f.get(bias);
          orNone(spec.bias?.half).call(code.block);
          f.get(b!).get(bStep!).get(pb!).i64("mul").i64("add").set(b!);
        });
      });
    });
  });
}
