import type { Activation } from "../kernels.ts";

/**
 * The error function to about 1e-15: for small |x| the series
 * 2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (2n+1)!! (Abramowitz and Stegun 7.1.6; all terms have
 * one sign, so nothing cancels), beyond it 1 - erfc(x) by its continued fraction (7.1.14).
 */
export function erf(x: number): number {
  if (Number.isNaN(x)) return NaN;
  const a = Math.abs(x);
  if (a >= 6) return Math.sign(x);
  const bell = Math.exp(-a * a) / Math.sqrt(Math.PI);
  if (a < 3) {
    let term = a;
    let sum = a;
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= 2 * a * a / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * 2 * bell * sum;
  }
  let fraction = a;
  for (let n = 60; n >= 1; n--) fraction = a + (n / 2) / fraction;
  return Math.sign(x) * (1 - bell / fraction);
}

/** 1 / (1 + e^-x). */
export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** Derivative of x * sigmoid(x). */
export function siluDerivative(x: number): number {
  const s = sigmoid(x);
  return s * (1 + x * (1 - s));
}

/** The functions a matrix product can end with (GELU: Hendrycks and Gimpel, arXiv 1606.08415). */
export const ACTIVATIONS: { readonly [K in Activation]: (x: number) => number } = {
  none: (x) => x,
  relu: (x) => Math.max(x, 0),
  silu: (x) => x * sigmoid(x),
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  geluTanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

/** The nearest whole number, halves to even. */
export function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}
