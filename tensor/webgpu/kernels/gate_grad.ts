/** Gradients of gates: the gated array's, and the sums over tokens that are the gate's, in one pass. */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { ranInChunks } from "../device/chunks.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { withScratch } from "../device/scratch.ts";
import { canVec4Rows, rowLayout } from "../shader/rows.ts";
import { slotsOf, sumSlots } from "./sum_parts.ts";

const THREADS = 64;

/**
 * See {@linkcode KernelArgs}. A thread takes some columns of a run of a sample's rows. The runs are
 * those of the gradient of layer norm, so that sums are the same that find gates there.
 */
export function gateGrad(runtime: WebGpuRuntime, args: KernelArgs["gateGrad"], op: string): void {
  const again = (part: typeof args): void => gateGrad(runtime, part, op);
  if (ranInChunks(runtime, "gateGrad", args, op, again)) return;
  const { x, gate, g, dx, dGate } = args;
  const [samples, tokens, width] = x.shape as [number, number, number];
  const byVec4 = canVec4Rows(width, x, gate, g, dx);
  const slots = slotsOf(runtime.traits, rowLayout(width, byVec4, runtime), samples, tokens);
  const [type, four, step] = byVec4 ? ["vec4f", "4", 4] as const : ["f32", "", 1] as const;
  withScratch(runtime, op, [[1, slots, samples, width]], (found) => {
    const sums: View = { ...found!, shape: [slots * samples, width], strides: [width, 1] };
    runtime.dispatch({
      op,
      key: `gateGrad/${byVec4}`,
      source: () => `
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = linear_group(workgroup) * ${THREADS}u + thread;
  let across = (params.width + ${step - 1}u) / ${step}u;
  if (number >= across * params.samples * params.slots) { return; }
  let column = number % across * ${step}u;
  let sample = number / across % params.samples;
  let slot = number / across / params.samples;
  let end = min((slot + 1u) * params.perSlot, params.tokens);
  let gate = gate_load${four}(sample * params.gateStep + column);
  var sum = ${type}();
  for (var token = slot * params.perSlot; token < end; token++) {
    let at = (sample * params.tokens + token) * params.width + column;
    let g = g_load${four}(at);
    dx_store${four}(at, g * gate);
    sum += g * x_load${four}(at);
  }
  sums_store${four}((slot * params.samples + sample) * params.width + column, sum);
}
`,
      views: [
        { name: "x", view: x, access: "read", vec4: byVec4 },
        { name: "gate", view: gate, access: "read", vec4: byVec4 },
        { name: "g", view: g, access: "read", vec4: byVec4 },
        { name: "dx", view: dx, access: "write", vec4: byVec4 },
        { name: "sums", view: sums, access: "write", vec4: byVec4 },
      ],
      u32: {
        samples,
        slots,
        perSlot: Math.ceil(tokens / slots),
        tokens,
        width,
        gateStep: gate.strides[0]!,
      },
      workgroups: Math.ceil(width / step * samples * slots / THREADS),
    });
    sumSlots(runtime, found!, [dGate], op);
  });
}
