/**
 * Activations of four lanes. Each takes its argument from a v128 local and leaves its result on
 * the stack.
 */
import type { Activation } from "../../kernels.ts";
import { exp2, type VectorContext } from "./vector_math.ts";

/** 1 / (1 + 2^z). */
function logisticOf2(context: VectorContext, z: number): void {
  const { f, constants } = context;
  f.get(constants.f32(1)).get(constants.f32(1));
  exp2(context, z);
  f.f32x4("add").f32x4("div");
}

/** Logistic function 1 / (1 + e^-x). */
export function sigmoid(context: VectorContext, x: number): void {
  const { f, constants, temporaries } = context;
  const z = temporaries.take();
  f.get(x).get(constants.f32(-Math.LOG2E)).f32x4("mul").set(z);
  logisticOf2(context, z);
}

/** x * sigmoid(x). */
export function silu(context: VectorContext, x: number): void {
  context.f.get(x);
  sigmoid(context, x);
  context.f.f32x4("mul");
}

/**
 * GELU's tanh form, x / 2 * (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3), as
 * x / (1 + e^-2u) (Hendrycks & Gimpel, arXiv:1606.08415).
 */
function geluTanh(context: VectorContext, x: number): void {
  const { f, constants, temporaries } = context;
  const scale = -2 * Math.sqrt(2 / Math.PI) * Math.LOG2E;
  const z = temporaries.take();
  f.get(x).get(x).f32x4("mul").get(constants.f32(scale * 0.044715)).get(constants.f32(scale));
  f.f32x4("relaxed_madd").get(x).f32x4("mul").set(z);
  f.get(x);
  logisticOf2(context, z);
  f.f32x4("mul");
}

// erf(u) = u P(u^2) / Q(u^2) on [-4, 4], from Eigen's generic_fast_erf_float; highest power first.
// deno-fmt-ignore
const ERF_P = [
  -2.72614225801306e-10, 2.77068142495902e-8, -2.10102402082508e-6, -5.69250639462346e-5,
  -7.34990630326855e-4, -2.954599808540250e-3, -1.60960333262415e-2,
];
// deno-fmt-ignore
const ERF_Q = [
  -1.45660718464996e-5, -2.13374055278905e-4, -1.68282697438203e-3, -7.37332916720468e-3,
  -1.42647390514189e-2,
];

/** x / 2 * (1 + erf(x / sqrt(2))). */
function gelu(context: VectorContext, x: number): void {
  const { f, constants, temporaries } = context;
  const u = temporaries.take(), square = temporaries.take(), half = temporaries.take();
  const polynomial = (coefficients: readonly number[]) => {
    f.get(constants.f32(coefficients[0]!));
    for (const c of coefficients.slice(1)) {
      f.get(square).get(constants.f32(c)).f32x4("relaxed_madd");
    }
  };
  f.get(x).get(constants.f32(Math.SQRT1_2)).f32x4("mul");
  f.get(constants.f32(-4)).f32x4("pmax").get(constants.f32(4)).f32x4("pmin").tee(u);
  f.get(u).f32x4("mul").set(square);
  f.get(x).get(constants.f32(0.5)).f32x4("mul").set(half);
  f.get(u);
  polynomial(ERF_P);
  f.f32x4("mul");
  polynomial(ERF_Q);
  f.f32x4("div").get(half).get(half).f32x4("relaxed_madd");
}

/** Applies an activation of the kernel contract. */
export function activate(context: VectorContext, kind: Activation, x: number): void {
  const { f, constants } = context;
  switch (kind) {
    case "none":
      f.get(x);
      break;
    case "relu":
      // max, not pmax: NaN has to come through.
      f.get(x).get(constants.f32(0)).f32x4("max");
      break;
    case "silu":
      silu(context, x);
      break;
    case "gelu":
      gelu(context, x);
      break;
    case "geluTanh":
      geluTanh(context, x);
      break;
    default:
      kind satisfies never;
  }
}
