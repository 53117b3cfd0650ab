/**
 * What happens to a finished tile of a product while it is still in the cache: a bias a row,
 * activation, float16 output. (A bias a column is added by the product itself.)
 */
import type { Activation } from "../../kernels.ts";
import { loadRepeated, loadUnit, storeLanes, storeUnit } from "../emit/access.ts";
import { activate } from "../emit/activations.ts";
import { Func, I32, I64, type Module, V128 } from "../emit/assembler.ts";
import type { Tile } from "./gemm_kernel.ts";
import { accessContext } from "../emit/rows.ts";
import type { Tier } from "../device/tier.ts";

const BYTES = { f32: 4, f16: 2 } as const;

/** Activations by the number that kernels know them by. */
export const ACTIVATIONS: readonly Activation[] = ["none", "relu", "silu", "gelu", "geluTanh"];

/**
 * A job for the epilogue, in memory: byte offsets of i64 fields. Addresses belong to row 0 and
 * column 0 of the block that the tile is in.
 */
export const FINISH = {
  activation: 0,
  /** Address of a bias for each row, f32, or 0. */
  rowBias: 8,
  /** Where the value before the activation goes, 0 for nowhere. */
  pre: 16,
  preRowBytes: 24,
  preHalf: 32,
  /** Whether the result goes to `out` as float16; else it stays where the product is. */
  outHalf: 40,
  out: 48,
  outRowBytes: 56,
  /** Whether to add to a float16 output. (To float32 the product itself adds.) */
  add: 64,
} as const;

/** What a function that finishes tiles is made for. */
interface Finish {
  readonly module: Module;
  readonly tier: Tier;
  readonly kind: Activation;
  /** Whether something that it writes is float16. */
  readonly half: boolean;
}

/**
 * `(job, rows, cols, tile, tileRowBytes, row, column)`: finishes the product's `rows` x `cols` f32 at
 * `tile`, which begin at (row, column) of the job's block, `widths` columns at a time, and leaves
 * those that are left to `rest`.
 *
 * A function sets its constants anew for each tile: one for each activation, type and kind of vector
 * has so few of them that they stay in registers.
 */
