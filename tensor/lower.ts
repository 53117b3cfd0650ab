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

/** Larger arguments give NaN. */
const REDUCIBLE = 2 ** 22;

/**
 * sin(x + shift * pi/2) for |x| up to 1e5, within about 1e-7: x is reduced to [-pi/4, pi/4], and
 * the quadrant picks the polynomial and the sign. Beyond {@link REDUCIBLE} no digit would be right.
 */
function sinShifted(x: Expr, shift: 0 | 1): Expr {
  const n = x.mul(2 / Math.PI).round();
  let r = x;
  for (const part of HALF_PI) r = r.sub(n.mul(part));
  const quadrant = n.to("i32").add(shift);
  const s = r.mul(r);
  const sine = polynomial(s, SIN).mul(s).mul(r).add(r);
  const cosine = polynomial(s, COS).mul(s).mul(s).add(s.mul(-0.5)).add(1);
  const value = quadrant.and(1).ne(0).select(cosine, sine);
  const signed = quadrant.and(2).ne(0).select(value.neg(), value);
  return x.abs().lt(REDUCIBLE).select(signed, NaN);
}

/** (sin r - r) / r^3 and (cos r - 1 + r^2/2) / r^4 in r^2: Cephes' sinf and cosf (S. Moshier). */
const SIN = [-1.6666654611e-1, 8.3321608736e-3, -1.9515295891e-4];
const COS = [4.166664568298827e-2, -1.388731625493765e-3, 2.443315711809948e-5];

/** Sine of radians, within 2e-7 for |x| up to 1e5. */
export function sin(x: Expr): Expr {
  return sinShifted(x, 0);
}

/** Cosine of radians, within 2e-7 for |x| up to 1e5. */
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
