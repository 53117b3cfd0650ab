/**
 * Functions of four lanes that WebAssembly has no instruction for.
 *
 * Each takes its argument from a v128 local and leaves its result on the stack. Constants live in
 * locals that are set once, before all loops.
 */
import { type Func, V128 } from "./assembler.ts";

/** Four-lane constants of one function, each set up once in its prologue. */
export class Constants {
  readonly #f: Func;
  readonly #locals = new Map<string, number>();

  constructor(f: Func) {
    this.#f = f;
  }

  /** Local with four copies of an f32. */
  f32(value: number): number {
    return this.i32(new Int32Array(new Float32Array([value]).buffer)[0]!);
  }

  /** Local with four copies of a 32-bit integer. */
  i32(value: number): number {
    return this.lanes(value, value, value, value);
  }

  /** Local with four 32-bit integers. */
  lanes(...values: [number, number, number, number]): number {
    const key = values.map((v) => v | 0).join();
    let local = this.#locals.get(key);
    if (local === undefined) {
      local = this.#f.local(V128);
      this.#locals.set(key, local);
      const set = local;
      this.#f.prologue(() => this.#f.i32x4lanes(...values).set(set));
    }
    return local;
  }
}

/** Hands out v128 locals for values that die soon, and takes them back. */
export class Temporaries {
  readonly #f: Func;
  readonly #idle: number[] = [];
  #lent: number[] = [];

  constructor(f: Func) {
    this.#f = f;
  }

  take(): number {
    const local = this.#idle.pop() ?? this.#f.local(V128);
    this.#lent.push(local);
    return local;
  }

  /** Releases all temporaries. */
  releaseAll(): void {
    this.#idle.push(...this.#lent.reverse());
    this.#lent = [];
  }
}

/** What the functions below write into. */
export interface VectorContext {
  readonly f: Func;
  readonly constants: Constants;
  readonly temporaries: Temporaries;
}

/** 1.5 * 2^23: adding it to a small f32 leaves the nearest whole number in the low bits. */
const ROUNDING = 12582912;

/** Minimax polynomial of (2^x - 1) / x on [-1/2, 1/2], relative to 2^x: 1.7e-7 with its rounding. */
// deno-fmt-ignore
const EXP2 = [0.6931470036506653, 0.24022242426872253, 0.05550733581185341, 0.009671512991189957, 0.001326472731307149] as const;

/**
 * 2^z, within 2e-7 of its value: 2^fraction by a polynomial, then the whole part is added to the
 * exponent's bits. Infinity from 128 on, 0 from -127 down, denormal results are coarse.
 */
export function exp2({ f, constants, temporaries }: VectorContext, z: number): void {
  const c = temporaries.take(), t = temporaries.take(), x = temporaries.take();
  f.get(z).get(constants.f32(128)).f32x4("pmin").get(constants.f32(-127)).f32x4("pmax").set(c);
  f.get(c).get(constants.f32(ROUNDING)).f32x4("add").set(t);
  f.get(c).get(t).get(constants.f32(ROUNDING)).f32x4("sub").f32x4("sub").set(x);
  // By pairs of terms (Estrin): half as long a chain as one term after another.
  const square = temporaries.take();
  const pair = (high: number, low: number) =>
    f.get(x).get(constants.f32(high)).get(constants.f32(low)).f32x4("relaxed_madd");
  f.get(x).get(x).f32x4("mul").set(square);
  const [c1, c2, c3, c4, c5] = EXP2;
  pair(c5, c4).get(square);
  pair(c3, c2).f32x4("relaxed_madd").get(square);
  pair(c1, 1).f32x4("relaxed_madd");
  f.get(t).i32const(23).i32x4("shl").i32x4("add");
  // The integer addition may turn a NaN into a number.
  f.get(z).get(z).f32x4("ne").v128("or");
}

/** Minimax polynomial of log2(1 + x) / x on [sqrt(1/2) - 1, sqrt(2) - 1]: 2.6e-8. */
// deno-fmt-ignore
const LOG2 = [1.4426950216293335, -0.7213473320007324, 0.48091062903404236, -0.3607036769390106, 0.28791624307632446, -0.23894482851028442, 0.21571561694145203, -0.20726968348026276, 0.12583689391613007];

