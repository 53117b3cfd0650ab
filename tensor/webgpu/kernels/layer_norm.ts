/** Layer normalisation with its affine forms, and its gradients. */
import type { KernelArgs, View } from "../../backend.ts";
import type { ViewBinding } from "../shader/accessors.ts";
import { contiguousStrides } from "../../shape.ts";
import {
  alongRow,
  canVec4Rows,
  layoutKey,
  rowGroups,
  rowKernel,
  rowLayout,
} from "../shader/rows.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { withScratch } from "../device/scratch.ts";
import { partsFor, sumParts } from "./sum_parts.ts";
import { ranInChunks } from "../device/chunks.ts";

/** A read-only binding, or none for a missing view. */
function maybe(name: string, view: View | null, vec4: boolean): ViewBinding[] {
  return view ? [{ name, view, access: "read", vec4 }] : [];
}

/** WGSL that scales and shifts elements `i` of a row, by weight and bias or scale and shift. */
function affineSource(
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

/** See {@linkcode KernelArgs}. */
export function layerNorm(
  runtime: WebGpuRuntime,
  args: KernelArgs["layerNorm"],
  op: string,
): void {
  const again = (part: typeof args): void => layerNorm(runtime, part, op);
  if (ranInChunks(runtime, "layerNorm", args, op, again)) return;
  const { x, weight, bias, scale, shift, eps, centred, out, mean, rstd } = args;
  const [batch, tokens, width] = x.shape as [number, number, number];
  const byVec4 = canVec4Rows(width, x, out, weight, bias, scale, shift);
  const layout = rowLayout(width, byVec4, runtime);
  const four = byVec4 ? "4" : "";
  const each = alongRow("params.width");
  // The variance is taken around the mean in a pass of its own: E[x^2] - E[x]^2 loses all its
  // digits where the mean is far from 0.
  const body = `
  let begin = row * params.width;
${
    centred
      ? `  var sum = T();
  ${each} { sum += x_load${four}(begin + i); }
  let mean = row_sum(thread, total(sum)) / f32(params.width);`
      : "  let mean = 0.0;"
  }
  var squares = T();
  ${each} {
    let d = x_load${four}(begin + i) - mean;
    squares += d * d;
  }
  let variance = row_sum(thread, total(squares)) / f32(params.width);
  let rstd = 1.0 / sqrt(variance + params.eps);
  if (live) {
    if (lane == 0u) {
      mean_store(row, mean);
      rstd_store(row, rstd);
    }
    let sample = row / params.tokens;
    ${each} {
      var z = (x_load${four}(begin + i) - mean) * rstd;
      ${affineSource(args, "z", four)}
      result_store${four}(begin + i, z);
    }
  }`;
  runtime.dispatch({
    op,
    key: `layerNorm/${layoutKey(layout)}/${
      [centred, weight, bias, scale, shift].map(Boolean).join()
    }`,
    source: () => rowKernel(layout, [{ name: "row_sum", combine: "+", type: "f32" }], body),
    views: [
      { name: "x", view: x, access: "read", vec4: byVec4 },
      ...maybe("weight", weight, byVec4),
      ...maybe("bias", bias, byVec4),
      ...maybe("scale", scale, byVec4),
      ...maybe("shift", shift, byVec4),
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
    },
    f32: { eps },
    workgroups: rowGroups(layout, batch * tokens),
  });
}

/**
 * See {@linkcode KernelArgs}. With z = (x - mean) rstd and dz the output's gradient g times
 * the weight (or 1 + scale): dx = rstd (dz - mean(dz) - z mean(dz z)), without mean(dz) where it is not centred. The gradient of the weight
 * (or scale) sums g z, that of the bias (or shift) g.
 */
export function layerNormGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["layerNormGrad"],
  op: string,
): void {
  const again = (part: typeof args): void => layerNormGrad(runtime, part, op);
  if (ranInChunks(runtime, "layerNormGrad", args, op, again)) return;
  inputGrad(runtime, args, op);
  const { x, g, mean, rstd, dWeight, dBias, dScale, dShift } = args;
  affineGrad(runtime, { x, g, mean, rstd, dScale, dShift }, op);
  const [batch, tokens, width] = x.shape as [number, number, number];
  const asOne = (view: View): View => reshaped(view, [1, batch * tokens, width]);
  const rowsAsOne = (view: View): View => reshaped(view, [1, batch * tokens]);
  affineGrad(runtime, {
    x: asOne(x),
    g: asOne(g),
    mean: rowsAsOne(mean),
    rstd: rowsAsOne(rstd),
    dScale: dWeight && reshaped(dWeight, [1, width]),
    dShift: dBias && reshaped(dBias, [1, width]),
  }, op);
}

/** A contiguous view as another shape. */
function reshaped(view: View, shape: readonly number[]): View {
  return { ...view, shape, strides: contiguousStrides(shape) };
}

