/**
 * What happens to a finished strip of a product while it is still in the cache: bias, activation,
 * float16 output.
 */
import type { Activation } from "../backend.ts";
import { Func, I64, type Module, V128 } from "./assembler.ts";
import { loadHalfSplat, loadHalves, narrowToHalves } from "./half.ts";
import { gelu, geluTanh, silu, type VectorFunction } from "./activations.ts";

/** Activations by the number that kernels know them by. */
export const ACTIVATIONS: readonly Activation[] = ["none", "relu", "silu", "gelu", "geluTanh"];

/**
 * A job for the epilogue, in memory: byte offsets of i64 fields. Addresses belong to the strip's
 * first row and column 0 of the block; the epilogue adds the strip's own first column.
 */
export const FINISH = {
  activation: 0,
  /** Address of the bias, 0 for none. */
  bias: 8,
  biasHalf: 16,
  /** Whether the bias (f32 then) has an element a row instead of one a column. */
  biasPerRow: 80,
  /** Where the value before the activation goes, 0 for nowhere. */
  pre: 24,
  preRowBytes: 32,
  preHalf: 40,
  out: 48,
  outRowBytes: 56,
  outHalf: 64,
  /** Whether to add to a float16 output. (To float32 the product itself adds.) */
  add: 72,
  bytes: 88,
} as const;

function activation(f: Func, kind: Activation): VectorFunction {
  switch (kind) {
    case "none":
      return (x) => x;
    case "relu":
      return (x) => {
        const zero = f.local(V128), out = f.local(V128);
        // max, not pmax: NaN has to come through.
        f.get(x).get(zero).f32x4("max").set(out);
        return out;
      };
    case "silu":
      return silu(f);
    case "gelu":
      return gelu(f);
    case "geluTanh":
      return geluTanh(f);
    default:
      return kind satisfies never;
  }
}

/**
 * `(job, rows, cols, source, sourceRowBytes, column)` for one activation: finishes `rows` x `cols`
 * f32 at `source`, which start at column `column` of the job's block.
 */
function finishWith(module: Module, kind: Activation): Func {
  const f = new Func("", [I64, I64, I64, I64, I64, I64]);
  const [job, rows, cols, source, sourceRowBytes, column] = [0, 1, 2, 3, 4, 5] as const;
  const field = (name: Exclude<keyof typeof FINISH, "bytes">) => {
    const local = f.local(I64);
    f.get(job).mem("i64.load", FINISH[name]).set(local);
    return local;
  };
  const apply = activation(f, kind);
  const bias = field("bias"), biasHalf = field("biasHalf"), biasPerRow = field("biasPerRow");
  const pre = field("pre"), preHalf = field("preHalf"), preRowBytes = field("preRowBytes");
  const out = field("out"), outHalf = field("outHalf"), outRowBytes = field("outRowBytes");
  const add = field("add");
  const shift = (address: number, isHalf: number, count: number) => {
    f.get(address).get(count).i64const(2).get(isHalf).i64("sub").i64("shl").i64("add").set(address);
  };
  const ifSet = (condition: number, then: () => void, otherwise?: () => void) =>
    f.get(condition).i64const(0).i64("ne").if(then, otherwise);

  /** Moves what goes by columns on by `count` columns. */
  const shiftColumns = (count: number) => {
    ifSet(biasPerRow, () => {}, () => shift(bias, biasHalf, count));
    shift(pre, preHalf, count);
    shift(out, outHalf, count);
  };
  const hasBias = f.local(I64), hasPre = f.local(I64);
  f.get(bias).set(hasBias).get(pre).set(hasPre);
  shiftColumns(column);

  const i = f.local(I64),
    rowBias = f.local(I64),
    x = f.local(I64),
    p = f.local(I64),
    o = f.local(I64);
  const width = f.local(I64);
  /** Columns `count` wide, all rows: 8 as two vectors, or 1 in the first lane of one. */
  const chunk = (count: 1 | 8) => {
    const vectors = count === 8 ? 2 : 1;
    const load = (address: number, v: number) =>
      f.get(address).vmem(count === 8 ? "load" : "load32_zero", 16 * v);
    const loadHalf = (address: number, v: number) =>
      count === 8 ? loadHalves(f.get(address), 8 * v) : loadHalfSplat(f.get(address));
    const store = (address: number, values: readonly number[]) => {
      values.forEach((value, v) => {
        f.get(address).get(value);
        if (count === 8) f.vmem("store", 16 * v);
        else f.vlane("store32_lane", 0);
      });
    };
    const storeHalf = (address: number, values: readonly number[]) => {
      f.get(address);
      for (const value of values) narrowToHalves(f.get(value));
      if (count === 8) f.i16x8("narrow_i32x4_s").vmem("store");
      else f.vlane("store16_lane", 0);
    };
    const biases = f.locals(V128, vectors);
    biases.forEach((b) => f.f32x4const(0).set(b));
    ifSet(hasBias, () => {
      ifSet(biasHalf, () => {
        biases.forEach((b, v) => loadHalf(bias, v).set(b));
      }, () => {
        biases.forEach((b, v) => load(bias, v).set(b));
      });
    });
    f.get(bias).set(rowBias);
    f.get(source).set(x).get(pre).set(p).get(out).set(o).get(rows).set(i);
    f.doWhile(() => {
      ifSet(biasPerRow, () => {
        for (const b of biases) f.get(rowBias).vmem("load32_splat").set(b);
        f.advance(rowBias, 4);
      });
      const values = f.locals(V128, vectors);
      values.forEach((value, v) => load(x, v).get(biases[v]!).f32x4("add").set(value));
      ifSet(hasPre, () => {
        ifSet(preHalf, () => storeHalf(p, values), () => store(p, values));
        f.get(p).get(preRowBytes).i64("add").set(p);
      });
      const results = values.map(apply);
      ifSet(outHalf, () => {
        ifSet(add, () => {
          results.forEach((r, v) => loadHalf(o, v).get(r).f32x4("add").set(r));
        });
        storeHalf(o, results);
      }, () => store(o, results));
      f.get(o).get(outRowBytes).i64("add").set(o);
      f.get(x).get(sourceRowBytes).i64("add").set(x);
    }, () => f.get(i).i64const(1).i64("sub").tee(i).i64const(0).i64("gt_s"));
    f.i64const(count).set(width);
    shiftColumns(width);
    f.advance(source, count * 4).advance(cols, -count);
  };
  for (const count of [8, 1] as const) {
    const more = () => f.get(cols).i64const(count).i64("ge_s");
    more();
    f.if(() => f.doWhile(() => chunk(count), more));
  }
  return module.add(f);
}

/** `finishWith` for the activation that the job names. */
export function finishStrip(module: Module): Func {
  const kinds = ACTIVATIONS.map((kind) => finishWith(module, kind));
  const f = new Func("", [I64, I64, I64, I64, I64, I64]);
  kinds.forEach((kind, number) => {
    f.get(0).mem("i64.load", FINISH.activation).i64const(number).i64("eq").if(() => {
      for (let i = 0; i < 6; i++) f.get(i);
      f.call(kind);
    });
  });
  return module.add(f);
}
