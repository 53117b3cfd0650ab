/**
 * Every elementwise op: its formula, the formulas of its gradients, what they need, and where the
 * generic test tries it. Backends compile the formulas: a new op is one declaration here.
 */
import {
  checkOperands,
  commonFloat,
  constant,
  type Expr,
  limitsOf,
  Tensor,
} from "../../tensor/mod.ts";
import { comparison, elementwise, PASS, predicate, type TensorLike } from "./define_elementwise.ts";

export type { TensorLike };

const TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);
const SQRT_HALF = Math.SQRT1_2;
const INV_SQRT_2PI = 1 / Math.sqrt(2 * Math.PI);

/** Normal cumulative distribution. */
const phi = (x: Expr) => x.mul(SQRT_HALF).erf().add(1).mul(0.5);

/** sigmoid(2u) of the tanh approximation of GELU, u = sqrt(2/pi) (x + 0.044715 x^3). */
const GELU_C = 2 * Math.sqrt(2 / Math.PI);
const geluGate = (x: Expr) => x.mul(x).mul(0.044715 * GELU_C).add(GELU_C).mul(x).sigmoid();

/** A series near 0, where 1 - 2 / (1 + e^2x) would lose its digits. */
function tanhOf(x: Expr): Expr {
  const x2 = x.mul(x);
  const series = x2.mul(62 / 2835).add(-17 / 315).mul(x2).add(2 / 15).mul(x2).add(-1 / 3).mul(x2)
    .mul(x).add(x);
  const whole = constant(1).sub(constant(2).div(x.mul(2).exp().add(1)));
  return x.abs().lt(0.25).select(series, whole);
}

/** Whether x is NaN, by its bits: GPUs may assume there is none. */
const isNaN = (x: Expr) => x.bits("u32").and(0x7fffffff).gt(0x7f800000);
const LARGEST = 3.4028234663852886e38;

/**
 * a^b as C has it: 1 where b is 0 or a is 1, whatever the other is; NaN of a negative base unless
 * it is 0 or infinite or the exponent whole.
 */
function power(a: Expr, b: Expr): Expr {
  const base = a.abs();
  const plain = base.log2().mul(b).exp2();
  const ofZero = b.lt(0).select(constant(1).div(base), 0);
  const size = base.eq(1).select(1, base.eq(0).select(ofZero, plain));
  const half = b.mul(0.5);
  const odd = half.floor().eq(half).not();
  const whole = b.floor().eq(b);
  const root = base.eq(0).select(size, base.gt(LARGEST).select(size, NaN));
  const negative = whole.select(odd.select(size.neg(), size), root);
  const below = a.bits("i32").lt(0); // -0 as well, whose odd powers are negative
  const value = isNaN(a).select(NaN, isNaN(b).select(NaN, below.select(negative, size)));
  return b.eq(0).select(1, a.eq(1).select(1, value));
}

/**
 * The share of the gradient g of one of two operands, as PyTorch has it: none where it loses, half
 * where both are equal, all where it wins or one of them is NaN.
 */
const share = (g: Expr, loses: Expr, ties: Expr) => loses.select(0, ties.select(g.mul(0.5), g));

/** a + b */
export const add: (a: TensorLike, b: TensorLike) => Tensor = elementwise("add", {
  forward: (a, b) => a!.add(b!),
  grads: [PASS, PASS],
  saves: [],
  integers: true,
});

/** a - b */
export const sub: (a: TensorLike, b: TensorLike) => Tensor = elementwise("sub", {
  forward: (a, b) => a!.sub(b!),
  grads: [PASS, (g) => g.neg()],
  saves: [],
  integers: true,
});

/** a * b */
export const mul: (a: TensorLike, b: TensorLike) => Tensor = elementwise("mul", {
  forward: (a, b) => a!.mul(b!),
  grads: [(g, [, b]) => g.mul(b!), (g, [a]) => g.mul(a!)],
  saves: [0, 1],
  integers: true,
});

