/** Softmax of rows, its logarithm, and their gradients. */
import type { KernelArgs } from "../backend.ts";
import { rowGroups, rowKernel, rowLayout, type RowReduction } from "./rows.ts";
import type { WebGpuRuntime } from "./runtime.ts";
import { ranInParts } from "./wide.ts";

const SUM: RowReduction = { name: "row_sum", combine: "+", type: "f32" };
const MAX: RowReduction = { name: "row_max", combine: "max", type: "f32" };

/** See {@linkcode KernelArgs}. */
export function softmax(runtime: WebGpuRuntime, args: KernelArgs["softmax"], op: string): void {
  if (ranInParts(runtime, args, [["x", "out"]], (part) => softmax(runtime, part, op))) return;
  const { x, out, log } = args;
  const [rows, width] = x.shape as [number, number];
  const layout = rowLayout(width);
  // A NaN that max() passes over still makes the sum, and so the whole row, NaN.
  const body = `
  let begin = row * params.width;
  var largest = -3.4e38;
  for (var i = lane; i < params.width; i += LANES) { largest = max(largest, x_load(begin + i)); }
  largest = row_max(thread, largest);
  var sum = 0.0;
  for (var i = lane; i < params.width; i += LANES) {
    sum += exp2((x_load(begin + i) - largest) * ${Math.LOG2E});
  }
  sum = row_sum(thread, sum);
  let ${log ? `logSum = log2(sum) * ${Math.LN2}` : "factor = 1.0 / sum"};
  if (live) {
    for (var i = lane; i < params.width; i += LANES) {
      let above = x_load(begin + i) - largest;
      result_store(begin + i, ${log ? "above - logSum" : `exp2(above * ${Math.LOG2E}) * factor`});
    }
  }`;
  runtime.dispatch({
    op,
    key: `softmax/${layout.lanes}${log ? "/log" : ""}`,
    source: () => rowKernel(layout, [SUM, MAX], body),
    views: [
      { name: "x", view: x, access: "read" },
      { name: "result", view: out, access: "write" },
    ],
    u32: { rows, width },
    workgroups: rowGroups(layout, rows),
  });
}

/**
 * See {@linkcode KernelArgs}. `y (g - sum(g y))`, or for the logarithm `g - e^y sum(g)`.
 */
export function softmaxGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["softmaxGrad"],
  op: string,
): void {
  const cut = [["y", "g", "out"]] as const;
  if (ranInParts(runtime, args, cut, (part) => softmaxGrad(runtime, part, op))) return;
  const { y, g, out, log } = args;
  const [rows, width] = y.shape as [number, number];
  const layout = rowLayout(width);
  const body = `
  let begin = row * params.width;
  var sum = 0.0;
  for (var i = lane; i < params.width; i += LANES) {
    sum += g_load(begin + i)${log ? "" : " * y_load(begin + i)"};
  }
  sum = row_sum(thread, sum);
  if (live) {
    for (var i = lane; i < params.width; i += LANES) {
      let y = y_load(begin + i);
      let g = g_load(begin + i);
      result_store(begin + i, ${log ? `g - exp2(y * ${Math.LOG2E}) * sum` : "y * (g - sum)"});
    }
  }`;
  runtime.dispatch({
    op,
    key: `softmaxGrad/${layout.lanes}${log ? "/log" : ""}`,
    source: () => rowKernel(layout, [SUM], body),
    views: [
      { name: "y", view: y, access: "read" },
      { name: "g", view: g, access: "read" },
      { name: "result", view: out, access: "write" },
    ],
    u32: { rows, width },
    workgroups: rowGroups(layout, rows),
  });
}
