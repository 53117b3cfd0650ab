/**
 * What happens to a finished strip of a product while it is still in the cache: bias, activation,
 * float16 output.
 */
import type { Activation } from "../backend.ts";
import { loadRepeated, loadUnit, storeLanes, storeUnit } from "./access.ts";
import { activate } from "./activations.ts";
import { Func, I32, I64, type Module, V128 } from "./assembler.ts";
import { accessContext } from "./rows.ts";
import type { Tier } from "./tier.ts";

const BYTES = { f32: 4, f16: 2 } as const;

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

/**
 * `(job, rows, cols, source, sourceRowBytes, column)` for one activation: finishes `rows` x `cols`
 * f32 at `source`, which start at column `column` of the job's block.
 */
function finishWith(module: Module, tier: Tier, kind: Activation): Func {
  const f = new Func("", [I64, I64, I64, I64, I64, I64]);
  const [job, rows, cols, source, sourceRowBytes, column] = [0, 1, 2, 3, 4, 5] as const;
  const context = accessContext(f, tier);
  const one = f.local(I32);
  f.i32const(1).set(one);
  const field = (name: Exclude<keyof typeof FINISH, "bytes">) => {
    const local = f.local(I64);
    f.get(job).mem("i64.load", FINISH[name]).set(local);
    return local;
  };
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
    const load = (type: "f32" | "f16", address: number) => {
      if (count === 8) {
        return [0, 1].map((v) => loadUnit(context, type, address, v * 4 * BYTES[type]));
      }
      const value = context.temporaries.take();
      loadRepeated(context, type, address, value);
      return [value];
    };
    const store = (type: "f32" | "f16", address: number, values: readonly number[]) => {
      if (count === 8) storeUnit(context, type, address, values);
      else storeLanes(context, type, address, values[0]!, undefined, one);
    };
    const biases = f.locals(V128, vectors);
    const setBiases = (values: readonly number[]) => {
      biases.forEach((b, v) => f.get(values[v]!).set(b));
    };
    biases.forEach((b) => f.f32x4const(0).set(b));
    ifSet(hasBias, () => {
      ifSet(biasHalf, () => setBiases(load("f16", bias)), () => setBiases(load("f32", bias)));
    });
    f.get(bias).set(rowBias);
    f.get(source).set(x).get(pre).set(p).get(out).set(o).get(rows).set(i);
    f.doWhile(() => {
      ifSet(biasPerRow, () => {
        for (const b of biases) f.get(rowBias).vmem("load32_splat").set(b);
        f.advance(rowBias, 4);
      });
      const values = load("f32", x);
      values.forEach((value, v) => f.get(value).get(biases[v]!).f32x4("add").set(value));
      ifSet(hasPre, () => {
        ifSet(preHalf, () => store("f16", p, values), () => store("f32", p, values));
        f.get(p).get(preRowBytes).i64("add").set(p);
      });
      for (const value of values) {
        activate(context, kind, value);
        f.set(value);
      }
      ifSet(outHalf, () => {
        ifSet(add, () => {
          const old = load("f16", o);
          values.forEach((value, v) => f.get(value).get(old[v]!).f32x4("add").set(value));
        });
        store("f16", o, values);
      }, () => store("f32", o, values));
      context.temporaries.releaseAll();
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
export function finishStrip(module: Module, tier: Tier): Func {
  const kinds = ACTIVATIONS.map((kind) => finishWith(module, tier, kind));
  const f = new Func("", [I64, I64, I64, I64, I64, I64]);
  kinds.forEach((kind, number) => {
    f.get(0).mem("i64.load", FINISH.activation).i64const(number).i64("eq").if(() => {
      for (let i = 0; i < 6; i++) f.get(i);
      f.call(kind);
    });
  });
  return module.add(f);
}
