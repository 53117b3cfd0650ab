/** The elementwise ops as functions; their formulas are rows of `elementwise_table.ts`. */
import {
  broadcastAxes,
  commonFloat,
  DTypeError,
  evaluateOne,
  type Expr,
  type Formula,
  isFloat,
  limitsOf,
  reduceKeep,
  reshaped,
  type Shape,
  sumTo,
  Tensor,
} from "../../tensor/mod.ts";
import { noGrad } from "../modes.ts";
import { defineOp, type Operands, type Sample, type SampleInput } from "../op.ts";
import { COMPARISONS, ELEMENTWISE, type ElementwiseRow, PREDICATES } from "./elementwise_table.ts";

/** A tensor, or a number that stands for a tensor of it. */
export type TensorLike = Tensor | number;

/** Where the numbers stand among the operands: null where the next tensor goes. */
interface Attrs {
  numbers: readonly (number | null)[];
  /** Shapes of the tensors. */
  shapes: readonly Shape[];
}

function merge<T>(numbers: readonly (number | null)[], tensors: readonly T[]): (T | number)[] {
  let next = 0;
  return numbers.map((n) => n ?? tensors[next++]!);
}

/** The gradient by operand `i` as a formula of [g, ...what the row saves]. */
function gradFormula(name: string, row: ElementwiseRow, i: number): Formula {
  return {
    name: `${name}'${i}`,
    build: (g, ...saved) => {
      const x: Expr[] = [];
      let y = g!;
      row.saves.forEach((what, k) => {
        if (what === "y") y = saved[k]!;
        else x[what] = saved[k]!;
      });
      return row.grads[i]!(g!, x, y);
    },
  };
}

/** Evaluates a gradient formula and sums it down to the operand's shape. */
function gradient(
  op: string,
  formula: Formula,
  args: readonly TensorLike[],
  shape: Shape,
): Tensor {
  const tensors = args.filter((a) => a instanceof Tensor);
  const dtype = tensors[0]!.dtype;
  const axes = broadcastAxes(shape, tensors[0]!.shape);
  const oneType = tensors.length === args.length && tensors.every((t) => t.dtype === dtype);
  if (axes.length > 0 && oneType) { // computed and summed in one pass
    using summed = reduceKeep(op, "sum", formula, tensors, axes);
    return reshaped(summed, shape, op);
  }
  using whole = evaluateOne(op, formula, args, { dtype });
  return sumTo(whole, shape, op);
}

/** Whether the first operand chooses between the others, and is of another type. */
const isConditional = (row: ElementwiseRow) => row.grads[0] === null;

function checkDtypes(op: string, row: ElementwiseRow, inputs: readonly Tensor[]): void {
  const condition = isConditional(row) ? inputs[0] : undefined;
  const values = condition ? inputs.slice(1) : inputs;
  const dtype = values[0]?.dtype;
  const allowed = dtype === undefined ||
    (dtype !== "u8" && (isFloat(dtype) || row.integers === true));
  if (!allowed || values.some((t) => t.dtype !== dtype)) {
    throw new DTypeError(
      `${op}: expected one dtype, ${row.integers ? "f32, f16, i32 or u32" : "f32 or f16"}, ` +
        `but got ${values.map((t) => t.dtype).join(" and ")}; cast first`,
    );
  }
  if (condition && isFloat(condition.dtype)) {
    throw new DTypeError(
      `${op}: expected a condition of u8 or integers but got ${condition.dtype}`,
    );
  }
}

type ElementwiseName = keyof typeof ELEMENTWISE;
const ROWS: Record<string, ElementwiseRow> = ELEMENTWISE;

/** Shapes every elementwise op is tried at, by operand. */
function samplesOf(name: string, row: ElementwiseRow): Sample[] {
  const arity = row.grads.length;
  const domain = (i: number) => row.domain?.[i] ?? row.domain?.[0] ?? [-2, 2];
  const input = (i: number, shape: Shape, strided = false): SampleInput => {
    const [low, high] = domain(i);
    const dtype = isConditional(row) && i === 0 ? "u8" : "f32";
    return { shape, low, high, dtype, strided };
  };
  const call = (inputs: Tensor[]) => elementwise(name as ElementwiseName, inputs);
  const each = (shape: (i: number) => Shape, strided = false): SampleInput[] =>
    Array.from({ length: arity }, (_, i) => input(i, shape(i), strided));
  const samples: Sample[] = [
    { name: "17x33", inputs: each(() => [17, 33]), call },
    { name: "length 1", inputs: each(() => [1]), call },
    { name: "no dimensions", inputs: each(() => []), call },
    { name: "strided views", inputs: each(() => [5, 7, 3], true), call },
  ];
  if (arity > 1) {
    const mixed = [[3, 5, 7], [7], [3, 1, 7]];
    const crossed = [[3, 1, 7], [1, 5, 1], [5, 1]];
    samples.push(
      { name: "broadcast", inputs: each((i) => mixed[i]!), call },
      { name: "broadcast both ways", inputs: each((i) => crossed[i]!), call },
      { name: "broadcast the first", inputs: each((i) => i === 0 ? [] : [4, 3]), call },
    );
  }
  if (name === "where") {
    samples.push({
      name: "numbers",
      inputs: [input(0, [5, 3]), input(1, [5, 3])],
      call: ([c, x]) => [where(c!, x!, -0.5), where(c!, 1.5, x!), where(c!, 0.25, 0.5)],
    });
  }
  if (arity === 2) {
    samples.push({
      name: "a number on either side",
      inputs: [input(0, [5, 3])],
      call: ([x]) => [
        elementwise(name as ElementwiseName, [x!, 1.5]),
        elementwise(name as ElementwiseName, [1.5, elementwise("abs", [x!])]),
      ],
    });
  }
  return samples;
}

