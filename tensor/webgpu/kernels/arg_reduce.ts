/** Positions of extremes. Tiles as in reduce.ts; each thread keeps a value and its index. */
import type { KernelArgs } from "../../kernels.ts";
import { liesAlongRows, rowStep, type Tile, tileOf, tilePlace } from "./reduce.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { PRELUDE } from "../shader/wgsl.ts";

export function argReduce(
  runtime: WebGpuRuntime,
  { op, x, out }: KernelArgs["argReduce"],
  name: string,
): void {
  const [O, R, I] = x.shape as readonly [number, number, number];
  const tile = tileOf(R, I);
  const alongRows = liesAlongRows([x]);
  runtime.dispatch({
    op: name,
    key: `argReduce ${op} ${tile.rows} ${alongRows}`,
    source: () => source(op, tile, alongRows),
    views: [
      { name: "x", view: x, access: "read" },
      { name: "out", view: out, access: "write" },
    ],
    u32: { R, I, outputs: O * I, x_0: x.strides[0]!, x_1: x.strides[1]!, x_2: x.strides[2]! },
    workgroups: Math.ceil(O * I / tile.columns),
  });
}

function source(op: "max" | "min", tile: Tile, alongRows: boolean): string {
  const step = rowStep(tile, alongRows);
  return `${PRELUDE}
const ROWS = ${tile.rows}u;
// NaN beats every number, the first of equals the later ones.
fn wins(a: f32, a_at: u32, b: f32, b_at: u32) -> bool {
  if (is_nan(a) != is_nan(b)) { return is_nan(a); }
  if (is_nan(a) || a == b) { return a_at < b_at; }
  return a ${op === "max" ? ">" : "<"} b;
}
var<workgroup> values: array<f32, 256>;
var<workgroup> places: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = linear_group(id);
  if (group >= params.grid_count) { return; }
  ${tilePlace(tile, alongRows)}
  let output = group * ${tile.columns}u + column;
  let base = output / params.I * params.x_0 + output % params.I * params.x_2;
  if (output < params.outputs) {
    var best = x_load(base + row * params.x_1);
    var best_at = row;
    for (var r = row + ROWS; r < params.R; r += ROWS) {
      let v = x_load(base + r * params.x_1);
      if (wins(v, r, best, best_at)) { best = v; best_at = r; }
    }
    values[lane] = best;
    places[lane] = best_at;
  }
  for (var half = ROWS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    let other = lane + half * ${step}u;
    if (row < half && wins(values[other], places[other], values[lane], places[lane])) {
      values[lane] = values[other];
      places[lane] = places[other];
    }
  }
  if (row == 0u && output < params.outputs) { out_store(output, i32(places[lane])); }
}
`;
}
