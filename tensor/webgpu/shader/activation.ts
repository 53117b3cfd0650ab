/** The functions kernels apply to results before they store them, as WGSL. */
import type { Activation } from "../../kernels.ts";

/** e^x as 2^(x log2 e): GPUs have an exp2 instruction. */
const LOG2E = Math.LOG2E.toString();

/**
 * Declares `fn activation(x: T) -> T`, or one of another name, for T f32 or vec4f. WGSL lets an implementation assume that
 * there are no infinities and NaNs, so exponents are kept finite; a NaN comes through as the
 * factor x.
 */
export function declareActivation(
  kind: Activation,
  type: "f32" | "vec4f",
  name = "activation",
): string {
  return `fn ${name}(x: ${type}) -> ${type} {\n${BODIES[kind](type)}\n}`;
}

/** x / (1 + e^-z): z is x for SiLU. */
function gate(type: string, z: string): string {
  return `  return x / (1.0 + exp2(min(${z} * -${LOG2E}, ${type}(126.0))));`;
}

const BODIES: { readonly [K in Activation]: (type: "f32" | "vec4f") => string } = {
  none: () => "  return x;",
  // By the bits, where a NaN lies above the infinities: compilers may take max(x, 0) for this.
  relu: (type) => {
    const word = type === "f32" ? "u32" : "vec4u";
    return `  let bits = bitcast<${word}>(x);
  let negative = bits - ${word}(0x80000000u) <= ${word}(0x7f800000u);
  return select(x, ${type}(0.0), negative);`;
  },
  silu: (type) => gate(type, "x"),
  // 1 + tanh(u) = 2 / (1 + e^-2u); some drivers' tanh overflows.
  geluTanh: (type) => gate(type, `(${2 * Math.sqrt(2 / Math.PI)} * (x + 0.044715 * x * x * x))`),
  // x Phi(x), with the upper tail of the normal distribution by Abramowitz and Stegun 7.1.26
  // (absolute error 7.5e-8); from the tail's side nothing cancels for negative x.
  gelu: (type) => `
  let z = abs(x) * ${Math.SQRT1_2};
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 +
    t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * poly * exp2(z * z * -${LOG2E});
  return x * select(1.0 - tail, tail, x < ${type}(0.0));`,
};
