/** Gradients of gates: the gated array's, and the sums over tokens that are the gate's, in one pass. */
import type { KernelArgs, View } from "../../backend.ts";
import { ranInChunks } from "../device/chunks.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { withScratch } from "../device/scratch.ts";
import { canVec4Rows } from "../shader/rows.ts";
import { partsFor, sumSlots } from "./sum_parts.ts";

const THREADS = 256;
/** Columns of a workgroup, whose other threads share its rows. */
const COLUMNS = 64;
/** Rows below which dividing a sum again gains nothing. */
const SHORTEST_PART = 32;

/** See {@linkcode KernelArgs}. */
export function gateGrad(runtime: WebGpuRuntime, args: KernelArgs["gateGrad"], op: string): void {
  const again = (part: typeof args): void => gateGrad(runtime, part, op);
  if (ranInChunks(runtime, "gateGrad", args, op, again)) return;
  const { x, dGate } = args;
  const [samples, tokens, width] = x.shape as [number, number, number];
  const groups = samples * Math.ceil(width / COLUMNS);
  const parts = partsFor(runtime.traits, groups, tokens, SHORTEST_PART);
  if (parts === 1) return launch(runtime, args, { parts, sums: dGate, op });
  withScratch(runtime, op, [[1, parts, samples, width]], (slots) => {
    const sums: View = { ...slots!, shape: [parts * samples, width], strides: [width, 1] };
    launch(runtime, args, { parts, sums, op });
    sumSlots(runtime, slots!, [dGate], op);
  });
}

/** Sums of `parts` parts of the tokens into `sums` [parts B, N]. */
function launch(
  runtime: WebGpuRuntime,
  { x, gate, g, dx }: KernelArgs["gateGrad"],
  { parts, sums, op }: { readonly parts: number; readonly sums: View; readonly op: string },
): void {
  const [samples, tokens, width] = x.shape as [number, number, number];
  const byVec4 = canVec4Rows(width, x, gate, g, dx);
  const [type, four] = byVec4 ? ["vec4f", "4"] as const : ["f32", ""] as const;
  const step = byVec4 ? 4 : 1;
  const across = COLUMNS / step;
  const lanes = THREADS / across;
  const store = byVec4
    ? [0, 1, 2, 3].map((i) => `    sums_store(at + ${i}u, sum.${"xyzw"[i]});`).join("\n")
    : "    sums_store(at, sum);";
  runtime.dispatch({
    op,
    key: `gateGrad/${byVec4}`,
    source: () => `
var<workgroup> found: array<${type}, ${THREADS}>;
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = linear_group(workgroup);
  if (number >= params.grid_count) { return; }
  let blocks = (params.width + ${COLUMNS - 1}u) / ${COLUMNS}u;
  let column = number % blocks * ${COLUMNS}u + thread % ${across}u * ${step}u;
  let sample = number / blocks % params.samples;
  let part = number / blocks / params.samples;
  let lane = thread / ${across}u;
  let perPart = (params.tokens + params.parts - 1u) / params.parts;
  let end = min((part + 1u) * perPart, params.tokens);
  var sum = ${type}();
  if (column < params.width) {
    let gate = gate_load${four}(sample * params.gateStep + column);
    for (var token = part * perPart + lane; token < end; token += ${lanes}u) {
      let at = (sample * params.tokens + token) * params.width + column;
      let g = g_load${four}(at);
      dx_store${four}(at, g * gate);
      sum += g * x_load${four}(at);
    }
  }
  found[thread] = sum;
  workgroupBarrier();
  if (lane == 0u && column < params.width) {
    for (var other = 1u; other < ${lanes}u; other++) {
      sum += found[thread + other * ${across}u];
    }
    let at = (part * params.samples + sample) * params.sumStep + column;
${store}
  }
}
`,
    views: [
      { name: "x", view: x, access: "read", vec4: byVec4 },
      { name: "gate", view: gate, access: "read", vec4: byVec4 },
      { name: "g", view: g, access: "read", vec4: byVec4 },
      { name: "dx", view: dx, access: "write", vec4: byVec4 },
      { name: "sums", view: sums, access: "write" },
    ],
    u32: {
      samples,
      tokens,
      width,
      parts,
      gateStep: gate.strides[0]!,
      sumStep: sums.strides[0]!,
    },
    workgroups: Math.ceil(width / COLUMNS) * samples * parts,
  });
}
