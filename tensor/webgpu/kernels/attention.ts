/**
 * Attention without stored scores (FlashAttention, arXiv 2205.14135): tiles of keys pass by a
 * workgroup's 64 queries, whose running maximum and sum are corrected as larger scores turn up.
 */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { canVec4 } from "../shader/accessors.ts";
import {
  type AttentionCode,
  type AttentionSize,
  codeKey,
  planAttention,
} from "./attention_plan.ts";
import {
  ACROSS,
  ATTENTION_THREADS,
  bytesWithKept,
  collect,
  collectedOf,
  declareCollected,
  declareFinish,
  declareKept,
  DOWN,
  finishCollected,
  groupsOf,
  type HeadPlan,
  keepRows,
  multiplyHeads,
  multiplyKept,
  PICK,
  placeWorkgroup,
  planHead,
  ROWS,
  scoresOf,
  stagedVectors,
} from "./attention_tile.ts";
import { matrixAttention } from "./matrix_attention.ts";
import { declareStaged } from "../device/join.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { type StridedOperand, stridedOperand } from "../shader/strided.ts";
import { declareAccumulators } from "../shader/tile.ts";
import { ranInChunks } from "../device/chunks.ts";

/** Columns collected at a time: 64 registers, as in the largest matrix product. */
const MOST_COLUMNS = 128;

/**
 * See {@linkcode KernelArgs}.
 *
 * @param code The ordinary kernel, written like that, or null for matrix units where they fit; as
 * planned for the GPU unless given.
 */
export function attention(
  runtime: WebGpuRuntime,
  args: KernelArgs["attention"],
  op: string,
  code?: AttentionCode | null,
): void {
  const again = (part: KernelArgs["attention"]): void => attention(runtime, part, op, code);
  if (ranInChunks(runtime, "attention", args, op, again)) return;
  const planned = planAttention(sizeOfAttention(args), runtime.plans).forward;
  const asked = code === undefined && planned.overMatrices ? planned : code;
  if (!asked && matrixAttention(runtime, args, op)) return;
  const written = asked ?? planned;
  const { q, k, v, scale, out, stats } = args;
  const [batch, heads, queries, depth] = q.shape as [number, number, number, number];
  const keys = k.shape[2]!;
  const room = runtime.limits.maxComputeWorkgroupStorageSize;
  const whole = planHead(depth, MOST_COLUMNS, written);
  const plan = written.kept && bytesWithKept(whole) > room
    ? { ...whole, code: { ...written, kept: false } }
    : whole;
  const operands = {
    q: stridedOperand("q", q, 2, 3, "params.queries"),
    k: stridedOperand("k", k, 2, 3, "params.keys"),
    v: stridedOperand("v", v, 3, 2, `${depth}u`),
  };
  const byVec4 = depth % 4 === 0 && canVec4(out);
  runtime.dispatch({
    op,
    key: `attention/${depth}/${codeKey(plan.code)}/${operands.q.key}/${operands.k.key}/` +
      `${operands.v.key}/${byVec4}`,
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
    workgroups: Math.ceil(queries / ROWS) * plan.parts * batch * heads,
    flops: 4 * batch * heads * queries * keys * depth,
  });
}

/** What a plan is chosen by. */
export function sizeOfAttention({ q, k }: Pick<KernelArgs["attention"], "q" | "k">): AttentionSize {
  const [, , queries, depth] = q.shape as [number, number, number, number];
  return { dtype: q.dtype, depth, queries, keys: k.shape[2]! };
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
  const rows = [0, 1, 2, 3];
  const scores = scoresOf(plan);
  const groups = groupsOf(plan);
  // Each component of these vec4s belongs to one of the thread's four rows.
  const perRow = (value: (r: number) => string): string => `vec4f(${rows.map(value).join(", ")})`;
  const reduce = (start: string, combine: (a: string, b: string) => string): string =>
    Array.from({ length: ACROSS }, (_, i) => `lanes[${i * DOWN}u + down]`).reduce(combine, start);
  const each = (statement: (r: number, g: number) => string): string =>
    groups.flatMap(({ g }) => rows.map((r) => statement(r, g))).join("\n");
  const largestOf = (r: number): string =>
    groups.map(({ g }) => `max(max(s${r}_${g}.x, s${r}_${g}.y), max(s${r}_${g}.z, s${r}_${g}.w))`)
      .reduce((a, b) => `max(${a}, ${b})`);
  const sumOf = (r: number): string =>
    groups.map(({ g }) => `dot(s${r}_${g}, vec4f(1.0))`).join(" + ");
  return `${declareStaged([stagedVectors(plan)])}
${PICK}
// What each of the ${ACROSS} threads that share rows has found.
var<workgroup> lanes: array<vec4f, ${ATTENTION_THREADS}>;
${plan.code.kept ? declareKept(plan) : ""}
${declareFinish("result", plan, "params.queries", byVec4)}
@compute @workgroup_size(${ATTENTION_THREADS})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = linear_group(workgroup);
  if (number >= params.grid_count) { return; }
${placeWorkgroup(plan, "params.queries")}
${declareCollected(plan, "o")}
  var largest = vec4f(${LOWEST});
  // Sum of the thread's own columns; the threads of a row are added at the end.
  var total = vec4f();
${plan.code.kept ? keepRows(plan, q, "row0") : ""}
  for (var key0 = 0u; key0 < params.keys; key0 += ${scores.columns}u) {
${declareAccumulators(scores, "s")}
${
    plan.code.kept
      ? multiplyKept(plan, "s", k, "key0")
      : multiplyHeads(plan, "s", q, "row0", k, "key0")
  }
${
    groups.map(({ g, first }) =>
      `    let inside${g} = vec4u(key0 + ${first}u + across * 4u) + vec4u(0u, 1u, 2u, 3u) <
      vec4u(params.keys);`
    ).join("\n")
  }
${each((r, g) => `    s${r}_${g} = select(vec4f(${LOWEST}), s${r}_${g}, inside${g});`)}
    lanes[across * ${DOWN}u + down] = ${perRow(largestOf)};
    workgroupBarrier();
    let top = ${reduce("largest", (a, b) => `max(${a}, ${b})`)};
    let fade = exp2((largest - top) * params.scale);
    largest = top;
${
    each((r, g) =>
      // Subtracted before they are scaled: the difference is exact, whatever their size.
      `    s${r}_${g} = select(vec4f(), exp2((s${r}_${g} - vec4f(top[${r}])) * params.scale),
      inside${g});`
    )
  }
    total = total * fade + ${perRow(sumOf)};
${collectedOf(plan, "o").map((sum) => `    ${sum.name} *= ${sum.of("fade")};`).join("\n")}
${collect(plan, "o", "s", v, "key0", "params.keys")}
  }
  lanes[across * ${DOWN}u + down] = total;
  workgroupBarrier();
  total = ${reduce("vec4f()", (a, b) => `${a} + ${b}`)};
  let factor = 1.0 / total;
${finishCollected(plan, "o", "result", (sum) => `${sum.name} * ${sum.of("factor")}`)}
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
