/** Softmax of rows, its logarithm, and their gradients. */
import type { KernelArgs } from "../../kernels.ts";
import {
  alongRow,
  canVec4Rows,
  layoutKey,
  rowGroups,
  rowKernel,
  rowLayout,
  type RowReduction,
} from "../shader/rows.ts";
import { literal, PRELUDE } from "../shader/wgsl.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { ranInChunks } from "../device/chunks.ts";

const SUM: RowReduction = { name: "row_sum", combine: "+", type: "f32" };
const MAX: RowReduction = { name: "row_max", combine: "max", type: "f32" };

/** See {@linkcode KernelArgs}. */
export function softmax(runtime: WebGpuRuntime, args: KernelArgs["softmax"], op: string): void {
  const again = (part: typeof args): void => softmax(runtime, part, op);
  if (ranInChunks(runtime, "softmax", args, op, again)) return;
  const { x, out, log } = args;
  const [rows, width] = x.shape as [number, number];
  const layout = rowLayout(width, canVec4Rows(width, x, out), runtime);
  const four = layout.byVec4 ? "4" : "";
  const each = alongRow("params.width");
  // Of a row of nothing but -infinity, whose sum is 0, for which log2() may be any number.
  const nan = literal(NaN, "f32");
  const logSum = `logSum = select(log2(sum) * ${Math.LN2}, ${nan}, sum == 0.0)`;
  // A NaN that max() passes over still makes the sum, and so the whole row, NaN.
  const body = `
  let begin = row * params.width;
  var top = T(-3.4e38);
  ${each} { top = max(top, x_load${four}(begin + i)); }
  let largest = row_max(thread, ${four ? "max(max(top.x, top.y), max(top.z, top.w))" : "top"});
  var sums = T();
  ${each} { sums += exp2((x_load${four}(begin + i) - largest) * ${Math.LOG2E}); }
  let sum = row_sum(thread, total(sums));
  let ${log ? logSum : "factor = 1.0 / sum"};
  if (live) {
    ${each} {
      let above = x_load${four}(begin + i) - largest;
      result_store${four}(begin + i, ${
    log ? "above - logSum" : `exp2(above * ${Math.LOG2E}) * factor`
  });
    }
  }`;
  runtime.dispatch({
    op,
    key: `softmax/${layoutKey(layout)}${log ? "/log" : ""}`,
    source: () => (log ? PRELUDE : "") + rowKernel(layout, [SUM, MAX], body),
    views: [
      { name: "x", view: x, access: "read", vec4: layout.byVec4 },
      { name: "result", view: out, access: "write", vec4: layout.byVec4 },
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
  const again = (part: typeof args): void => softmaxGrad(runtime, part, op);
  if (ranInChunks(runtime, "softmaxGrad", args, op, again)) return;
  const { y, g, out, log } = args;
  const [rows, width] = y.shape as [number, number];
  const layout = rowLayout(width, canVec4Rows(width, y, g, out), runtime);
  const four = layout.byVec4 ? "4" : "";
  const each = alongRow("params.width");
  const body = `
  let begin = row * params.width;
  var sums = T();
  ${each} { sums += g_load${four}(begin + i)${log ? "" : ` * y_load${four}(begin + i)`}; }
  let sum = row_sum(thread, total(sums));
  if (live) {
    ${each} {
      let y = y_load${four}(begin + i);
      let g = g_load${four}(begin + i);
      result_store${four}(begin + i, ${
    log ? `g - exp2(y * ${Math.LOG2E}) * sum` : "y * (g - sum)"
  });
    }
  }`;
  runtime.dispatch({
    op,
    key: `softmaxGrad/${layoutKey(layout)}${log ? "/log" : ""}`,
    source: () => rowKernel(layout, [SUM], body),
    views: [
      { name: "y", view: y, access: "read", vec4: layout.byVec4 },
      { name: "g", view: g, access: "read", vec4: layout.byVec4 },
      { name: "result", view: out, access: "write", vec4: layout.byVec4 },
    ],
    u32: { rows, width },
    workgroups: rowGroups(layout, rows),
  });
}
