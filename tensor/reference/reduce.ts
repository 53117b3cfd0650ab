import type { KernelArgs } from "../kernels.ts";
import type { View } from "../view.ts";
import { program } from "../expr.ts";
import { elementsOf, floatsOf } from "./buffer.ts";
import { runProgram } from "./elementwise.ts";
import type { Trials } from "./trial.ts";

/** See {@linkcode KernelArgs}. */
export function reduce({ op, program, ins, scalars, out }: KernelArgs["reduce"]): void {
  const [outer, reduced, inner] = ins[0]!.shape as [number, number, number];
  const result = floatsOf(out);
  const size = outer * inner;
  const start = op === "sum" ? 0 : op === "max" ? -Infinity : Infinity;
  result.fill(start, out.offset, out.offset + size);
  runProgram(program, ins, scalars, ins[0]!.shape, ([values], first, count) => {
    for (let i = 0; i < count; i++) {
      const element = first + i;
      const o = Math.floor(element / (reduced * inner));
      const at = out.offset + o * inner + element % inner;
      const value = values![i]!;
      // Math.max and Math.min give NaN where either operand is NaN.
      if (op === "sum") result[at]! += value;
      else result[at] = op === "max" ? Math.max(result[at]!, value) : Math.min(result[at]!, value);
    }
  });
}

/** Calls `visit` for each line along the middle axis of [O, R, I], with where it begins. */
function eachLine(x: View, visit: (begin: number, line: number, outAt: number) => void): void {
  const [outer, reduced, inner] = x.shape as [number, number, number];
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const begin = x.offset + o * x.strides[0]! + i * x.strides[2]!;
      visit(begin, o * inner + i, o * reduced * inner + i);
    }
  }
}

/** See {@linkcode KernelArgs}. A NaN counts as larger and smaller than any number. */
export function argReduce({ op, x, out }: KernelArgs["argReduce"]): void {
  const source = elementsOf(x);
  const result = elementsOf(out);
  const step = x.strides[1]!;
  eachLine(x, (begin, line) => {
    let best = source[begin]!;
    let bestAt = 0;
    for (let r = 1; r < x.shape[1]! && !Number.isNaN(best); r++) {
      const value = source[begin + r * step]!;
      if (Number.isNaN(value) || (op === "max" ? value > best : value < best)) {
        best = value;
        bestAt = r;
      }
    }
    result[out.offset + line] = bestAt;
  });
}

/** See {@linkcode KernelArgs}. */
export function cumsum({ x, out, reverse }: KernelArgs["cumsum"]): void {
  const source = floatsOf(x);
  const result = floatsOf(out);
  const [, reduced, inner] = x.shape as [number, number, number];
  const step = x.strides[1]!;
  eachLine(x, (begin, _line, outAt) => {
    let sum = 0;
    for (let k = 0; k < reduced; k++) {
      const r = reverse ? reduced - 1 - k : k;
      sum += source[begin + r * step]!;
      result[out.offset + outAt + r * inner] = sum;
    }
  });
}

const f32 = { kind: "input", ty: "f32" } as const;
const SQUARED_DIFFERENCE = program("selfTest.squaredDifference", [f32, f32], (a, b) => {
  const difference = a!.sub(b!);
  return difference.mul(difference);
});

export const reduceTrials: Trials<"reduce"> = ([[5, 67, 1], [2, 37, 19]] as const).map(
  (shape) => (x) => ({
    op: "sum",
    program: SQUARED_DIFFERENCE,
    ins: [x.input(shape), x.repeated(shape)],
    scalars: [],
    out: x.output([shape[0], shape[2]], "f32"),
  }),
);

export const argReduceTrials: Trials<"argReduce"> = [
  (x) => ({ op: "max", x: x.input([3, 37, 5]), out: x.output([3, 5], "i32") }),
];

export const cumsumTrials: Trials<"cumsum"> = [
  (x) => ({ x: x.input([2, 70, 5]), out: x.output([2, 70, 5]), reverse: true }),
];
