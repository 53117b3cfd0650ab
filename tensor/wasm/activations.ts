/**
 * Functions of four f32 at a time for kernels. Constants sit in locals that are set once, before
 * any loop: V8 then keeps them in registers and pairs neighbouring calls into 256-bit operations.
 */
import { type Func, V128 } from "./assembler.ts";

/** A new local that holds `value` in all lanes. */
export function constant(f: Func, value: number): number {
  const local = f.local(V128);
  f.f32x4const(value).set(local);
  return local;
}

/** Emits code that maps one vector local to another, which it returns. */
export type VectorFunction = (x: number) => number;

/**
 * 2^z for z at most 127: z = n + r with n whole and |r| <= 1/2 by adding and subtracting 1.5 * 2^23,
 * then a polynomial in r whose exponent field n is added to. Relative error 2e-7; exactly 1 at
 * 0, exactly 0 from -127 down; NaN stays NaN.
 */
export function exp2(f: Func): VectorFunction {
  const least = constant(f, -127), magic = constant(f, 1.5 * 2 ** 23), one = constant(f, 1);
  // (2^r - 1) / r, fitted for the least relative error of 2^r: 9.2e-8.
  const coefficients = [
    0.0013264665828094143,
    0.009671512604249772,
    0.05550733890728555,
    0.24022242093282747,
    0.693146977545934,
  ].map((c) => constant(f, c));
  return (z) => {
    const rounded = f.local(V128), r = f.local(V128), out = f.local(V128);
    f.get(z).get(least).f32x4("pmax").tee(r).get(magic).f32x4("add").set(rounded);
    f.get(r).get(rounded).get(magic).f32x4("sub").f32x4("sub").set(r);
    f.get(coefficients[0]!);
    for (const c of coefficients.slice(1)) f.get(r).get(c).f32x4("relaxed_madd");
    f.get(r).get(one).f32x4("relaxed_madd");
    f.get(rounded).i32const(23).i32x4("shl").i32x4("add").set(out);
    return out;
  };
}

/** 1 / (1 + 2^z) for any z. */
function logisticOf2(f: Func): VectorFunction {
  const pow = exp2(f), one = constant(f, 1), most = constant(f, 126);
  return (z) => {
    const out = f.local(V128);
    f.get(z).get(most).f32x4("pmin").set(z);
    f.get(one).get(one).get(pow(z)).f32x4("add").f32x4("div").set(out);
    return out;
  };
}

/** Logistic function 1 / (1 + e^-x). */
export function sigmoid(f: Func): VectorFunction {
  const logistic = logisticOf2(f), scale = constant(f, -Math.LOG2E);
  return (x) => {
    const z = f.local(V128);
    f.get(x).get(scale).f32x4("mul").set(z);
    return logistic(z);
  };
}

/** x * sigmoid(x). */
export function silu(f: Func): VectorFunction {
  const gate = sigmoid(f);
  return (x) => {
    const out = f.local(V128);
    f.get(x).get(gate(x)).f32x4("mul").set(out);
    return out;
  };
}

/**
 * GELU's tanh form, x / 2 * (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3), as
 * x / (1 + e^-2u) (Hendrycks & Gimpel, arXiv:1606.08415).
 */
export function geluTanh(f: Func): VectorFunction {
  const scale = -2 * Math.sqrt(2 / Math.PI) * Math.LOG2E;
  const logistic = logisticOf2(f);
  const linear = constant(f, scale), cubic = constant(f, scale * 0.044715);
  return (x) => {
    const z = f.local(V128), out = f.local(V128);
    f.get(x).get(x).f32x4("mul").get(cubic).get(linear).f32x4("relaxed_madd");
    f.get(x).f32x4("mul").set(z);
    f.get(x).get(logistic(z)).f32x4("mul").set(out);
    return out;
  };
}

/** x / 2 * (1 + erf(x / sqrt(2))), erf by the rational function of Eigen's `generic_fast_erf_float`. */
export function gelu(f: Func): VectorFunction {
  const bound = constant(f, 4), minusBound = constant(f, -4);
  const root = constant(f, Math.SQRT1_2), half = constant(f, 0.5);
  const numerator = [
    -2.72614225801306e-10,
    2.77068142495902e-8,
    -2.10102402082508e-6,
    -5.69250639462346e-5,
    -7.34990630326855e-4,
    -2.954599808540250e-3,
    -1.60960333262415e-2,
  ].map((c) => constant(f, c));
  const denominator = [
    -1.45660718464996e-5,
    -2.13374055278905e-4,
    -1.68282697438203e-3,
    -7.37332916720468e-3,
    -1.42647390514189e-2,
  ].map((c) => constant(f, c));
  const polynomial = (x: number, coefficients: readonly number[]) => {
    f.get(coefficients[0]!);
    for (const c of coefficients.slice(1)) f.get(x).get(c).f32x4("relaxed_madd");
  };
  return (x) => {
    const u = f.local(V128), u2 = f.local(V128), h = f.local(V128), out = f.local(V128);
    f.get(x).get(root).f32x4("mul").get(minusBound).f32x4("pmax").get(bound).f32x4("pmin").tee(u);
    f.get(u).f32x4("mul").set(u2);
    f.get(x).get(half).f32x4("mul").set(h);
    f.get(u);
    polynomial(u2, numerator);
    f.f32x4("mul");
    polynomial(u2, denominator);
    f.f32x4("div").get(h).get(h).f32x4("relaxed_madd").set(out);
    return out;
  };
}

/** Combines the four lanes of a vector local into all lanes of a new one. */
export function acrossLanes(f: Func, v: number, op: "add" | "max" | "pmax"): number {
  const half = f.local(V128), out = f.local(V128);
  f.get(v).get(v).get(v).shuffle32([2, 3, 0, 1]).f32x4(op).set(half);
  f.get(half).get(half).get(half).shuffle32([1, 0, 3, 2]).f32x4(op).set(out);
  return out;
}
