/**
 * Group normalisation with its SiLU, and its gradients. A group is a contiguous row of (C / groups)
 * x S elements, but there may be few of them and millions of elements in each, so statistics are
 * taken in parts by many workgroups and combined in order.
 */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { declareActivation } from "../shader/activation.ts";
import {
  alongRow,
  canVec4Rows,
  layoutKey,
  rowGroups,
  rowKernel,
  rowLayout,
  type RowReduction,
} from "../shader/rows.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { withScratch } from "../device/scratch.ts";
import { partsFor, sumParts } from "./sum_parts.ts";
import { ranInChunks } from "../device/chunks.ts";

const SUM: RowReduction = { name: "row_sum", combine: "+", type: "f32" };
const SUM2: RowReduction = { name: "row_sum", combine: "+", type: "vec2f" };
/** Elements below which dividing a row again gains nothing: 16 a thread. */
const SHORTEST_PART = 4096;
const THREADS = 64;

/** Rounded up to whole vec4s, at which parts may be cut. */
function wholeFours(length: number): number {
  return Math.ceil(length / 4) * 4;
}

/** A kernel of one thread for each of `params.count` results; `body` finds its number `i`. */
function flatKernel(body: string): string {
  return `
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = linear_group(workgroup) * ${THREADS}u + thread;
  if (i >= params.count) { return; }
${body}
}
`;
}

/** See {@linkcode KernelArgs}. */
export function groupNorm(
  runtime: WebGpuRuntime,
  args: KernelArgs["groupNorm"],
  op: string,
): void {
  const again = (part: typeof args): void => groupNorm(runtime, part, op);
  if (ranInChunks(runtime, "groupNorm", args, op, again)) return;
  const { x, groups, eps, mean, rstd } = args;
  const [samples, channels, spatial] = x.shape as [number, number, number];
  const rows = samples * groups;
  const width = channels / groups * spatial;
  const parts = partsFor(runtime.traits, rows, width, SHORTEST_PART);
  const perPart = wholeFours(width / parts);
  withScratch(runtime, op, [[rows, parts], [rows, parts]], (means, squares) => {
    const layout = rowLayout(Math.ceil(width / parts), canVec4Rows(spatial, x), runtime);
    const four = layout.byVec4 ? "4" : "";
    const each = alongRow("length");
    runtime.dispatch({
      op,
      key: `groupNorm/parts/${layoutKey(layout)}`,
      // Two passes over a part: its mean, and its sum of squares around that mean.
      source: () =>
        rowKernel(
          layout,
          [SUM],
          `
  let first = row % params.parts * params.perPart;
  let length = min(first + params.perPart, max(params.width, first)) - first;
  let begin = row / params.parts * params.width + first;
  var sums = T();
  ${each} { sums += x_load${four}(begin + i); }
  let mean = row_sum(thread, total(sums)) / f32(max(length, 1u));
  var squares = T();
  ${each} {
    let d = x_load${four}(begin + i) - mean;
    squares += d * d;
  }
  let spread = row_sum(thread, total(squares));
  if (live && lane == 0u) {
    means_store(row, mean);
    squares_store(row, spread);
  }`,
        ),
      views: [
        { name: "x", view: x, access: "read", vec4: layout.byVec4 },
        { name: "means", view: means!, access: "write" },
        { name: "squares", view: squares!, access: "write" },
      ],
      u32: { rows: rows * parts, parts, perPart, width },
      workgroups: rowGroups(layout, rows * parts),
    });
    runtime.dispatch({
      op,
      key: "groupNorm/combine",
      // Chan, Golub and LeVeque (1979): squares around the common mean are those around the
      // parts' means plus what the parts' means are off.
      source: () =>
        flatKernel(`
  var sum = 0.0;
  for (var part = 0u; part < params.parts; part++) {
    let first = part * params.perPart;
    let length = min(first + params.perPart, max(params.width, first)) - first;
    sum += means_load(i * params.parts + part) * f32(length);
  }
  let mean = sum / f32(params.width);
  var squares = 0.0;
  for (var part = 0u; part < params.parts; part++) {
    let first = part * params.perPart;
    let length = min(first + params.perPart, max(params.width, first)) - first;
    let d = means_load(i * params.parts + part) - mean;
    squares += squares_load(i * params.parts + part) + d * d * f32(length);
  }
  mean_store(i, mean);
  rstd_store(i, 1.0 / sqrt(squares / f32(params.width) + params.eps));`),
      views: [
        { name: "means", view: means!, access: "read" },
        { name: "squares", view: squares!, access: "read" },
        { name: "mean", view: mean, access: "write" },
        { name: "rstd", view: rstd, access: "write" },
      ],
      u32: { count: rows, parts, perPart, width },
      f32: { eps },
      workgroups: Math.ceil(rows / THREADS),
    });
  });
  normalise(runtime, args, op);
}