/** a / b */
export const div: (a: TensorLike, b: TensorLike) => Tensor = elementwise("div", {
  forward: (a, b) => a!.div(b!),
  grads: [(g, [, b]) => g.div(b!), (g, [a, b]) => g.neg().mul(a!.div(b!).div(b!))], // b^2 may overflow
  saves: [0, 1],
  domain: [[-2, 2], [0.5, 2]],
});

/** The larger of both; NaN where either is. */
export const maximum: (a: TensorLike, b: TensorLike) => Tensor = elementwise("maximum", {
  forward: (a, b) => a!.max(b!),
  grads: [
    (g, [a, b]) => share(g, a!.lt(b!), a!.eq(b!)),
    (g, [a, b]) => share(g, b!.lt(a!), a!.eq(b!)),
  ],
  saves: [0, 1],
  integers: true,
});

/** The smaller of both; NaN where either is. */
export const minimum: (a: TensorLike, b: TensorLike) => Tensor = elementwise("minimum", {
  forward: (a, b) => a!.min(b!),
  grads: [
    (g, [a, b]) => share(g, a!.gt(b!), a!.eq(b!)),
    (g, [a, b]) => share(g, b!.gt(a!), a!.eq(b!)),
  ],
  saves: [0, 1],
  integers: true,
});

/** x + a * b in one pass: a gated residual. */
export const addcmul: (x: TensorLike, a: TensorLike, b: TensorLike) => Tensor = elementwise(
  "addcmul",
  {
    forward: (x, a, b) => a!.mul(b!).add(x!),
    grads: [PASS, (g, [, , b]) => g.mul(b!), (g, [, a]) => g.mul(a!)],
    saves: [1, 2],
  },
);

/** -x */
export const neg: (x: Tensor) => Tensor = elementwise("neg", {
  forward: (x) => x!.neg(),
  grads: [(g) => g.neg()],
  saves: [],
  integers: true,
});

/** |x|, with gradient 0 at 0 */
export const abs: (x: Tensor) => Tensor = elementwise("abs", {
  forward: (x) => x!.abs(),
  grads: [(g, [x]) => x!.gt(0).select(g, x!.lt(0).select(g.neg(), 0))],
  saves: [0],
  integers: true,
  domain: [[0.1, 2]],
});

/** x^2 */
export const square: (x: Tensor) => Tensor = elementwise("square", {
  forward: (x) => x!.mul(x!),
  grads: [(g, [x]) => g.mul(x!).mul(2)],
  saves: [0],
  integers: true,
});

/** Square root. */
export const sqrt: (x: Tensor) => Tensor = elementwise("sqrt", {
  forward: (x) => x!.sqrt(),
  grads: [(g, _, y) => g.mul(0.5).div(y)],
  saves: ["y"],
  domain: [[0.2, 4]],
});

/** 1 / sqrt(x) */
export const rsqrt: (x: Tensor) => Tensor = elementwise("rsqrt", {
  forward: (x) => constant(1).div(x!.sqrt()),
  grads: [(g, _, y) => g.mul(y).mul(y).mul(y).mul(-0.5)],
  saves: ["y"],
  domain: [[0.2, 4]],
});

/** 1 / x */
export const reciprocal: (x: Tensor) => Tensor = elementwise("reciprocal", {
  forward: (x) => constant(1).div(x!),
  grads: [(g, _, y) => g.mul(y).mul(y).neg()],
  saves: ["y"],
  domain: [[0.2, 4]],
});

/** e^x */
export const exp: (x: Tensor) => Tensor = elementwise("exp", {
  forward: (x) => x!.exp(),
  grads: [(g, _, y) => g.mul(y)],
  saves: ["y"],
});

/** Natural logarithm. */
export const log: (x: Tensor) => Tensor = elementwise("log", {
  forward: (x) => x!.log(),
  grads: [(g, [x]) => g.div(x!)],
  saves: [0],
  domain: [[0.2, 4]],
});

