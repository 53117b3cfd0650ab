/** What attention's gradients subtract of each row: the dot product of its result and its gradient. */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import {
  alongRow,
  canVec4Rows,
  layoutKey,
  rowGroups,
  rowKernel,
  rowLayout,
} from "../shader/rows.ts";
import { placeUniforms } from "./attention.ts";
import { ACROSS, type HeadPlan, THREAD_ROWS } from "./attention_tile.ts";

/** `delta` [B, H, Tq]: the dot product of each row of out and g. */
export function rowDots(
  runtime: WebGpuRuntime,
  { out, g }: KernelArgs["attentionGrad"],
  delta: View,
  op: string,
): void {
  const [batch, heads, queries, depth] = out.shape as [number, number, number, number];
  const layout = rowLayout(depth, canVec4Rows(depth, out, g), runtime);
  const four = layout.byVec4 ? "4" : "";
  const rows = batch * heads * queries;
  const place = (name: string): string =>
    `head / params.heads * params.${name}Outer + head % params.heads * params.${name}Inner +
    row % params.queries * params.${name}Row`;
  runtime.dispatch({
    op,
    key: `attentionGrad/delta/${layoutKey(layout)}`,
    source: () =>
      rowKernel(
        layout,
        [{ name: "row_sum", combine: "+", type: "f32" }],
        `
  let head = row / params.queries;
  let outAt = ${place("out")};
  let gAt = ${place("g")};
  var sums = T();
  ${alongRow("params.depth")} { sums += out_load${four}(outAt + i) * g_load${four}(gAt + i); }
  let sum = row_sum(thread, total(sums));
  if (live && lane == 0u) { delta_store(row, sum); }`,
      ),
    views: [
      { name: "out", view: out, access: "read", vec4: layout.byVec4 },
      { name: "g", view: g, access: "read", vec4: layout.byVec4 },
      { name: "delta", view: delta, access: "write" },
    ],
    u32: {
      rows,
      heads,
      queries,
      depth,
      ...placeUniforms("out", out),
      ...placeUniforms("g", g),
    },
    workgroups: rowGroups(layout, rows),
  });
}

/**
 * Statements that declare `deltas` of a thread's four rows, the dot products of out and g, and store
 * them for the kernel of the keys. Threads across share rows.
 */
export function findDeltas(plan: HeadPlan, byVec4: boolean): string {
  const [step, four] = byVec4 ? [4, "4"] as const : [1, ""] as const;
  const { depth } = plan;
  const place = (name: string, i: number): string =>
    `outer * params.${name}Outer + inner * params.${name}Inner +
      min(row0 + down * 4u + ${i}u, params.queries - 1u) * params.${name}Row`;
  return `  var dots = vec4f();
${
    THREAD_ROWS.map((i) =>
      `  let out${i} = ${place("out", i)};
  let grad${i} = ${place("g", i)};`
    ).join("\n")
  }
  for (var d = across * ${step}u; d < ${depth}u; d += ${ACROSS * step}u) {
${
    THREAD_ROWS.map((i) => {
      const pair = [`out_load${four}(out${i} + d)`, `g_load${four}(grad${i} + d)`];
      return `    dots.${"xyzw"[i]} += ${byVec4 ? `dot(${pair})` : pair.join(" * ")};`;
    }).join("\n")
  }
  }
  left[thread] = dots;
  workgroupBarrier();
  var deltas = left[down * ${ACROSS}u];
  for (var other = 1u; other < ${ACROSS}u; other++) { deltas += left[down * ${ACROSS}u + other]; }
  workgroupBarrier();
  if (column0 == 0u && across == 0u) {
${
    THREAD_ROWS.map((i) =>
      `    if (row0 + down * 4u + ${i}u < params.queries) {
      delta_store(batch * params.queries + row0 + down * 4u + ${i}u, deltas.${"xyzw"[i]});
    }`
    ).join("\n")
  }
  }`;
}
