/**
 * Functions that devices lack, or that some compute badly, written with simpler expressions. Every
 * backend that generates code lowers through here, so that they agree to the last few bits.
 */
import { constant, type Expr } from "./expr.ts";

/** `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule. */
export function polynomial(x: Expr, coefficients: readonly number[]): Expr {
  let sum = constant(coefficients.at(-1)!);
  for (let i = coefficients.length - 2; i >= 0; i--) sum = sum.mul(x).add(coefficients[i]!);
  return sum;
}

/**
 * pi/2 in parts. The first three have 8 significant bits, so that their products with a whole
 * number below 2^16 are exact in f32 (Cody and Waite's reduction); the last has the rest.
 */
const HALF_PI = [1.5703125, 4.825592041015625e-4, 1.2665987014770508e-6, 9.9209357968e-10];

/** From here on the products with those parts are inexact. */
const REDUCIBLE = 1e5;

/**
 * sin(x + shift * pi/2), within about 1e-7: x is reduced to [-pi/4, pi/4], and the quadrant picks
 * the polynomial and the sign. NaN where x is not finite.
 */
function sinShifted(x: Expr, shift: 0 | 1): Expr {
  const n = x.mul(2 / Math.PI).round();
  let near = x;
  for (const part of HALF_PI) near = near.sub(n.mul(part));
  const isFar = x.bits("u32").and(0x7fffffff).ge(REDUCIBLE_BITS);
  const far = reduceFar(x);
  const r = isFar.selectRarely(far.rest, near);
  const quadrant = isFar.selectRarely(far.quadrant, n.to("i32")).add(shift);
  const s = r.mul(r);
  const sine = polynomial(s, SIN).mul(s).mul(r).add(r);
  const cosine = polynomial(s, COS).mul(s).mul(s).add(s.mul(-0.5)).add(1);
  const value = quadrant.and(1).ne(0).select(cosine, sine);
  return quadrant.and(2).ne(0).select(value.neg(), value);
}

/** The bits of {@link REDUCIBLE}: of positive floats they have the same order as the numbers. */
const REDUCIBLE_BITS = new Uint32Array(Float32Array.of(REDUCIBLE).buffer)[0]!;
/** Its biased exponent. */
const REDUCIBLE_EXPONENT = REDUCIBLE_BITS >>> 23;

/** 9 bits of 0, then the binary digits of 2/pi behind the point. */
// deno-fmt-ignore
const TWO_OVER_PI = [0x517cc1, 0xb727220a, 0x94fe13ab, 0xe8fa9a6e, 0xe06db14a, 0xcc9e21c8, 0x20ff28b1];

/**
 * x = quadrant pi/2 + rest for |x| of {@link REDUCIBLE} and more (Payne and Hanek, 1983): of the
 * product with 2/pi only the digits around the point are computed, in integers. The digits of 2/pi
 * before those make whole turns. NaN where x is not finite.
 */
function reduceFar(x: Expr): { quadrant: Expr; rest: Expr } {
  const bits = x.bits("u32");
  const exponent = bits.and(0x7fffffff).shr(23);
  const digits = bits.and(0x7fffff).or(0x800000);
  // The product's first digit that counts is that of 2, the binary digit `skip` of the table.
  const skip = exponent.sub(REDUCIBLE_EXPONENT);
  const isOdd = skip.and(32).ne(0), isHigh = skip.and(64).ne(0);
  const pairs = [0, 1, 2, 3, 4].map((i) =>
    isHigh.select(constant(TWO_OVER_PI[i + 2]!, "u32"), constant(TWO_OVER_PI[i]!, "u32"))
  );
  const words = [0, 1, 2, 3].map((i) => isOdd.select(pairs[i + 1]!, pairs[i]!));
  const shift = skip.and(31).add(127).shl(23).bits("f32").to("u32"); // 2^(skip mod 32)
  const window = [0, 1, 2].map((i) => words[i]!.mul(shift).or(words[i + 1]!.mulhi(shift)));
  // digits * window modulo 2^96, its upper 64 bits: turns in units of 2^-64.
  const middle = digits.mul(window[1]!);
  const low = middle.add(digits.mulhi(window[2]!));
  const carry = low.lt(middle).select(constant(1, "u32"), 0);
  const high = digits.mul(window[0]!).add(digits.mulhi(window[1]!)).add(carry);
  const quadrant = high.add(0x20000000).shr(30).bits("i32");
  const rest = high.sub(quadrant.bits("u32").shl(30)).bits("i32").to("f32").mul(2 ** 32)
    .add(low.to("f32")).mul(2 ** -63).mul(Math.PI);
  const isNegative = bits.ge(0x80000000);
  const value = isNegative.select(rest.neg(), rest);
  return {
    quadrant: isNegative.select(quadrant.neg(), quadrant),
    rest: exponent.eq(255).select(NaN, value),
  };
}

/** (sin r - r) / r^3 and (cos r - 1 + r^2/2) / r^4 in r^2: Cephes' sinf and cosf (S. Moshier). */
const SIN = [-1.6666654611e-1, 8.3321608736e-3, -1.9515295891e-4];
const COS = [4.166664568298827e-2, -1.388731625493765e-3, 2.443315711809948e-5];

/** Sine of radians, within 2e-7; NaN of infinities. */
export function sin(x: Expr): Expr {
  return sinShifted(x, 0);
}

/** Cosine of radians, within 2e-7; NaN of infinities. */
export function cos(x: Expr): Expr {
  return sinShifted(x, 1);
}

/**
 * Error function, within 1.2e-7: near zero an odd polynomial, beyond it 1 - e^p(|x|). The
 * coefficients are N. Juffa's (public domain), fitted for single precision.
 */
export function erf(x: Expr): Expr {
  const t = x.abs();
  const near = polynomial(x.mul(x), ERF_NEAR).mul(x).add(x);
  const far = constant(1).sub(polynomial(t, ERF_FAR).sub(1).mul(t).exp());
  return t.gt(475 / 512).select(x.lt(0).select(far.neg(), far), near);
}

/** erf(x) / x - 1 in x^2 for |x| up to 475/512. */
const ERF_NEAR = [
  1.28379166e-1,
  -3.76125336e-1,
  1.12819925e-1,
  -2.67681349e-2,
  4.99119423e-3,
  -5.96761703e-4,
];
/** ln(1 - erf(x)) / x + 1 for larger x. */
const ERF_FAR = [
  -1.28717512e-1,
  -6.34846687e-1,
  -1.06777877e-1,
  2.42546219e-2,
  -3.88396438e-3,
  3.83197126e-4,
  -1.72853470e-5,
];
