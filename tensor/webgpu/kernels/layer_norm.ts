/** Layer normalisation with its affine forms, of rows that may be sums of gated branches. */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { GATED_PROGRAM } from "../../gated.ts";
import type { ViewBinding } from "../shader/accessors.ts";
import {
  alongRow,
  canVec4Rows,
  layoutKey,
  rowGroups,
  rowKernel,
  type RowLayout,
  rowLayout,
} from "../shader/rows.ts";
import { ranInChunks } from "../device/chunks.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { elementwise } from "./elementwise.ts";

/** A read-only binding, or none for a missing view. */
export function maybe(name: string, view: View | null, vec4: boolean): ViewBinding[] {
  return view ? [{ name, view, access: "read", vec4 }] : [];
}

/** WGSL that scales and shifts elements `i` of a row, by weight and bias or scale and shift. */
export function affineSource(
  { weight, bias, scale, shift }: Record<"weight" | "bias" | "scale" | "shift", View | null>,
  name: string,
  four: "" | "4",
): string {
  // With vec4 access the steps are 1.
  const step = (name: string): string => (four ? "i" : `i * params.${name}Step`);
  return [
    weight ? `${name} *= weight_load${four}(${step("weight")});` : "",
    bias ? `${name} += bias_load${four}(${step("bias")});` : "",
    scale ? `${name} *= 1.0 + scale_load${four}(sample * params.scaleStep + i);` : "",
    shift ? `${name} += shift_load${four}(sample * params.shiftStep + i);` : "",
  ].filter(Boolean).join("\n      ");
}

/** Elements of a row that a thread keeps in registers, as vec4s where it reads those. */
const MOST_KEPT = 8;

/** The elements of a row that each thread keeps, numbered; null where rows are too long for that. */
export function keptElements(layout: RowLayout, width: number): readonly number[] | null {
  const { lanes, byVec4 } = layout;
  const count = Math.ceil(width / (lanes * (byVec4 ? 4 : 1)));
  return count > MOST_KEPT ? null : Array.from({ length: count }, (_, j) => j);
}

/** Arrays of a sum that is normalised as it is made. */
const SUMMED_ARRAYS = 9;

/** See {@linkcode KernelArgs}. */
export function layerNorm(
  runtime: WebGpuRuntime,
  args: KernelArgs["layerNorm"],
  op: string,
): void {
  const again = (part: typeof args): void => layerNorm(runtime, part, op);
  if (ranInChunks(runtime, "layerNorm", args, op, again)) return;
  const { x, weight, bias, scale, shift, eps, centred, out, mean, rstd } = args;
  const { branch = null, gate = null, summed = null } = args;
  const [batch, tokens, width] = x.shape as [number, number, number];
  const byVec4 = canVec4Rows(width, x, out, weight, bias, scale, shift, branch, gate, summed);
  const layout = rowLayout(width, byVec4, runtime);
  const kept = keptElements(layout, width);
  if (summed && (!kept || runtime.maxArrays < SUMMED_ARRAYS)) {
    const repeated: View = { ...gate!, shape: x.shape, strides: [gate!.strides[0]!, 0, 1] };
    const ins = [x, repeated, branch!];
    elementwise(runtime, { program: GATED_PROGRAM, ins, outs: [summed], scalars: [] }, op);
    return again({ ...args, x: summed, branch: null, gate: null, summed: null });
  }
  const four = byVec4 ? "4" : "";
  // The variance is taken around the mean in a pass of its own: E[x^2] - E[x]^2 loses all its
  // digits where the mean is far from 0.
  const body = (): string => `
  let begin = row * params.width;
  let sample = row / params.tokens;
${
    kept?.map((j) =>
      `  let i${j} = (lane + ${j}u * LANES) * STEP;
  let has${j} = i${j} < params.width;
  var v${j} = T();
  if (has${j}) {
    v${j} = x_load${four}(begin + i${j});
${
        summed
          ? `    v${j} = gate_load${four}(sample * params.gateStep + i${j}) *
      branch_load${four}(begin + i${j}) + v${j};`
          : ""
      }
  }`
    ).join("\n") ?? ""
  }
${
    centred
      ? `  var sum = T();
  ${eachElement((value) => `sum += ${value};`)}
  let mean = row_sum(thread, total(sum)) / f32(params.width);`
      : "  let mean = 0.0;"
  }
  var squares = T();
  ${
    eachElement((value) => `
    let d = ${value} - mean;
    squares += d * d;`)
  }
  let variance = row_sum(thread, total(squares)) / f32(params.width);
  let rstd = 1.0 / sqrt(variance + params.eps);
  if (live) {
    if (lane == 0u) {
      mean_store(row, mean);
      rstd_store(row, rstd);
    }
    ${
    eachElement((value, i) => `
      ${summed ? `summed_store${four}(begin + ${i}, ${value});` : ""}
      var z = (${value} - mean) * rstd;
      ${affineSource(args, "z", four).replaceAll(/\bi\b/g, i)}
      result_store${four}(begin + ${i}, z);`)
  }
  }`;
  /** Statements for each element of a thread: in registers, or read again. */
  function eachElement(lines: (value: string, i: string) => string): string {
    if (!kept) {
      return `${alongRow("params.width")} {${lines(`x_load${four}(begin + i)`, "i")}\n  }`;
    }
    return kept.map((j) => `if (has${j}) {${lines(`v${j}`, `i${j}`)}\n  }`).join("\n  ");
  }
  runtime.dispatch({
    op,
    key: `layerNorm/${layoutKey(layout)}/${kept?.length ?? "long"}/${
      [centred, weight, bias, scale, shift, summed].map(Boolean).join()
    }`,
    source: () => rowKernel(layout, [{ name: "row_sum", combine: "+", type: "f32" }], body()),
    views: [
      { name: "x", view: x, access: "read", vec4: byVec4 },
      ...maybe("weight", weight, byVec4),
      ...maybe("bias", bias, byVec4),
      ...maybe("scale", scale, byVec4),
      ...maybe("shift", shift, byVec4),
      ...maybe("branch", branch, byVec4),
      ...maybe("gate", gate, byVec4),
      ...summed ? [{ name: "summed", view: summed, access: "write", vec4: byVec4 } as const] : [],
      { name: "result", view: out, access: "write", vec4: byVec4 },
      { name: "mean", view: mean, access: "write" },
      { name: "rstd", view: rstd, access: "write" },
    ],
    u32: {
      rows: batch * tokens,
      tokens,
      width,
      weightStep: weight?.strides[0] ?? 0,
      biasStep: bias?.strides[0] ?? 0,
      scaleStep: scale?.strides[0] ?? 0,
      shiftStep: shift?.strides[0] ?? 0,
      gateStep: gate?.strides[0] ?? 0,
    },
    f32: { eps },
    workgroups: rowGroups(layout, batch * tokens),
  });
}