const MIN_NORMAL = 2 ** -126;
const SQRT_HALF_BITS = 0x3f3504f3;

/** log2(x): NaN below 0, -infinity at 0; denormals count. */
export function log2({ f, constants, temporaries }: VectorContext, x: number): void {
  const k = constants;
  const tiny = temporaries.take(), bits = temporaries.take(), e = temporaries.take();
  const m = temporaries.take(), r = temporaries.take();
  // x = 2^e m with m in [sqrt(1/2), sqrt(2)); denormals are scaled up first.
  f.get(x).get(k.f32(MIN_NORMAL)).f32x4("lt").set(tiny);
  f.get(x).get(k.f32(2 ** 23)).f32x4("mul").get(x).get(tiny).v128("bitselect");
  f.get(k.i32(SQRT_HALF_BITS)).i32x4("sub").set(bits);
  f.get(bits).i32const(23).i32x4("shr_s").f32x4("convert_i32x4_s");
  f.get(tiny).get(k.f32(23)).v128("and").f32x4("sub").set(e);
  f.get(bits).get(k.i32(0x7fffff)).v128("and").get(k.i32(SQRT_HALF_BITS)).i32x4("add");
  f.get(k.f32(1)).f32x4("sub").set(m);
  f.get(k.f32(LOG2.at(-1)!));
  for (let i = LOG2.length - 2; i >= 0; i--) {
    f.get(m).get(k.f32(LOG2[i]!)).f32x4("relaxed_madd");
  }
  f.get(m).get(e).f32x4("relaxed_madd").set(r);
  // 0 -> -infinity; infinity and NaN stay; negative -> NaN.
  f.get(k.f32(-Infinity)).get(r).get(x).get(k.f32(0)).f32x4("eq").v128("bitselect").set(r);
  f.get(r).get(x).get(x).get(k.f32(Infinity)).f32x4("lt").v128("bitselect");
  f.get(x).get(k.f32(0)).f32x4("lt").v128("or");
}

/** f16 bits, sign-extended to 32-bit lanes, as f32: exact, infinities and NaN included. */
export function halfToSingle({ f, constants, temporaries }: VectorContext, half: number): void {
  const scaled = temporaries.take();
  // Sign and mantissa in place, exponent too small by 112: one multiplication puts it right,
  // denormals included.
  f.get(half).i32const(13).i32x4("shl").get(constants.i32(0x8fffe000)).v128("and");
  f.get(constants.f32(2 ** 112)).f32x4("mul").tee(scaled);
  f.get(scaled).f32x4("abs").get(constants.f32(65536)).f32x4("ge");
  f.get(constants.i32(0x7f800000)).v128("and").v128("or");
}

/**
 * f32 as f16 bits in 32-bit lanes (sign-extended), rounded to nearest even as `Float16Array`
 * rounds. The addition of a power of two that depends on the exponent does the rounding.
 */
export function singleToHalf({ f, constants, temporaries }: VectorContext, x: number): void {
  const k = constants;
  const a = temporaries.take(), base = temporaries.take(), v = temporaries.take();
  f.get(x).f32x4("abs").set(a);
  f.get(a).get(k.i32(0x07800000)).i32x4("add").get(k.i32(0x7f800000)).v128("and");
  f.get(k.i32(0x40000000)).i32x4("max_s").set(base);
  f.get(a).get(k.f32(2 ** 112)).f32x4("mul").get(k.f32(2 ** -110)).f32x4("mul");
  f.get(base).f32x4("add").set(v);
  f.get(k.i32(0x7e00));
  f.get(v).i32const(13).i32x4("shr_u").get(k.i32(0x7c00)).v128("and");
  f.get(v).get(k.i32(0x0fff)).v128("and").i32x4("add");
  f.get(a).get(k.i32(0x7f800000)).i32x4("gt_s").v128("bitselect");
  f.get(x).get(a).v128("xor").i32const(16).i32x4("shr_s").v128("or");
}