/** Sine of radians. */
export const sin: (x: Tensor) => Tensor = elementwise("sin", {
  forward: (x) => x!.sin(),
  grads: [(g, [x]) => g.mul(x!.cos())],
  saves: [0],
});

/** Cosine of radians. */
export const cos: (x: Tensor) => Tensor = elementwise("cos", {
  forward: (x) => x!.cos(),
  grads: [(g, [x]) => g.mul(x!.sin()).neg()],
  saves: [0],
});

/** Hyperbolic tangent. */
export const tanh: (x: Tensor) => Tensor = elementwise("tanh", {
  forward: (x) => tanhOf(x!),
  grads: [(g, _, y) => g.mul(constant(1).sub(y.mul(y)))],
  saves: ["y"],
});

/** 1 / (1 + e^-x) */
export const sigmoid: (x: Tensor) => Tensor = elementwise("sigmoid", {
  forward: (x) => x!.sigmoid(),
  grads: [(g, _, y) => g.mul(y).mul(constant(1).sub(y))],
  saves: ["y"],
});

/** Error function. */
export const erf: (x: Tensor) => Tensor = elementwise("erf", {
  forward: (x) => x!.erf(),
  grads: [(g, [x]) => g.mul(TWO_OVER_SQRT_PI).mul(x!.mul(x!).neg().exp())],
  saves: [0],
});

/** max(x, 0) */
export const relu: (x: Tensor) => Tensor = elementwise("relu", {
  forward: (x) => x!.max(0),
  grads: [(g, _, y) => y.le(0).select(0, g)], // NaN passes it on
  saves: ["y"],
  domain: [[0.1, 2]],
});

/** x sigmoid(x) */
export const silu: (x: Tensor) => Tensor = elementwise("silu", {
  forward: (x) => x!.mul(x!.sigmoid()),
  grads: [(g, [x]) => {
    const s = x!.sigmoid();
    return g.mul(s.mul(x!.mul(constant(1).sub(s)).add(1)));
  }],
  saves: [0],
});

/** x Phi(x), with erf. */
const callGelu = elementwise("gelu", {
  forward: (x) => x!.mul(phi(x!)),
  grads: [(g, [x]) => {
    const density = x!.mul(x!).mul(-0.5).exp().mul(INV_SQRT_2PI);
    return g.mul(phi(x!).add(x!.mul(density)));
  }],
  saves: [0],
});

/** The tanh approximation, 0.5 x (1 + tanh(u)) = x sigmoid(2u). */
const callGeluTanh = elementwise("geluTanh", {
  forward: (x) => x!.mul(geluGate(x!)),
  grads: [(g, [x]) => {
    const s = geluGate(x!);
    const slope = x!.mul(x!).mul(3 * 0.044715 * GELU_C).add(GELU_C); // d(2u)/dx
    return g.mul(s.mul(x!.mul(slope).mul(constant(1).sub(s)).add(1)));
  }],
  saves: [0],
});

/** Gaussian error linear unit, with erf or by its tanh approximation. */
export function gelu(x: Tensor, approximate: "none" | "tanh" = "none"): Tensor {
  if (approximate === "tanh") return callGeluTanh(x);
  if (approximate === "none") return callGelu(x);
  throw new RangeError(`gelu: expected approximate "none" or "tanh" but got ${approximate}`);
}

/** Between two limits, low <= high; the gradient goes to x at the limits themselves. */
const callClamp = elementwise("clamp", {
  forward: (x, low, high) => x!.max(low!).min(high!),
  grads: [
    (g, [x, low, high]) => x!.ge(low!).select(x!.le(high!).select(g, 0), 0),
    (g, [x, low]) => x!.lt(low!).select(g, 0),
    (g, [x, , high]) => x!.gt(high!).select(g, 0),
  ],
  saves: [0, 1, 2],
  integers: true,
  domain: [[-2, 2], [-1.1, -0.9], [0.9, 1.1]],
});

