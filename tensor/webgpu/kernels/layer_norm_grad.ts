/** Gradients of layer normalisation, and of the gated branches that its rows were sums of. */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { contiguousStrides } from "../../shape.ts";
import type { ViewBinding } from "../shader/accessors.ts";
import {
  alongRow,
  canVec4Rows,
  layoutKey,
  rowGroups,
  rowKernel,
  rowLayout,
} from "../shader/rows.ts";
import { ranInChunks } from "../device/chunks.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { withScratch } from "../device/scratch.ts";
import { gateGrad } from "./gate_grad.ts";
import { affineSource, keptElements, maybe } from "./layer_norm.ts";
import { partsFor, slotsOf, sumSlots } from "./sum_parts.ts";

/**
 * See {@linkcode KernelArgs}. With z = (x - mean) rstd and dz the output's gradient g times
 * the weight (or 1 + scale): dx = rstd (dz - mean(dz) - z mean(dz z)), without mean(dz) where it is
 * not centred. The gradient of the weight (or scale) sums g z, that of the bias (or shift) g.
 */
export function layerNormGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["layerNormGrad"],
  op: string,
): void {
  const again = (part: typeof args): void => layerNormGrad(runtime, part, op);
  if (ranInChunks(runtime, "layerNormGrad", args, op, again)) return;
  inputGrad(runtime, args, op);
  const { x, g, mean, rstd, dWeight, dBias } = args;
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

/** Arrays of the gradient of a sum that was normalised. */
const SUMMED_ARRAYS = 11;

/** dx and dBranch, and where there are a scale, a shift or a gate of samples their sums on the way. */
function inputGrad(runtime: WebGpuRuntime, args: KernelArgs["layerNormGrad"], op: string): void {
  const { x, branch = null, gate = null, dx, dBranch = null, dGate = null, dScale, dShift } = args;
  const [samples, tokens, width] = x.shape as [number, number, number];
  const layout = rowLayout(width, canVec4Grad(args), runtime);
  const isKept = keptElements(layout, width) !== null;
  if (branch && (!isKept || runtime.maxArrays < SUMMED_ARRAYS)) {
    inputGrad(runtime, { ...args, branch: null, gate: null, dBranch: null, dGate: null }, op);
    return gateGrad(runtime, { x: branch, gate: gate!, g: dx, dx: dBranch!, dGate: dGate! }, op);
  }
  if (!isKept) {
    longInputGrad(runtime, args, op);
    return affineGrad(runtime, args, op);
  }
  if (!dScale && !dShift && !dGate) return launchInputGrad(runtime, args, null, tokens, op);
  const count = slotsOf(runtime.traits, layout, samples, tokens);
  withScratch(runtime, op, [[dGate ? 3 : 2, count, samples, width]], (sums) => {
    launchInputGrad(runtime, args, sums!, count, op);
    sumSlots(runtime, sums!, [dScale, dShift, dGate], op);
  });
}

function canVec4Grad(args: KernelArgs["layerNormGrad"]): boolean {
  const { x, g, weight, scale, residual = null, branch = null, gate = null, dx } = args;
  const { dBranch = null } = args;
  return canVec4Rows(x.shape[2]!, x, g, weight, scale, residual, branch, gate, dx, dBranch);
}

/**
 * Each sample's rows in `slots` runs, whose sums of columns go to `sums` [2, slots, B, N], or 3 of them
 * where there is a gate.
 */
function launchInputGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["layerNormGrad"],
  sums: View | null,
  slots: number,
  op: string,
): void {
  const { x, weight, scale, centred, residual = null, branch = null, gate = null } = args;
  const [samples, tokens, width] = x.shape as [number, number, number];
  const byVec4 = canVec4Grad(args);
  const layout = rowLayout(width, byVec4, runtime);
  const four = byVec4 ? "4" : "";
  // A thread's elements of a row by name: registers, which all of the slot's rows share.
  const each = keptElements(layout, width)!;
  const lines = (line: (j: number) => string): string => each.map(line).join("\n");
  const slope = (j: number): string =>
    affineSource({ weight, scale, bias: null, shift: null }, `factor${j}`, four)
      .replaceAll(/\bi\b/g, `i${j}`);
  const body = () => `
  let sample = row / params.slots;
  let slot = row % params.slots;
${
    lines((j) =>
      `  let i${j} = (lane + ${j}u * LANES) * STEP;
  let has${j} = i${j} < params.width;
  var factor${j} = T() + 1.0;
  if (has${j}) { ${slope(j)} }
  var sumGZ${j} = T();
  var sumG${j} = T();${
        branch
          ? `
  var gate${j} = T();
  var sumGate${j} = T();
  if (has${j}) { gate${j} = gate_load${four}(sample * params.gateStep + i${j}); }`
          : ""
      }`
    )
  }
  for (var r = 0u; r < params.perSlot; r++) {
    let token = slot * params.perSlot + r;
    let mine = live && token < params.tokens;
    let place = sample * params.tokens + min(token, params.tokens - 1u);
    let begin = place * params.width;
    let mean = mean_load(place);
    let rstd = rstd_load(place);
    var sum = T();
    var product = T();
${
    lines((j) =>
      `    var z${j} = T();
    var dz${j} = T();
    if (has${j}) {
      let g = g_load${four}(begin + i${j});
      z${j} = (x_load${four}(begin + i${j}) - mean) * rstd;
      dz${j} = g * factor${j};
      sum += dz${j};
      product += dz${j} * z${j};
      ${sums ? `if (mine) { sumGZ${j} += g * z${j}; sumG${j} += g; }` : ""}
    }`
    )
  }
    let means = row_sum(thread, vec2f(total(sum), total(product))) / f32(params.width);
    if (mine) {
${
    lines((j) =>
      `      if (has${j}) {
        let own = rstd * (dz${j} ${centred ? "- means.x " : ""}- z${j} * means.y);
        let all = own${residual ? ` + residual_load${four}(begin + i${j})` : ""};
        dx_store${four}(begin + i${j}, all);
${
        branch
          ? `        dBranch_store${four}(begin + i${j}, all * gate${j});
        sumGate${j} += all * branch_load${four}(begin + i${j});`
          : ""
      }
      }`
    )
  }
    }
  }
${
    sums
      ? `  if (live) {
    let at = (slot * params.samples + sample) * params.width;
    let part = params.slots * params.samples * params.width;
${
        lines((j) =>
          `    if (has${j}) {
      sums_store${four}(at + i${j}, sumGZ${j});
      sums_store${four}(part + at + i${j}, sumG${j});
      ${branch ? `sums_store${four}(2u * part + at + i${j}, sumGate${j});` : ""}
    }`
        )
      }
  }`
      : ""
  }`;
  runtime.dispatch({
    op,
    key: `layerNormGrad/${layoutKey(layout)}/${each.length}/${
      [centred, weight, scale, residual, sums, branch].map(Boolean).join()
    }`,
    source: () => rowKernel(layout, [{ name: "row_sum", combine: "+", type: "vec2f" }], body()),
    views: [
      ...gradViews(args, byVec4),
      ...sums ? [{ name: "sums", view: sums, access: "write", vec4: byVec4 } as const] : [],
    ],
    u32: {
      rows: samples * slots,
      samples,
      slots,
      perSlot: Math.ceil(tokens / slots),
      tokens,
      width,
      weightStep: weight?.strides[0] ?? 0,
      scaleStep: scale?.strides[0] ?? 0,
      gateStep: gate?.strides[0] ?? 0,
    },
    workgroups: rowGroups(layout, samples * slots),
  });
}