const callers = new Map<string, (inputs: Operands, attrs: Attrs) => Tensor[]>();

for (const [name, row] of Object.entries(ROWS)) {
  const formula: Formula = { name, build: row.forward as Formula["build"] };
  const gradFormulas = row.grads.map((_, i) => gradFormula(name, row, i));
  const caller = defineOp<Attrs, readonly Tensor[]>({
    name,
    forward(inputs, attrs, recording) {
      const tensors = inputs as readonly Tensor[];
      checkDtypes(name, row, tensors);
      const args = merge(attrs.numbers, tensors);
      const numbers = tensors[isConditional(row) ? 1 : 0]?.dtype ?? "f32";
      const out = evaluateOne(name, formula, args, { numbers });
      if (!recording) return { out, saved: [] };
      const saved = row.saves.map((what) => what === "y" ? out : args[what]!);
      return { out, saved: saved.filter((arg) => arg instanceof Tensor) };
    },
    backward([g], saved, { numbers, shapes }, needs) {
      let next = 0;
      const kept = row.saves.map((what) =>
        what === "y" || numbers[what] === null ? saved[next++]! : numbers[what]!
      );
      const places = numbers.flatMap((n, i) => n === null ? [i] : []);
      return places.map((i, t) =>
        needs[t] ? gradient(name, gradFormulas[i]!, [g!, ...kept], shapes[t]!) : null
      );
    },
    samples: samplesOf(name, row),
  });
  callers.set(name, caller);
}

/** The tensors among operands, and where numbers stand between them. */
function sortArgs(op: string, args: readonly TensorLike[]): { tensors: Tensor[]; attrs: Attrs } {
  const tensors = args.filter((a) => a instanceof Tensor);
  if (tensors.length === 0) {
    throw new TypeError(`${op}: expected at least one tensor but got numbers only`);
  }
  const numbers = args.map((a) => a instanceof Tensor ? null : a);
  return { tensors, attrs: { numbers, shapes: tensors.map((t) => t.shape) } };
}

/** Calls the elementwise op `name`. */
function elementwise(name: ElementwiseName, args: readonly TensorLike[]): Tensor {
  const { tensors, attrs } = sortArgs(name, args);
  return callers.get(name)!(tensors, attrs)[0]!;
}

/** a + b */
export const add = (a: TensorLike, b: TensorLike): Tensor => elementwise("add", [a, b]);
/** a - b */
export const sub = (a: TensorLike, b: TensorLike): Tensor => elementwise("sub", [a, b]);
/** a * b */
export const mul = (a: TensorLike, b: TensorLike): Tensor => elementwise("mul", [a, b]);
/** a / b */
export const div = (a: TensorLike, b: TensorLike): Tensor => elementwise("div", [a, b]);
/** The larger of both; NaN where either is. */
export const maximum = (a: TensorLike, b: TensorLike): Tensor => elementwise("maximum", [a, b]);
/** The smaller of both; NaN where either is. */
export const minimum = (a: TensorLike, b: TensorLike): Tensor => elementwise("minimum", [a, b]);
/** x + a * b in one pass: a gated residual. */
export const addcmul = (x: TensorLike, a: TensorLike, b: TensorLike): Tensor =>
  elementwise("addcmul", [x, a, b]);
/** -x */
export const neg = (x: Tensor): Tensor => elementwise("neg", [x]);
/** |x|, with gradient 0 at 0 */
export const abs = (x: Tensor): Tensor => elementwise("abs", [x]);
/** x^2 */
export const square = (x: Tensor): Tensor => elementwise("square", [x]);
/** Square root. */
export const sqrt = (x: Tensor): Tensor => elementwise("sqrt", [x]);
/** 1 / sqrt(x) */
export const rsqrt = (x: Tensor): Tensor => elementwise("rsqrt", [x]);
/** 1 / x */
export const reciprocal = (x: Tensor): Tensor => elementwise("reciprocal", [x]);
/** e^x */
export const exp = (x: Tensor): Tensor => elementwise("exp", [x]);
/** Natural logarithm. */
export const log = (x: Tensor): Tensor => elementwise("log", [x]);
/** Sine of radians. */
export const sin = (x: Tensor): Tensor => elementwise("sin", [x]);
/** Cosine of radians. */
export const cos = (x: Tensor): Tensor => elementwise("cos", [x]);
/** Hyperbolic tangent. */
export const tanh = (x: Tensor): Tensor => elementwise("tanh", [x]);
/** 1 / (1 + e^-x) */
export const sigmoid = (x: Tensor): Tensor => elementwise("sigmoid", [x]);
/** Error function. */
export const erf = (x: Tensor): Tensor => elementwise("erf", [x]);
/** max(x, 0) */
export const relu = (x: Tensor): Tensor => elementwise("relu", [x]);
/** x sigmoid(x) */
export const silu = (x: Tensor): Tensor => elementwise("silu", [x]);

