/** Rotary position embedding: a thread turns one pair of neighbours. */
import type { KernelArgs } from "../../kernels.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { ranInChunks } from "../device/chunks.ts";

/** Threads of a workgroup. */
const THREADS = 256;

/** See {@linkcode KernelArgs}. */
export function rotary(runtime: WebGpuRuntime, args: KernelArgs["rotary"], op: string): void {
  const again = (part: typeof args): void => rotary(runtime, part, op);
  if (ranInChunks(runtime, "rotary", args, op, again)) return;
  const { x, cosine, sine, inverse, out } = args;
  const [samples, tokens, heads, width] = x.shape as [number, number, number, number];
  const pairs = samples * tokens * heads * width / 2;
  runtime.dispatch({
    op,
    key: `rotary ${inverse}`,
    source: () => sourceOf(inverse),
    views: [
      { name: "x", view: x, access: "read" },
      { name: "cosine", view: cosine, access: "read" },
      { name: "sine", view: sine, access: "read" },
      { name: "out", view: out, access: "write" },
    ],
    u32: {
      pairs,
      perRow: width / 2,
      heads,
      tokens,
      x_0: x.strides[0]!,
      x_1: x.strides[1]!,
      x_2: x.strides[2]!,
      out_0: out.strides[0]!,
      out_1: out.strides[1]!,
      out_2: out.strides[2]!,
    },
    workgroups: Math.ceil(pairs / THREADS),
  });
}

function sourceOf(inverse: boolean): string {
  const [minus, plus] = inverse ? ["+", "-"] : ["-", "+"];
  return `
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let pair = linear_group(id) * ${THREADS}u + lane;
  if (pair >= params.pairs) { return; }
  let row = pair / params.perRow;
  let d = pair % params.perRow * 2u;
  let head = row % params.heads;
  let token = row / params.heads % params.tokens;
  let sample = row / params.heads / params.tokens;
  let from_first = sample * params.x_0 + token * params.x_1 + head * params.x_2 + d;
  let angle = token * params.perRow * 2u + d;
  let first = x_load(from_first);
  let second = x_load(from_first + 1u);
  let to_first = sample * params.out_0 + token * params.out_1 + head * params.out_2 + d;
  out_store(to_first, first * cosine_load(angle) ${minus} second * sine_load(angle));
  out_store(to_first + 1u, second * cosine_load(angle + 1u) ${plus} first * sine_load(angle + 1u));
}
`;
}