/** dx of rows too long to be kept in registers. */
function longInputGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["layerNormGrad"],
  op: string,
): void {
  const { x, weight, scale, centred, residual = null } = args;
  const [batch, tokens, width] = x.shape as [number, number, number];
  const byVec4 = canVec4Grad(args);
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
      let own = rstd * (dz ${centred ? "- means.x " : ""}- z * means.y);
      dx_store${four}(begin + i, own${residual ? ` + residual_load${four}(begin + i)` : ""});
    }
  }`;
  runtime.dispatch({
    op,
    key: `layerNormGrad/long/${layoutKey(layout)}/${
      [centred, weight, scale, residual].map(Boolean).join()
    }`,
    source: () => rowKernel(layout, [{ name: "row_sum", combine: "+", type: "vec2f" }], body),
    views: gradViews(args, byVec4),
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

/** What the gradient of the input reads and writes. */
function gradViews(args: KernelArgs["layerNormGrad"], vec4: boolean): ViewBinding[] {
  const { x, g, weight, scale, mean, rstd, residual = null, branch = null, gate = null } = args;
  const { dx, dBranch = null } = args;
  return [
    { name: "x", view: x, access: "read", vec4 },
    { name: "g", view: g, access: "read", vec4 },
    ...maybe("weight", weight, vec4),
    ...maybe("scale", scale, vec4),
    { name: "mean", view: mean, access: "read" },
    { name: "rstd", view: rstd, access: "read" },
    ...maybe("residual", residual, vec4),
    ...maybe("branch", branch, vec4),
    ...maybe("gate", gate, vec4),
    { name: "dx", view: dx, access: "write", vec4 },
    ...dBranch ? [{ name: "dBranch", view: dBranch, access: "write", vec4 } as const] : [],
  ];
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
    let to = part * params.samples + sample;
    ${dScale ? "dScale_store(to * params.scaleStep + column, sums.x);" : ""}
    ${dShift ? "dShift_store(to * params.shiftStep + column, sums.y);" : ""}
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
      u32: {
        samples,
        rows,
        width,
        parts,
        scaleStep: dScale?.strides[0] ?? 0,
        shiftStep: dShift?.strides[0] ?? 0,
      },
      workgroups: blocks * samples * parts,
    });
  if (parts === 1) {
    launch(dScale, dShift);
    return;
  }
  withScratch(runtime, op, [[2, parts, samples, width]], (slots) => {
    const half = (k: number): View => ({
      ...slots!,
      offset: slots!.offset + k * slots!.strides[0]!,
      shape: [parts * samples, width],
      strides: [width, 1],
    });
    launch(dScale && half(0), dShift && half(1));
    sumSlots(runtime, slots!, [dScale, dShift], op);
  });
}
