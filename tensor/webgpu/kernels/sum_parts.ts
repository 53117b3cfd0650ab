/** The second stage of sums that many workgroups take part in. */
import type { View } from "../../backend.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import type { GpuTraits } from "../device/traits.ts";

const THREADS = 64;

/** `out[i] = sum over p of parts[p, i]`, in order, for contiguous parts [P, L] and out of L. */
export function sumParts(
  runtime: WebGpuRuntime,
  parts: View,
  out: View,
  count: number,
  length: number,
  op: string,
): void {
  runtime.dispatch({
    op,
    key: "sumParts",
    source: () => `
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = linear_group(workgroup) * ${THREADS}u + thread;
  if (i >= params.length) { return; }
  var sum = 0.0;
  for (var part = 0u; part < params.count; part++) {
    sum += parts_load(part * params.length + i);
  }
  result_store(i, sum);
}
`,
    views: [
      { name: "parts", view: parts, access: "read" },
      { name: "result", view: out, access: "write" },
    ],
    u32: { count, length },
    workgroups: Math.ceil(length / THREADS),
  });
}

/** Workgroups that keep a core busy: they wait for memory at different times. */
const GROUPS_A_CORE = 4;

/** Workgroups that keep all of a GPU busy. */
export function enoughGroups({ cores }: GpuTraits): number {
  return GROUPS_A_CORE * cores;
}

/**
 * Parts in which to sum `length` numbers where whole sums would make `groups` workgroups: enough
 * to keep a GPU busy, none much shorter than `shortest`.
 */
export function partsFor(
  traits: GpuTraits,
  groups: number,
  length: number,
  shortest: number,
): number {
  const wanted = Math.ceil(enoughGroups(traits) / groups);
  return Math.max(1, Math.min(wanted, Math.floor(length / shortest)));
}
