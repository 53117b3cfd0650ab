/**
 * Running sums along the middle axis of [O, R, I]. Short lines take a thread each. Long ones take
 * a workgroup each, which goes through the line in blocks of 1024: each thread sums 4 neighbours,
 * the 256 sums are scanned in shared memory, and the total is carried on: what 32 blocks carry is
 * summed apart from the total of those before, or the error would grow with the line's length.
 */
import type { KernelArgs } from "../../kernels.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";

/** Longest line that one thread takes. */
const LONGEST_SHORT = 64;

export function cumsum(
  runtime: WebGpuRuntime,
  { x, out, reverse }: KernelArgs["cumsum"],
  name: string,
): void {
  const [O, R, I] = x.shape as readonly [number, number, number];
  const long = R > LONGEST_SHORT;
  runtime.dispatch({
    op: name,
    key: `cumsum ${long} ${reverse}`,
    source: () => place(reverse) + (long ? LONG : SHORT),
    views: [
      { name: "x", view: x, access: "read" },
      { name: "out", view: out, access: "write" },
    ],
    u32: { lines: O * I, R, I, x_0: x.strides[0]!, x_1: x.strides[1]!, x_2: x.strides[2]! },
    workgroups: long ? O * I : Math.ceil(O * I / 256),
  });
}

/** WGSL for the place along the axis of the k-th number to add. */
function place(reverse: boolean): string {
  return `fn place(k: u32) -> u32 { return ${reverse ? "params.R - 1u - k" : "k"}; }\n`;
}

const SHORT = `
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let line = linear_group(id) * 256u + lane;
  if (line >= params.lines) { return; }
  let o = line / params.I;
  let i = line % params.I;
  let from_base = o * params.x_0 + i * params.x_2;
  let to_base = o * params.R * params.I + i;
  var sum = 0.0;
  for (var k = 0u; k < params.R; k++) {
    sum += x_load(from_base + place(k) * params.x_1);
    out_store(to_base + place(k) * params.I, sum);
  }
}
`;

const LONG = `
var<workgroup> sums: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let line = linear_group(id);
  if (line >= params.grid_count) { return; }
  let o = line / params.I;
  let i = line % params.I;
  let from_base = o * params.x_0 + i * params.x_2;
  let to_base = o * params.R * params.I + i;
  var before_group = 0.0;
  var carried = 0.0;
  for (var first = 0u; first < params.R; first += 1024u) {
    var running: array<f32, 4>;
    var sum = 0.0;
    for (var n = 0u; n < 4u; n++) {
      let k = first + lane * 4u + n;
      if (k < params.R) { sum += x_load(from_base + place(k) * params.x_1); }
      running[n] = sum;
    }
    sums[lane] = sum;
    workgroupBarrier();
    // After the round of a distance, each entry holds the sum of twice as many neighbours.
    for (var distance = 1u; distance < 256u; distance *= 2u) {
      var before = 0.0;
      if (lane >= distance) { before = sums[lane - distance]; }
      workgroupBarrier();
      sums[lane] += before;
      workgroupBarrier();
    }
    let start = before_group + (carried + select(0.0, sums[max(lane, 1u) - 1u], lane > 0u));
    for (var n = 0u; n < 4u; n++) {
      let k = first + lane * 4u + n;
      if (k < params.R) { out_store(to_base + place(k) * params.I, start + running[n]); }
    }
    carried += sums[255];
    if (first % 32768u == 31744u) {
      before_group += carried;
      carried = 0.0;
    }
    workgroupBarrier();
  }
}
`;