/** The elementwise end of groupNorm. */
function normalise(runtime: WebGpuRuntime, args: KernelArgs["groupNorm"], op: string): void {
  const { x, weight, bias, groups, silu, out, mean, rstd } = args;
  const [samples, channels, spatial] = x.shape as [number, number, number];
  const byVec4 = canVec4Rows(spatial, x, out);
  const count = samples * channels * spatial / (byVec4 ? 4 : 1);
  const [four, type] = byVec4 ? ["4", "vec4f"] as const : ["", "f32"] as const;
  runtime.dispatch({
    op,
    key: `groupNorm/normalise/${type}${silu ? "/silu" : ""}`,
    source: () =>
      `${declareActivation(silu ? "silu" : "none", type)}
${
        flatKernel(`
  let at = i * ${byVec4 ? 4 : 1}u;
  let row = at / params.spatial;
  let channel = row % params.channels;
  let group = row / params.perGroup;
  let z = (x_load${four}(at) - mean_load(group)) * rstd_load(group);
  let y = z * weight_load(channel * params.weightStep) + bias_load(channel * params.biasStep);
  result_store${four}(at, activation(y));`)
      }`,
    views: [
      { name: "x", view: x, access: "read", vec4: byVec4 },
      { name: "weight", view: weight, access: "read" },
      { name: "bias", view: bias, access: "read" },
      { name: "mean", view: mean, access: "read" },
      { name: "rstd", view: rstd, access: "read" },
      { name: "result", view: out, access: "write", vec4: byVec4 },
    ],
    u32: {
      count,
      channels,
      spatial,
      perGroup: channels / groups,
      weightStep: weight.strides[0]!,
      biasStep: bias.strides[0]!,
    },
    workgroups: Math.ceil(count / THREADS),
  });
}

/**
 * WGSL that declares z and the gradient `g` before the SiLU, of elements `at` of `channel` and
 * `group`. As in activation.ts, the exponent is kept finite.
 */
function gradientSource(silu: boolean, four: "" | "4"): string {
  const type = four ? "vec4f" : "f32";
  const z = `
  let z = (x_load${four}(at) - mean_load(group)) * rstd_load(group);
  var g = g_load${four}(at);`;
  if (!silu) return z;
  return `${z}
  let y = z * weight_load(channel * params.weightStep) + bias_load(channel * params.biasStep);
  let s = 1.0 / (1.0 + exp2(min(y * -${Math.LOG2E}, ${type}(126.0))));
  g *= s * (1.0 + y * (1.0 - s));`;
}

/**
 * See {@linkcode KernelArgs}. With dz the gradient of z = (x - mean) rstd: dx = rstd (dz -
 * mean(dz) - z mean(dz z)), where the means over a group come from sums over its channels, which
 * are the gradients of weight and bias as well.
 */
export function groupNormGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["groupNormGrad"],
  op: string,
): void {
  const again = (part: typeof args): void => groupNormGrad(runtime, part, op);
  if (ranInChunks(runtime, "groupNormGrad", args, op, again)) return;
  const { x, dWeight, dBias } = args;
  const [samples, channels] = x.shape as [number, number, number];
  const perChannel = [samples, channels];
  // The two means of a group lie side by side: with SiLU the last kernel sees 8 arrays as it is.
  const perGroup = [samples, args.groups, 2];
  withScratch(runtime, op, [perChannel, perChannel, perGroup], (sums, products, means) => {
    channelSums(runtime, args, sums!, products!, op);
    sumParts(runtime, products!, dWeight, samples, channels, op);
    sumParts(runtime, sums!, dBias, samples, channels, op);
    groupMeans(runtime, args, [sums!, products!], means!, op);
    inputGrad(runtime, args, means!, op);
  });
}