/** Gaussian error linear unit, with erf or by its tanh approximation. */
export function gelu(x: Tensor, approximate: "none" | "tanh" = "none"): Tensor {
  return elementwise(approximate === "tanh" ? "geluTanh" : "gelu", [x]);
}

/** x limited to [min, max]; either may be left out. The gradient passes at the limits themselves. */
export function clamp(x: Tensor, min = -Infinity, max = Infinity): Tensor {
  if (!(min <= max)) {
    throw new RangeError(`clamp: expected min <= max but got ${min} and ${max}`);
  }
  const [low, high] = limitsOf(x.dtype); // no integer type holds an infinity
  return elementwise("clamp", [x, Math.max(min, low), Math.min(max, high)]);
}

/** a where `condition` (u8 or integers) is not 0, else b. */
export function where(condition: Tensor, a: TensorLike, b: TensorLike): Tensor {
  return elementwise("where", [condition, a, b]);
}

/** a^b. Of negative bases for whole exponents only, NaN otherwise. */
export function pow(a: TensorLike, b: TensorLike): Tensor {
  if (b !== 1 && b !== 2) { // integers have products only
    for (const x of [a, b]) if (x instanceof Tensor) commonFloat("pow", [x]);
  }
  if (a instanceof Tensor) {
    if (b === 1) return mul(a, 1);
    if (b === 2) return square(a);
    if (b === 3) return elementwise("cube", [a]);
    if (b === 0.5) return sqrt(a);
    if (b === -0.5) return rsqrt(a);
    if (b === -1) return reciprocal(a);
  }
  return elementwise("pow", [a, b]);
}

function plain(op: string, build: Formula["build"], args: readonly TensorLike[]): Tensor {
  const like = args.find((a) => a instanceof Tensor);
  for (const a of args) {
    if (a instanceof Tensor && like && a.dtype !== like.dtype) {
      throw new DTypeError(
        `${op}: expected one dtype but got ${like.dtype} and ${a.dtype}; cast first`,
      );
    }
  }
  return evaluateOne(op, { name: op, build }, args, { dtype: "u8" });
}

/** a < b, as u8 */
export const lt = (a: TensorLike, b: TensorLike): Tensor => compare("lt", a, b);
/** a <= b, as u8 */
export const le = (a: TensorLike, b: TensorLike): Tensor => compare("le", a, b);
/** a > b, as u8 */
export const gt = (a: TensorLike, b: TensorLike): Tensor => compare("gt", a, b);
/** a >= b, as u8 */
export const ge = (a: TensorLike, b: TensorLike): Tensor => compare("ge", a, b);
/** a = b, as u8 */
export const eq = (a: TensorLike, b: TensorLike): Tensor => compare("eq", a, b);
/** a != b, as u8 */
export const ne = (a: TensorLike, b: TensorLike): Tensor => compare("ne", a, b);
/** 1 where x is an infinity or NaN, as u8 */
export const isNonFinite = (x: Tensor): Tensor => predicate("isNonFinite", x);
/** 1 where x is 0, else 0, as u8 */
export const logicalNot = (x: Tensor): Tensor => predicate("logicalNot", x);

const compareCallers = new Map<string, (inputs: Operands, attrs: Attrs) => Tensor[]>();

for (const [name, build] of Object.entries({ ...COMPARISONS, ...PREDICATES })) {
  const arity = name in COMPARISONS ? 2 : 1;
  const call = (inputs: Tensor[]) => callCompare(name, inputs);
  compareCallers.set(
    name,
    defineOp<Attrs, readonly []>({
      name,
      forward: (inputs, { numbers }) => ({
        out: plain(name, build as Formula["build"], merge(numbers, inputs as readonly Tensor[])),
        saved: [],
      }),
      backward: (_, __, { shapes }) => shapes.map(() => null),
      samples: [[17, 33], [1]].map((shape) => ({
        name: shape.join("x"),
        inputs: Array.from({ length: arity }, () => ({ shape })),
        call,
        differentiable: false,
      })),
    }),
  );
}

function callCompare(name: string, args: readonly TensorLike[]): Tensor {
  const { tensors, attrs } = sortArgs(name, args);
  return noGrad(() => compareCallers.get(name)!(tensors, attrs)[0]!);
}

function compare(name: keyof typeof COMPARISONS, a: TensorLike, b: TensorLike): Tensor {
  return callCompare(name, [a, b]);
}

function predicate(name: keyof typeof PREDICATES, x: Tensor): Tensor {
  return callCompare(name, [x]);
}