function finishWith(
  { module, tier, kind, half }: Finish,
  widths: readonly number[],
  rest?: Func,
): Func {
  const f = new Func("", [I64, I64, I64, I64, I64, I64, I64]);
  const [job, rows, cols, tile, tileRowBytes, row, column] = [0, 1, 2, 3, 4, 5, 6] as const;
  const context = accessContext(f, tier);
  const one = f.local(I32);
  f.i32const(1).set(one);
  const field = (name: keyof typeof FINISH) => {
    const local = f.local(I64);
    f.get(job).mem("i64.load", FINISH[name]).set(local);
    return local;
  };
  const ifSet = (condition: number, then: () => void, otherwise?: () => void) =>
    f.get(condition).i64const(0).i64("ne").if(then, otherwise);
  /** `then` where a flag says float16, which none does where this is not made for it. */
  const ifHalf = (flag: number, then: () => void, otherwise: () => void) =>
    half ? ifSet(flag, then, otherwise) : otherwise();
  /** Moves an address on by `count` elements that are float16 or not. */
  const shift = (address: number, isHalf: number, count: number) =>
    f.get(address).get(count).i64const(2).get(isHalf).i64("sub").i64("shl").i64("add").set(address);
  /** An address at the tile's first element, where the job has one. */
  const start = (address: number, rowBytes: number, isHalf: number) =>
    ifSet(address, () => {
      f.get(address).get(row).get(rowBytes).i64("mul").i64("add").set(address);
      shift(address, isHalf, column);
    });

  const bias = field("rowBias");
  const pre = field("pre"), outHalf = field("outHalf"), out = f.local(I64);
  const preHalf = f.local(I64), preRowBytes = f.local(I64), outRowBytes = f.local(I64);
  const add = f.local(I64);
  ifSet(pre, () => {
    f.get(field("preHalf")).set(preHalf).get(field("preRowBytes")).set(preRowBytes);
    start(pre, preRowBytes, preHalf);
  });
  if (half) {
    ifSet(outHalf, () => {
      f.get(field("out")).set(out).get(field("outRowBytes")).set(outRowBytes);
      f.get(field("add")).set(add);
      start(out, outRowBytes, outHalf);
    });
  }
  ifSet(bias, () => f.get(bias).get(row).i64const(4).i64("mul").i64("add").set(bias));

  const left = f.local(I64), width = f.local(I64);
  const rowBias = f.local(I64), x = f.local(I64), p = f.local(I64), o = f.local(I64);
  /** `count` columns of all rows: as whole vectors, or 1 in the first lane of one. */
  const columns = (count: number) => {
    const vectors = Math.ceil(count / 4);
    const load = (type: "f32" | "f16", address: number) => {
      if (count > 1) {
        return Array.from(
          { length: vectors },
          (_, v) => loadUnit(context, type, address, v * 4 * BYTES[type]),
        );
      }
      const value = context.temporaries.take();
      loadRepeated(context, type, address, value);
      return [value];
    };
    const store = (type: "f32" | "f16", address: number, values: readonly number[]) => {
      if (count > 1) storeUnit(context, type, address, values);
      else storeLanes(context, type, address, values[0]!, undefined, one);
    };
    f.get(bias).set(rowBias).get(tile).set(x).get(pre).set(p).get(out).set(o).get(rows).set(left);
    f.doWhile(() => {
      const values = load("f32", x);
      ifSet(bias, () => {
        const same = f.local(V128);
        f.get(rowBias).vmem("load32_splat").set(same).advance(rowBias, 4);
        for (const value of values) f.get(value).get(same).f32x4("add").set(value);
      });
      ifSet(pre, () => {
        ifHalf(preHalf, () => store("f16", p, values), () => store("f32", p, values));
        f.get(p).get(preRowBytes).i64("add").set(p);
      });
      for (const value of values) {
        activate(context, kind, value);
        f.set(value);
      }
      ifHalf(outHalf, () => {
        ifSet(add, () => {
          const old = load("f16", o);
          values.forEach((value, v) => f.get(value).get(old[v]!).f32x4("add").set(value));
        });
        store("f16", o, values);
        f.get(o).get(outRowBytes).i64("add").set(o);
      }, () => store("f32", x, values));
      context.temporaries.releaseAll();
      f.get(x).get(tileRowBytes).i64("add").set(x);
    }, () => f.get(left).i64const(1).i64("sub").tee(left).i64const(0).i64("gt_s"));
    f.i64const(count).set(width);
    ifSet(pre, () => shift(pre, preHalf, width));
    if (half) ifSet(outHalf, () => shift(out, outHalf, width));
    f.advance(tile, count * 4).advance(column, count).advance(cols, -count);
  };
  for (const count of widths) {
    const more = () => f.get(cols).i64const(count).i64("ge_s");
    more();
    f.if(() => f.doWhile(() => columns(count), more));
  }
  if (rest) {
    f.get(cols).i64const(0).i64("gt_s").if(() => {
      f.params.forEach((_, i) => f.get(i));
      f.call(rest);
    });
  }
  return module.add(f);
}

/** `finishWith` for the activation and the types that the job names. */
export function finishTile(module: Module, tier: Tier, tile: Tile): Func {
  const widths = tile.cols > 8 ? [tile.cols, 8] : [8];
  const f = new Func("", [I64, I64, I64, I64, I64, I64, I64]);
  const job = 0, writesHalf = f.local(I64);
  const field = (name: keyof typeof FINISH) => f.get(job).mem("i64.load", FINISH[name]);
  field("preHalf");
  field("outHalf").i64("or").set(writesHalf);
  ACTIVATIONS.forEach((kind, number) => {
    field("activation").i64const(number).i64("eq").if(() => {
      const finish = (half: boolean) => {
        const made = { module, tier, kind, half };
        const func = finishWith(made, widths, finishWith(made, [1]));
        f.params.forEach((_, i) => f.get(i));
        f.call(func);
      };
      f.get(writesHalf).i64const(0).i64("ne").if(() => finish(true), () => finish(false)).ret();
    });
  });
  return module.add(f);
}