/** Sums of g and of g z over each channel of each sample, [N, C]. */
function channelSums(
  runtime: WebGpuRuntime,
  args: KernelArgs["groupNormGrad"],
  sums: View,
  products: View,
  op: string,
): void {
  const { x, g, weight, bias, groups, silu, mean, rstd } = args;
  const [samples, channels, spatial] = x.shape as [number, number, number];
  const rows = samples * channels;
  const parts = partsFor(runtime.traits, rows, spatial, SHORTEST_PART);
  const layout = rowLayout(Math.ceil(spatial / parts), canVec4Rows(spatial, x, g), runtime);
  const { byVec4 } = layout;
  const launch = (sums: View, products: View): void =>
    runtime.dispatch({
      op,
      key: `groupNormGrad/sums/${layoutKey(layout)}${silu ? "/silu" : ""}`,
      source: () =>
        rowKernel(
          layout,
          [SUM2],
          `
  let channelRow = row % params.channelRows;
  let part = row / params.channelRows;
  let channel = channelRow % params.channels;
  let group = channelRow / params.perGroup;
  let first = part * params.perPart;
  let length = min(first + params.perPart, max(params.spatial, first)) - first;
  var sum = T();
  var product = T();
  ${alongRow("length")} {
  let at = channelRow * params.spatial + first + i;${gradientSource(silu, byVec4 ? "4" : "")}
  sum += g;
  product += g * z;
  }
  let sums = row_sum(thread, vec2f(total(sum), total(product)));
  if (live && lane == 0u) {
    sums_store(row, sums.x);
    products_store(row, sums.y);
  }`,
        ),
      views: [
        { name: "x", view: x, access: "read", vec4: byVec4 },
        { name: "g", view: g, access: "read", vec4: byVec4 },
        ...silu
          ? [
            { name: "weight", view: weight, access: "read" } as const,
            { name: "bias", view: bias, access: "read" } as const,
          ]
          : [],
        { name: "mean", view: mean, access: "read" },
        { name: "rstd", view: rstd, access: "read" },
        { name: "sums", view: sums, access: "write" },
        { name: "products", view: products, access: "write" },
      ],
      u32: {
        rows: rows * parts,
        channelRows: rows,
        perPart: wholeFours(spatial / parts),
        channels,
        spatial,
        perGroup: channels / groups,
        weightStep: weight.strides[0]!,
        biasStep: bias.strides[0]!,
      },
      workgroups: rowGroups(layout, rows * parts),
    });
  if (parts === 1) {
    launch(sums, products);
    return;
  }
  withScratch(runtime, op, [[parts, rows], [parts, rows]], (partSums, partProducts) => {
    launch(partSums!, partProducts!);
    sumParts(runtime, partSums!, sums, parts, rows, op);
    sumParts(runtime, partProducts!, products, parts, rows, op);
  });
}

/** Means over each group of dz and of dz z, [N, groups, 2], from the channels' sums. */
function groupMeans(
  runtime: WebGpuRuntime,
  { x, weight, groups }: KernelArgs["groupNormGrad"],
  [sums, products]: readonly [View, View],
  means: View,
  op: string,
): void {
  const [samples, channels, spatial] = x.shape as [number, number, number];
  runtime.dispatch({
    op,
    key: "groupNormGrad/groups",
    source: () =>
      flatKernel(`
  var sums = vec2f();
  for (var c = 0u; c < params.perGroup; c++) {
    let row = i * params.perGroup + c;
    let channel = row % params.channels;
    sums += weight_load(channel * params.weightStep) * vec2f(sums_load(row), products_load(row));
  }
  means_store(2u * i, sums.x / f32(params.perGroup * params.spatial));
  means_store(2u * i + 1u, sums.y / f32(params.perGroup * params.spatial));`),
    views: [
      { name: "weight", view: weight, access: "read" },
      { name: "sums", view: sums, access: "read" },
      { name: "products", view: products, access: "read" },
      { name: "means", view: means, access: "write" },
    ],
    u32: {
      count: samples * groups,
      channels,
      spatial,
      perGroup: channels / groups,
      weightStep: weight.strides[0]!,
    },
    workgroups: Math.ceil(samples * groups / THREADS),
  });
}

function inputGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["groupNormGrad"],
  means: View,
  op: string,
): void {
  const { x, g, weight, bias, groups, silu, mean, rstd, dx } = args;
  const [samples, channels, spatial] = x.shape as [number, number, number];
  const byVec4 = canVec4Rows(spatial, x, g, dx);
  const count = samples * channels * spatial / (byVec4 ? 4 : 1);
  const four = byVec4 ? "4" : "";
  runtime.dispatch({
    op,
    key: `groupNormGrad/input/${byVec4 ? 4 : 1}${silu ? "/silu" : ""}`,
    source: () =>
      flatKernel(`
  let at = i * ${byVec4 ? 4 : 1}u;
  let row = at / params.spatial;
  let channel = row % params.channels;
  let group = row / params.perGroup;${gradientSource(silu, four)}
  let dz = g * weight_load(channel * params.weightStep);
  dx_store${four}(at,
    rstd_load(group) * (dz - means_load(2u * group) - z * means_load(2u * group + 1u)));`),
    views: [
      { name: "x", view: x, access: "read", vec4: byVec4 },
      { name: "g", view: g, access: "read", vec4: byVec4 },
      { name: "weight", view: weight, access: "read" },
      ...silu ? [{ name: "bias", view: bias, access: "read" } as const] : [],
      { name: "mean", view: mean, access: "read" },
      { name: "rstd", view: rstd, access: "read" },
      { name: "means", view: means, access: "read" },
      { name: "dx", view: dx, access: "write", vec4: byVec4 },
    ],
    u32: {
      count,
      channels,
      spatial,
      perGroup: channels / groups,
      weightStep: weight.strides[0]!,
      biasStep: bias.strides[0]!,
    },
    workgroups: Math.ceil(count / THREADS),
  });
}