function inputGrad(runtime: WebGpuRuntime, args: KernelArgs["layerNormGrad"], op: string): void {
  const { x, g, weight, scale, centred, mean, rstd, dx } = args;
  const [batch, tokens, width] = x.shape as [number, number, number];
  const byVec4 = canVec4Rows(width, x, g, weight, scale, dx);
  const layout = rowLayout(width, byVec4, runtime);
  const four = byVec4 ? "4" : "";
  const each = alongRow("params.width");
  const slope = `
      var dz = g_load${four}(begin + i);
      ${affineSource({ weight, scale, bias: null, shift: null }, "dz", four)}
      let z = (x_load${four}(begin + i) - mean) * rstd;`;
  const body = `
  let begin = row * params.width;
  let sample = row / params.tokens;
  let mean = mean_load(row);
  let rstd = rstd_load(row);
  var sum = T();
  var product = T();
  ${each} {${slope}
      sum += dz;
      product += dz * z;
  }
  let means = row_sum(thread, vec2f(total(sum), total(product))) / f32(params.width);
  if (live) {
    ${each} {${slope}
      dx_store${four}(begin + i, rstd * (dz ${centred ? "- means.x " : ""}- z * means.y));
    }
  }`;
  runtime.dispatch({
    op,
    key: `layerNormGrad/${layoutKey(layout)}/${[centred, weight, scale].map(Boolean).join()}`,
    source: () => rowKernel(layout, [{ name: "row_sum", combine: "+", type: "vec2f" }], body),
    views: [
      { name: "x", view: x, access: "read", vec4: byVec4 },
      { name: "g", view: g, access: "read", vec4: byVec4 },
      ...maybe("weight", weight, byVec4),
      ...maybe("scale", scale, byVec4),
      { name: "mean", view: mean, access: "read" },
      { name: "rstd", view: rstd, access: "read" },
      { name: "dx", view: dx, access: "write", vec4: byVec4 },
    ],
    u32: {
      rows: batch * tokens,
      tokens,
      width,
      weightStep: weight?.strides[0] ?? 0,
      scaleStep: scale?.strides[0] ?? 0,
    },
    workgroups: rowGroups(layout, batch * tokens),
  });
}

/** Threads of a workgroup that sums columns. */
const COLUMN_THREADS = 256;
/** Rows below which dividing a sum again gains nothing. */
const SHORTEST_PART = 32;

/** Rows of x and g [B, T, N] with their statistics [B, T], and what to sum them into, [B, N]. */
interface AffineGrad {
  readonly x: View;
  readonly g: View;
  readonly mean: View;
  readonly rstd: View;
  readonly dScale: View | null;
  readonly dShift: View | null;
}

/**
 * For each b the sums of g z into `dScale` and of g into `dShift`. Neighbouring threads take
 * neighbouring columns, and several threads the rows of a column by turns; where there are few
 * columns, several workgroups take parts of the rows, which are added in order afterwards.
 */
function affineGrad(runtime: WebGpuRuntime, args: AffineGrad, op: string): void {
  const { x, g, mean, rstd, dScale, dShift } = args;
  if (!dScale && !dShift) return;
  const [samples, rows, width] = x.shape as [number, number, number];
  let columns = 8;
  while (columns < width && columns < 64) columns *= 2;
  const lanes = COLUMN_THREADS / columns;
  const blocks = Math.ceil(width / columns);
  const parts = partsFor(runtime.traits, samples * blocks, rows, SHORTEST_PART);
  const source = `
var<workgroup> found: array<vec2f, ${COLUMN_THREADS}>;
@compute @workgroup_size(${COLUMN_THREADS})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = linear_group(workgroup);
  if (number >= params.grid_count) { return; }
  let blocks = (params.width + ${columns - 1}u) / ${columns}u;
  let column = number % blocks * ${columns}u + thread % ${columns}u;
  let sample = number / blocks % params.samples;
  let part = number / blocks / params.samples;
  let lane = thread / ${columns}u;
  let perPart = (params.rows + params.parts - 1u) / params.parts;
  let end = min((part + 1u) * perPart, params.rows);
  var sums = vec2f();
  if (column < params.width) {
    for (var r = part * perPart + lane; r < end; r += ${lanes}u) {
      let row = sample * params.rows + r;
      let g = g_load(row * params.width + column);
      let z = (x_load(row * params.width + column) - mean_load(row)) * rstd_load(row);
      sums += vec2f(g * z, g);
    }
  }
  found[thread] = sums;
  workgroupBarrier();
  if (lane == 0u && column < params.width) {
    for (var other = 1u; other < ${lanes}u; other++) {
      sums += found[thread + other * ${columns}u];
    }
    let at = (part * params.samples + sample) * params.width + column;
    ${dScale ? "dScale_store(at, sums.x);" : ""}
    ${dShift ? "dShift_store(at, sums.y);" : ""}
  }
}
`;
  const launch = (dScale: View | null, dShift: View | null): void =>
    runtime.dispatch({
      op,
      key: `layerNormGrad/columns/${columns}/${[dScale, dShift].map(Boolean).join()}`,
      source: () => source,
      views: [
        { name: "x", view: x, access: "read" },
        { name: "g", view: g, access: "read" },
        { name: "mean", view: mean, access: "read" },
        { name: "rstd", view: rstd, access: "read" },
        ...dScale ? [{ name: "dScale", view: dScale, access: "write" } as const] : [],
        ...dShift ? [{ name: "dShift", view: dShift, access: "write" } as const] : [],
      ],
      u32: { samples, rows, width, parts },
      workgroups: blocks * samples * parts,
    });
  if (parts === 1) {
    launch(dScale, dShift);
    return;
  }
  const length = samples * width;
  withScratch(runtime, op, [[parts, length], [parts, length]], (scales, shifts) => {
    launch(dScale && scales!, dShift && shifts!);
    if (dScale) sumParts(runtime, scales!, dScale, parts, length, op);
    if (dShift) sumParts(runtime, shifts!, dShift, parts, length, op);
  });
}
