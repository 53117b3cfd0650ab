/**
 * Attention without stored scores (FlashAttention, arXiv 2205.14135): tiles of keys pass by a
 * workgroup's 64 queries, whose running maximum and sum are corrected as larger scores turn up.
 */
import type { KernelArgs, View } from "../../backend.ts";
import { canVec4 } from "../shader/accessors.ts";
import {
  ATTENTION_THREADS,
  chunkNames,
  collect,
  declareFinish,
  type HeadPlan,
  multiplyHeads,
  placeWorkgroup,
  planHead,
  SCORES,
  stageScores,
} from "./attention_tile.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { type StridedOperand, stridedOperand } from "../shader/strided.ts";
import {
  declareAccumulators,
  declareStaging,
  threadsOf,
  visitAccumulators,
} from "../shader/tile.ts";
import { ranInChunks } from "../device/chunks.ts";

/** Groups of 32 columns collected at a time: 64 registers, as in the largest matrix product. */
const MOST_CHUNKS = 4;

/** See {@linkcode KernelArgs}. */
export function attention(runtime: WebGpuRuntime, args: KernelArgs["attention"], op: string): void {
  const again = (part: KernelArgs["attention"]): void => attention(runtime, part, op);
  if (ranInChunks(runtime, "attention", args, op, again)) return;
  const { q, k, v, scale, out, stats } = args;
  const [batch, heads, queries, depth] = q.shape as [number, number, number, number];
  const keys = k.shape[2]!;
  const plan = planHead(depth, MOST_CHUNKS);
  const operands = {
    q: stridedOperand("q", q, 2, 3, "params.queries"),
    k: stridedOperand("k", k, 2, 3, "params.keys"),
    v: stridedOperand("v", v, 3, 2, `${depth}u`),
  };
  const byVec4 = depth % 4 === 0 && canVec4(out);
  runtime.dispatch({
    op,
    key: `attention/${depth}/${operands.q.key}/${operands.k.key}/${operands.v.key}/${byVec4}`,
    source: () => attentionSource(plan, operands, byVec4),
    views: [
      ...Object.values(operands).map((o) => o.binding),
      { name: "result", view: out, access: "write", vec4: byVec4 },
      { name: "stats", view: stats, access: "write" },
    ],
    u32: {
      heads,
      queries,
      keys,
      ...operands.q.uniforms,
      ...operands.k.uniforms,
      ...operands.v.uniforms,
      ...placeUniforms("result", out),
    },
    // e^x is 2^(x log2 e).
    f32: { scale: scale * Math.LOG2E },
    workgroups: Math.ceil(queries / SCORES.rows) * plan.parts * batch * heads,
    flops: 4 * batch * heads * queries * keys * depth,
  });
}

/** Strides of a result [outer, inner, rows, depth] for `declareFinish`. */
export function placeUniforms(name: string, view: View): Record<string, number> {
  const [outer, inner, row] = view.strides as [number, number, number, number];
  return { [`${name}Outer`]: outer, [`${name}Inner`]: inner, [`${name}Row`]: row };
}

/** Below any score; not an infinity, from which none can be subtracted. */
const LOWEST = "-3.0e38";

function attentionSource(
  plan: HeadPlan,
  { q, k, v }: Record<"q" | "k" | "v", StridedOperand>,
  byVec4: boolean,
): string {
  const { down, across } = threadsOf(SCORES);
  const rows = [0, 1, 2, 3];
  const chunks = chunkNames(plan, "o");
  // Each component of these vec4s belongs to one of the thread's four rows.
  const perRow = (value: (r: number) => string): string => `vec4f(${rows.map(value).join(", ")})`;
  const reduce = (start: string, combine: (a: string, b: string) => string): string =>
    Array.from({ length: across }, (_, i) => `lanes[${i * down}u + down]`).reduce(combine, start);
  return `${declareStaging(SCORES)}
// What each of the ${across} threads that share rows has found.
var<workgroup> lanes: array<vec4f, ${down * across}>;
${declareFinish("result", plan, "params.queries", byVec4)}
@compute @workgroup_size(${ATTENTION_THREADS})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
${placeWorkgroup(plan, "params.queries")}
${chunks.map((c) => declareAccumulators(SCORES, c)).join("\n")}
  var largest = vec4f(${LOWEST});
  // Sum of the thread's own columns; the threads of a row are added at the end.
  var total = vec4f();
  for (var key0 = 0u; key0 < params.keys; key0 += ${SCORES.columns}u) {
${declareAccumulators(SCORES, "s")}
${multiplyHeads(plan, "s", q, "row0", k, "key0")}
    let inside = vec4u(key0 + across * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.keys);
${
    rows.map((r) => `    s${r}_0 = select(vec4f(${LOWEST}), s${r}_0, inside);`).join(
      "\n",
    )
  }
    lanes[across * ${down}u + down] = ${
    perRow((r) => `max(max(s${r}_0.x, s${r}_0.y), max(s${r}_0.z, s${r}_0.w))`)
  };
    workgroupBarrier();
    let top = ${reduce("largest", (a, b) => `max(${a}, ${b})`)};
    let fade = exp2((largest - top) * params.scale);
    largest = top;
${
    rows.map((r) =>
      // Subtracted before they are scaled: the difference is exact, whatever their size.
      `    s${r}_0 = select(vec4f(), exp2((s${r}_0 - vec4f(top[${r}])) * params.scale), inside);`
    ).join("\n")
  }
    total = total * fade + ${perRow((r) => `dot(s${r}_0, vec4f(1.0))`)};
${chunks.flatMap((c) => rows.map((r) => `    ${c}${r}_0 *= fade[${r}];`)).join("\n")}
${stageScores("s")}
${collect(plan, "o", v, "key0", "params.keys")}
  }
  lanes[across * ${down}u + down] = total;
  workgroupBarrier();
  total = ${reduce("vec4f()", (a, b) => `${a} + ${b}`)};
  let factor = 1.0 / total;
${
    chunks.map((chunk, c) =>
      visitAccumulators(SCORES, chunk, (row, column, sum, r) =>
        `  result_finish(outer, inner, row0 + ${row}, column0 + ${c * 32}u + ${column},
    ${sum} * factor[${r}]);`)
    ).join("\n")
  }
  if (across == 0u && column0 == 0u) {
    let logSum = log2(total) * ${Math.LN2};
    let row = row0 + down * 4u;
${
    rows.map((r) =>
      `    if (row + ${r}u < params.queries) {
      let at = 2u * (batch * params.queries + row + ${r}u);
      stats_store(at, largest[${r}]);
      stats_store(at + 1u, logSum[${r}]);
    }`
    ).join("\n")
  }
  }
}
`;
}
