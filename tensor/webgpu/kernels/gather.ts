/** Row lookups in a table, and their gradient. Indices outside the table touch no memory. */
import type { KernelArgs } from "../../kernels.ts";
import { canVec4 } from "../shader/accessors.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";

export function gather(
  runtime: WebGpuRuntime,
  { table, index, out }: KernelArgs["gather"],
  op: string,
): void {
  const [rows, width] = table.shape as readonly [number, number];
  const lookups = index.shape[0]!;
  const vec4 = width % 4 === 0 && canVec4(table) && canVec4(out);
  const pieces = vec4 ? width / 4 : width;
  runtime.dispatch({
    op,
    key: `gather ${vec4}`,
    source: () => gatherSource(vec4),
    views: [
      { name: "table", view: table, access: "read", vec4 },
      { name: "index", view: index, access: "read" },
      { name: "out", view: out, access: "write", vec4 },
    ],
    u32: { rows, width, pieces, table_0: table.strides[0]!, n: lookups * pieces },
    workgroups: Math.ceil(lookups * pieces / 256),
  });
}

function gatherSource(vec4: boolean): string {
  const four = vec4 ? "4" : "";
  return `
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let e = linear_group(id) * 256u + lane;
  if (e >= params.n) { return; }
  let lookup = e / params.pieces;
  let at = e % params.pieces${vec4 ? " * 4u" : ""};
  // A negative i32 is a large u32.
  let row = bitcast<u32>(index_load(lookup));
  if (row < params.rows) {
    out_store${four}(lookup * params.width + at, table_load${four}(row * params.table_0 + at));
  } else {
    out_store${four}(lookup * params.width + at, ${vec4 ? "vec4f(0.0)" : "0.0"});
  }
}
`;
}

/**
 * One workgroup a row of the table (and 256 columns of it) looks through all indices, a block at a
 * time, and adds what is its own, in order: the result is the same every time, without atomics.
 */
export function scatterAdd(
  runtime: WebGpuRuntime,
  { g, index, out }: KernelArgs["scatterAdd"],
  op: string,
): void {
  const [rows, width] = out.shape as readonly [number, number];
  const blocks = Math.ceil(width / 256);
  runtime.dispatch({
    op,
    key: "scatterAdd",
    source: () => SCATTER_SOURCE,
    views: [
      { name: "g", view: g, access: "read" },
      { name: "index", view: index, access: "read" },
      { name: "out", view: out, access: "write" },
    ],
    u32: { width, blocks, lookups: index.shape[0]! },
    workgroups: rows * blocks,
    flops: rows * width * index.shape[0]!,
  });
}

const SCATTER_SOURCE = `
var<workgroup> wanted: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = linear_group(id);
  if (group >= params.grid_count) { return; }
  let row = group / params.blocks;
  let column = group % params.blocks * 256u + lane;
  var sum = 0.0;
  for (var first = 0u; first < params.lookups; first += 256u) {
    workgroupBarrier();
    if (first + lane < params.lookups) {
      wanted[lane] = bitcast<u32>(index_load(first + lane));
    }
    workgroupBarrier();
    let count = min(256u, params.lookups - first);
    if (column < params.width) {
      for (var n = 0u; n < count; n++) {
        if (wanted[n] == row) { sum += g_load((first + n) * params.width + column); }
      }
    }
  }
  if (column < params.width) { out_store(row * params.width + column, sum); }
}
`;
