import type { KernelArgs } from "../kernels.ts";
import { floatsOf } from "./buffer.ts";
import type { Trials } from "./trial.ts";

/** See {@linkcode KernelArgs}. The largest element is taken off first, so nothing overflows. */
export function softmax({ x, out, log }: KernelArgs["softmax"]): void {
  const [rows, columns] = x.shape as [number, number];
  const [X, Y] = [floatsOf(x), floatsOf(out)];
  for (let r = 0; r < rows; r++) {
    const xAt = x.offset + r * columns;
    const yAt = out.offset + r * columns;
    let largest = -Infinity;
    for (let n = 0; n < columns; n++) largest = Math.max(largest, X[xAt + n]!);
    let sum = 0;
    for (let n = 0; n < columns; n++) sum += Math.exp(X[xAt + n]! - largest);
    const logSum = Math.log(sum);
    for (let n = 0; n < columns; n++) {
      const shifted = X[xAt + n]! - largest;
      Y[yAt + n] = log ? shifted - logSum : Math.exp(shifted) / sum;
    }
  }
}

/** See {@linkcode KernelArgs}: y (g - sum(g y)), and for the logarithm g - e^y sum(g). */
export function softmaxGrad({ y, g, out, log }: KernelArgs["softmaxGrad"]): void {
  const [rows, columns] = y.shape as [number, number];
  const [Y, G, D] = [floatsOf(y), floatsOf(g), floatsOf(out)];
  for (let r = 0; r < rows; r++) {
    const yAt = y.offset + r * columns;
    const gAt = g.offset + r * columns;
    let sum = 0;
    for (let n = 0; n < columns; n++) sum += log ? G[gAt + n]! : G[gAt + n]! * Y[yAt + n]!;
    for (let n = 0; n < columns; n++) {
      D[out.offset + r * columns + n] = log
        ? G[gAt + n]! - Math.exp(Y[yAt + n]!) * sum
        : Y[yAt + n]! * (G[gAt + n]! - sum);
    }
  }
}

export const softmaxTrials: Trials<"softmax"> = [false, true].map((log) => (x) => ({
  x: x.input([5, 67], -5, 5),
  out: x.output([5, 67]),
  log,
}));

export const softmaxGradTrials: Trials<"softmaxGrad"> = [false, true].map((log) => (x) => ({
  y: x.input([5, 67]),
  g: x.input([5, 67]),
  out: x.output([5, 67]),
  log,
}));
