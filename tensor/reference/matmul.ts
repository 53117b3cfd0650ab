import type { KernelArgs } from "../kernels.ts";
import { program } from "../expr.ts";
import { floatsOf } from "./buffer.ts";
import { elementwise } from "./elementwise.ts";
import { ACTIVATIONS } from "./math.ts";
import type { Trials } from "./trial.ts";

/** See {@linkcode KernelArgs}. */
export function matmul(args: KernelArgs["matmul"]): void {
  const { a, b, bias, pre, out, accumulate, combine, operand, sums } = args;
  const [outer, inner, rows, columns] = out.shape as [number, number, number, number];
  const depth = a.shape[3]!;
  const [A, B, C] = [floatsOf(a), floatsOf(b), floatsOf(out)];
  const biasData = bias && floatsOf(bias);
  const preData = pre && floatsOf(pre);
  const activation = ACTIVATIONS[args.activation];
  const ofA = ACTIVATIONS[args.activationA ?? "none"];
  const ofB = ACTIVATIONS[args.activationB ?? "none"];
  const row = new Float64Array(columns);
  const sumData = sums && floatsOf(sums);
  for (let i = 0; i < outer; i++) {
    for (let j = 0; j < inner; j++) {
      const bAt = b.offset + i * b.strides[0]! + j * b.strides[1]!;
      for (let m = 0; m < rows; m++) {
        const aAt = a.offset + i * a.strides[0]! + j * a.strides[1]! + m * a.strides[2]!;
        for (let n = 0; n < columns; n++) {
          row[n] = bias ? biasData![bias.offset + n * bias.strides[0]!]! : 0;
        }
        let sum = 0;
        for (let k = 0; k < depth; k++) {
          const left = ofA(A[aAt + k * a.strides[3]!]!);
          sum += left;
          const from = bAt + k * b.strides[2]!;
          for (let n = 0; n < columns; n++) row[n]! += left * ofB(B[from + n * b.strides[3]!]!);
        }
        if (sums) sumData![sums.offset + (i * inner + j) * rows + m] = sum;
        const cAt = out.offset + i * out.strides[0]! + j * out.strides[1]! + m * out.strides[2]!;
        const preAt = ((i * inner + j) * rows + m) * columns;
        for (let n = 0; n < columns; n++) {
          const at = cAt + n * out.strides[3]!;
          if (pre) preData![pre.offset + preAt + n] = row[n]!;
          if (accumulate) C[at]! += row[n]!;
          else C[at] = activation(row[n]!);
        }
      }
    }
  }
  if (combine) {
    elementwise({ program: combine, ins: [out, operand!], outs: [out], scalars: [] });
  }
}

const TIMES = program(
  "times",
  [{ kind: "input", ty: "f32" }, { kind: "input", ty: "f32" }],
  (x, y) => x!.mul(y!),
);

export const matmulTrials: Trials<"matmul"> = [
  (x) => ({
    a: x.input([1, 1, 48, 40]),
    b: x.transposed([1, 1, 40, 64]),
    bias: x.input([64]),
    activation: "gelu",
    pre: x.output([1, 1, 48, 64]),
    out: x.output([1, 1, 48, 64]),
    accumulate: false,
  }),
  (x) => ({
    a: x.transposed([2, 1, 7, 33]),
    b: x.input([2, 1, 33, 19]),
    bias: null,
    activation: "none",
    pre: null,
    combine: TIMES,
    operand: x.input([2, 1, 7, 19]),
    sums: x.output([2, 1, 7], "f32"),
    out: x.output([2, 1, 7, 19]),
    accumulate: false,
  }),
  (x) => ({
    a: x.input([1, 1, 20, 36]),
    b: x.transposed([1, 1, 36, 33]),
    activationA: "geluTanh",
    activationB: "silu",
    bias: null,
    activation: "none",
    pre: null,
    out: x.output([1, 1, 20, 33]),
    accumulate: false,
  }),
];
