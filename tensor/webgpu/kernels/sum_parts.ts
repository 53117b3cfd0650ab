/** The second stage of sums that many workgroups take part in. */
import type { View } from "../../view.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import type { GpuTraits } from "../device/traits.ts";
import type { RowLayout } from "../shader/rows.ts";

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

/**
 * `outs[k][b, n] = sum over s of slots[k, s, b, n]`, in order, for contiguous f32 slots
 * [K, S, B, N] and outs [B, N] of unit inner stride, of which null ones are left out.
 */
export function sumSlots(
  runtime: WebGpuRuntime,
  slots: View,
  outs: readonly (View | null)[],
  op: string,
): void {
  const [, count, samples, width] = slots.shape as [number, number, number, number];
  const given = outs.flatMap((view, k) => view ? [{ view, k, name: `result${k}` }] : []);
  const sums = given.map(({ k, name }) =>
    `  {
    var sum = 0.0;
    for (var slot = ${k}u * params.count; slot < ${k + 1}u * params.count; slot++) {
      sum += slots_load(slot * params.length + i);
    }
    ${name}_store(i / params.width * params.${name}Step + i % params.width, sum);
  }`
  ).join("\n");
  runtime.dispatch({
    op,
    key: `sumSlots/${given.map(({ k }) => k)}`,
    source: () => `
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = linear_group(workgroup) * ${THREADS}u + thread;
  if (i >= params.length) { return; }
${sums}
}
`,
    views: [
      { name: "slots", view: slots, access: "read" },
      ...given.map(({ name, view }) => ({ name, view, access: "write" }) as const),
    ],
    u32: {
      count,
      width,
      length: samples * width,
      ...Object.fromEntries(given.map(({ name, view }) => [`${name}Step`, view.strides[0]!])),
    },
    workgroups: Math.ceil(samples * width / THREADS),
  });
}

/** Rows at least that share sums of columns: those have to be written, and added up afterwards. */
const FEWEST_ROWS = 8;
/** Workgroups a core where sums of columns are kept in registers. */
const ROW_GROUPS_A_CORE = 8;

/** Runs of a sample's rows whose sums of columns threads keep in registers. */
export function slotsOf(
  { cores }: GpuTraits,
  { rows }: RowLayout,
  samples: number,
  tokens: number,
): number {
  const wanted = Math.ceil(ROW_GROUPS_A_CORE * cores * rows / samples);
  const slots = Math.min(wanted, Math.ceil(tokens / FEWEST_ROWS));
  return Math.ceil(tokens / Math.ceil(tokens / slots));
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
