/** How an elementwise op is made of its formulas: the function that calls it, and its gradients. */
import {
  broadcastAxes,
  type DType,
  DTypeError,
  evaluateOne,
  type Expr,
  type Formula,
  isFloat,
  reduceKeep,
  reshaped,
  sameShape,
  type Shape,
  sumTo,
  Tensor,
  valueText,
} from "../../tensor/mod.ts";
import { autocastDtype, noGrad } from "../modes.ts";
import { defineOp, type Sample, type SampleInput } from "../op.ts";

/** One op. `x` are its operands, `y` its result, `g` the gradient of its result. */
export interface ElementwiseRow {
  readonly forward: (...x: Expr[]) => Expr;
  /** Gradient by each operand; null where there is none. */
  readonly grads: readonly (((g: Expr, x: Expr[], y: Expr) => Expr) | null)[];
  /** What the gradients read: operands by number, "y" for the result. */
  readonly saves: readonly (number | "y")[];
  /** Whether i32 and u32 are fine too; floats always are. */
  readonly integers?: boolean;
  /** Values the operands are tried at: [low, high], -2 to 2 by default. */
  readonly domain?: readonly (readonly [number, number])[];
  /** Calls to try beside the usual ones. */
  readonly samples?: readonly Sample[];
}

/** The gradient of an operand that is only added: what arrived, which is handed on as it is. */
export const PASS = (g: Expr): Expr => g;

/** A tensor, or a number that stands for a tensor of it. */
export type TensorLike = Tensor | number;

