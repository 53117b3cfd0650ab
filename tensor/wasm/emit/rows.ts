/**
 * Walking along rows of f32 in kernels: four vectors at a time, then one, then the last one to
 * three elements as one vector with a mask.
 */
import { type Func, I64, type Push, V128 } from "./assembler.ts";
import type { AccessContext } from "./access.ts";
import type { Tier } from "../device/tier.ts";
import { Constants, Temporaries, type VectorContext } from "./vector_math.ts";

/** The tools of `vector_math.ts` for one function. */
export function vectorContext(f: Func): VectorContext {
  return { f, constants: new Constants(f), temporaries: new Temporaries(f) };
}

/** The same with memory access of all types, for one tier. */
export function accessContext(f: Func, tier: Tier): AccessContext {
  return { ...vectorContext(f), half: tier === "fast" };
}

/** One step of a walk. */
export interface Step {
  /** Vectors in this step; their elements are neighbours. */
  readonly vectors: number;
  /** Local with all bits set in the lanes that are elements; absent where all lanes are. */
  readonly mask?: number;
  /** Loads the step's vectors from the walk's `pointer`-th row into new locals. */
  load(pointer: number): number[];
  /** Stores one local a vector. */
  store(pointer: number, values: readonly number[]): void;
}

const LANES = 4;

/**
 * Emits a walk over `n` (an i64 local) elements of every row in `rows` (i64 locals with addresses,
 * which stay as they are).
 *
 * The last vector is loaded whole, so a walk reads up to 12 bytes past a row; it stores elements
 * only. `body` must not let what lies outside `mask` into a sum.
 */
export function walk(
  { f, temporaries }: VectorContext,
  n: number,
  rows: readonly number[],
  body: (step: Step) => void,
): void {
  const pointers = rows.map((row) => {
    const pointer = f.local(I64);
    f.get(row).set(pointer);
    return pointer;
  });
  const left = f.local(I64);
  f.get(n).set(left);
  const load = (vectors: number) => (pointer: number) =>
    Array.from({ length: vectors }, (_, v) => {
      const local = temporaries.take();
      f.get(pointers[pointer]!).vmem("load", v * 16).set(local);
      return local;
    });
  for (const vectors of [4, 1]) {
    const more = () => f.get(left).i64const(vectors * LANES).i64("ge_s");
    more();
    f.if(() => {
      f.doWhile(() => {
        body({
          vectors,
          load: load(vectors),
          store: (pointer, values) =>
            values.forEach((v, i) => f.get(pointers[pointer]!).get(v).vmem("store", i * 16)),
        });
        temporaries.releaseAll();
        for (const pointer of pointers) f.advance(pointer, vectors * 16);
        f.advance(left, -vectors * LANES);
      }, more);
    });
  }
  f.get(left).i64const(0).i64("gt_s").if(() => {
    const mask = f.local(V128);
    f.i32x4lanes(0, 1, 2, 3).get(left).i32("wrap_i64").i32x4("splat").i32x4("lt_s").set(mask);
    body({
      vectors: 1,
      mask,
      load: load(1),
      store: (pointer, [value]) => storeSome(f, pointers[pointer]!, value!, left),
    });
    temporaries.releaseAll();
  });
}

/** Stores the first `count` (an i64 local, 1 to 3) lanes of `value`. */
function storeSome(f: Func, address: number, value: number, count: number): void {
  f.get(count).i64const(2).i64("ge_s").if(() => {
    f.get(address).get(value).vlane("store64_lane", 0);
    f.get(count).i64const(3).i64("eq").if(() => {
      f.get(address).get(value).vlane("store32_lane", 2, 8);
    });
  }, () => {
    f.get(address).get(value).vlane("store32_lane", 0);
  });
}

/** Combines the lanes of `vectors` (which it uses up) into all lanes of a new local. */
export function combine(f: Func, vectors: readonly number[], op: "add" | "max"): number {
  const out = f.local(V128), swapped = f.local(V128);
  f.get(vectors[0]!);
  for (const v of vectors.slice(1)) f.get(v).f32x4(op);
  f.set(out);
  for (const lanes of [[2, 3, 0, 1], [1, 0, 3, 2]] as const) {
    f.get(out).get(out).shuffle32(lanes as [number, number, number, number]).set(swapped);
    f.get(out).get(swapped).f32x4(op).set(out);
  }
  return out;
}

/** Four accumulators set to `value`. */
export function accumulators(f: Func, value: number): number[] {
  const locals = f.locals(V128, 4);
  for (const local of locals) f.f32x4const(value).set(local);
  return locals;
}

/** The address `base + index * bytes` in a new local; `index` pushes an i64. */
export function rowAddress(f: Func, base: number, index: Push | number, bytes: number): number {
  const local = f.local(I64);
  f.get(base).push(index).get(bytes).i64("mul").i64("add").set(local);
  return local;
}

/** The smaller of two i64 values in a new local. */
export function min64(f: Func, a: Push | number, b: Push | number): number {
  const x = f.local(I64), y = f.local(I64);
  f.push(a).set(x).push(b).tee(y).get(x).get(y).get(x).i64("lt_s").select().set(x);
  return x;
}