/** x limited to [min, max]; either may be left out. The gradient passes at the limits themselves. */
export function clamp(x: Tensor, min = -Infinity, max = Infinity): Tensor {
  if (!(min <= max)) {
    throw new RangeError(`clamp: expected min <= max but got ${min} and ${max}`);
  }
  checkOperands("clamp", [x]);
  const [low, high] = limitsOf(x.dtype); // no integer type holds an infinity
  return callClamp(x, Math.max(min, low), Math.min(max, high));
}

const callWhere = elementwise("where", {
  forward: (c, a, b) => c!.ne(0).select(a!, b!),
  grads: [null, (g, [c]) => c!.ne(0).select(g, 0), (g, [c]) => c!.ne(0).select(0, g)],
  saves: [0],
  integers: true,
  domain: [[0, 1], [-2, 2], [-2, 2]],
  samples: [{
    name: "numbers",
    inputs: [{ shape: [5, 3], dtype: "u8", low: 0, high: 1 }, { shape: [5, 3] }],
    call: ([c, x]) => [where(c!, x!, -0.5), where(c!, 1.5, x!), where(c!, 0.25, 0.5)],
  }],
});

/** a where `condition` (u8 or integers) is not 0, else b. */
export function where(condition: Tensor, a: TensorLike, b: TensorLike): Tensor {
  return callWhere(condition, a, b);
}

const callCube = elementwise("cube", {
  forward: (x) => x!.mul(x!).mul(x!),
  grads: [(g, [x]) => g.mul(x!).mul(x!).mul(3)],
  saves: [0],
});

const callPow = elementwise("pow", {
  forward: (a, b) => power(a!, b!),
  grads: [
    (g, [a, b]) => b!.eq(0).select(0, g.mul(b!.mul(power(a!, b!.sub(1))))),
    (g, [a, b], y) => {
      const slope = g.mul(y.mul(a!.log()));
      return a!.eq(0).select(b!.ge(0).select(0, slope), slope);
    },
  ],
  saves: [0, 1, "y"],
  domain: [[0.3, 2], [-2, 2]],
});

/** a^b. Of negative bases for whole exponents only, NaN otherwise. */
export function pow(a: TensorLike, b: TensorLike): Tensor {
  if (b !== 1 && b !== 2) { // integers have products only
    for (const x of [a, b]) if (x instanceof Tensor) commonFloat("pow", [x]);
  }
  if (a instanceof Tensor) {
    if (b === 1) return mul(a, 1);
    if (b === 2) return square(a);
    if (b === 3) return callCube(a);
    if (b === 0.5) return sqrt(a);
    if (b === -0.5) return rsqrt(a);
    if (b === -1) return reciprocal(a);
  }
  return callPow(a, b);
}

/** a < b, as u8 */
export const lt: (a: TensorLike, b: TensorLike) => Tensor = comparison("lt", (a, b) => a.lt(b));
/** a <= b, as u8 */
export const le: (a: TensorLike, b: TensorLike) => Tensor = comparison("le", (a, b) => a.le(b));
/** a > b, as u8 */
export const gt: (a: TensorLike, b: TensorLike) => Tensor = comparison("gt", (a, b) => a.gt(b));
/** a >= b, as u8 */
export const ge: (a: TensorLike, b: TensorLike) => Tensor = comparison("ge", (a, b) => a.ge(b));
/** a = b, as u8 */
export const eq: (a: TensorLike, b: TensorLike) => Tensor = comparison("eq", (a, b) => a.eq(b));
/** a != b, as u8 */
export const ne: (a: TensorLike, b: TensorLike) => Tensor = comparison(
  "ne",
  (a, b) => a.eq(b).not(), // GPUs may take a NaN for equal to what it is compared with
);
/** 1 where x is an infinity or NaN, as u8 */
export const isNonFinite: (x: Tensor) => Tensor = predicate(
  "isNonFinite",
  (x) => x.ty === "f32" ? x.isNonFinite() : x.ne(x), // integers are finite, whatever their bits
);
/** 1 where x is 0, else 0, as u8 */
export const logicalNot: (x: Tensor) => Tensor = predicate("logicalNot", (x) => x.eq(0));