/** Where the numbers stand among the operands: null where the next tensor goes. */
interface Attrs {
  numbers: readonly (number | null)[];
  /** Shapes of the tensors. */
  shapes: readonly Shape[];
  /** Types of the tensors, which their gradients have too. */
  dtypes: readonly DType[];
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

/** Evaluates a gradient formula and sums it down to the operand's shape, in its type. */
function gradient(
  op: string,
  formula: Formula,
  args: readonly TensorLike[],
  { shape, dtype }: { readonly shape: Shape; readonly dtype: DType },
): Tensor {
  const tensors = args.filter((a) => a instanceof Tensor);
  const axes = broadcastAxes(shape, tensors[0]!.shape);
  const allFloat = tensors.length === args.length && tensors.every((t) => isFloat(t.dtype));
  if (axes.length > 0 && allFloat) { // computed and summed in one pass
    using summed = reduceKeep(op, "sum", formula, tensors, axes, { dtype });
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
  const mayMix = autocastDtype() !== null && values.every((t) => isFloat(t.dtype));
  if (!allowed || !mayMix && values.some((t) => t.dtype !== dtype)) {
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

/** An op as it is called. */
type Call = (...args: TensorLike[]) => Tensor;

/** Shapes every elementwise op is tried at, by operand. */
function samplesOf(row: ElementwiseRow, op: Call): Sample[] {
  const arity = row.grads.length;
  const domain = (i: number) => row.domain?.[i] ?? row.domain?.[0] ?? [-2, 2];
  const input = (i: number, shape: Shape, strided = false): SampleInput => {
    const [low, high] = domain(i);
    const dtype = isConditional(row) && i === 0 ? "u8" : "f32";
    return { shape, low, high, dtype, strided };
  };
  const call = (inputs: Tensor[]) => op(...inputs);
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
  if (arity === 2) {
    samples.push({
      name: "a number on either side",
      inputs: [input(0, [5, 3]), input(1, [5, 3])],
      call: ([a, b]) => [op(a!, 1.5), op(1.5, b!)],
    });
  }
  return [...samples, ...row.samples ?? []];
}

/** The tensors among operands, and where numbers stand between them. */
function sortArgs(
  op: string,
  arity: number,
  args: readonly TensorLike[],
): { tensors: Tensor[]; attrs: Attrs } {
  for (let i = 0; i < arity; i++) {
    if (args[i] instanceof Tensor || typeof args[i] === "number") continue;
    throw new TypeError(
      `${op}: expected a tensor or a number as operand ${i} but got ${valueText(args[i])}`,
    );
  }
  const tensors = args.filter((a) => a instanceof Tensor);
  if (tensors.length === 0) {
    throw new TypeError(`${op}: expected at least one tensor but got numbers only`);
  }
  const numbers = args.map((a) => a instanceof Tensor ? null : a);
  const attrs = {
    numbers,
    shapes: tensors.map((t) => t.shape),
    dtypes: tensors.map((t) => {
      t.checkLive(op);
      return t.dtype;
    }),
  };
  return { tensors, attrs };
}

const rows = new Map<string, ElementwiseRow>();

/** The row of an op that has been declared. */
export function rowOf(name: string): ElementwiseRow {
  const row = rows.get(name);
  if (!row) throw new Error(`rowOf: expected the name of an elementwise op but got "${name}"`);
  return row;
}

/** Declares an elementwise op; returns the function that calls it. */
export function elementwise(name: string, row: ElementwiseRow): Call {
  rows.set(name, row);
  const call: Call = (...args) => {
    const { tensors, attrs } = sortArgs(name, row.grads.length, args);
    return caller(tensors, attrs)[0]!;
  };
  const formula: Formula = { name, build: row.forward };
  const gradFormulas = row.grads.map((_, i) => gradFormula(name, row, i));
  const caller = defineOp<Attrs, readonly Tensor[]>({
    name,
    cast: "asGiven",
    forward(inputs, attrs, recording) {
      const tensors = inputs as readonly Tensor[];
      checkDtypes(name, row, tensors);
      const args = merge(attrs.numbers, tensors);
      const values = isConditional(row) ? tensors.slice(1) : tensors;
      const numbers = values[0]?.dtype ?? "f32";
      const wide = values.find((t) => t.dtype === "f32"); // of f16 and f32 comes f32
      const out = evaluateOne(name, formula, args, { numbers, ...(wide ? { dtype: "f32" } : {}) });
      if (!recording) return { out, saved: [] };
      const saved = row.saves.map((what) => what === "y" ? out : args[what]!);
      return { out, saved: saved.filter((arg) => arg instanceof Tensor) };
    },
    backward([g], saved, { numbers, shapes, dtypes }, needs) {
      let next = 0;
      const kept = row.saves.map((what) =>
        what === "y" || numbers[what] === null ? saved[next++]! : numbers[what]!
      );
      const places = numbers.flatMap((n, i) => n === null ? [i] : []);
      return places.map((i, t) => {
        if (!needs[t]) return null;
        const [shape, dtype] = [shapes[t]!, dtypes[t]!];
        const isPassed = row.grads[i] === PASS && g!.dtype === dtype && sameShape(g!.shape, shape);
        return isPassed ? g! : gradient(name, gradFormulas[i]!, [g!, ...kept], { shape, dtype });
      });
    },
    samples: samplesOf(row, call),
  });
  return call;
}

/** Declares an op that asks something of numbers: 1 for yes, 0 for no, as u8; without a gradient. */
function question(name: string, arity: number, build: Formula["build"]): Call {
  const formula: Formula = { name, build };
  const call: Call = (...args) => {
    const { tensors, attrs } = sortArgs(name, arity, args);
    return noGrad(() => caller(tensors, attrs)[0]!);
  };
  const caller = defineOp<Attrs, readonly []>({
    name,
    forward(inputs, { numbers }) {
      const tensors = inputs as readonly Tensor[];
      const other = tensors.find((t) => t.dtype !== tensors[0]!.dtype);
      if (other) {
        throw new DTypeError(
          `${name}: expected one dtype but got ${tensors[0]!.dtype} and ${other.dtype}; cast first`,
        );
      }
      const out = evaluateOne(name, formula, merge(numbers, tensors), { dtype: "u8" });
      return { out, saved: [] };
    },
    backward: (_, __, { shapes }) => shapes.map(() => null),
    samples: [[17, 33], [1]].map((shape) => ({
      name: shape.join("x"),
      inputs: Array.from({ length: arity }, () => ({ shape })),
      call: (inputs) => call(...inputs),
      differentiable: false,
    })),
  });
  return call;
}

/** Declares a comparison of two numbers. */
export function comparison(name: string, build: (a: Expr, b: Expr) => Expr): Call {
  return question(name, 2, (a, b) => build(a!, b!));
}

/** Declares a question about one number. */
export function predicate(name: string, build: (x: Expr) => Expr): Call {
  return question(name, 1, (x) => build(x!));
}
