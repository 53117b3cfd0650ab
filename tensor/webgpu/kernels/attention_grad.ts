/**
 * Gradients of attention without stored scores and without atomics (FlashAttention-2, arXiv
 * 2307.08691): one kernel keeps a tile of queries and goes through the keys for dq, another keeps
 * a tile of keys and goes through the queries for dk and dv. Both compute the scores again, and
 * the probabilities from the rows' known statistics.
 *
 * With P = e^((s - largest) scale - logSum), dP = g vT and delta = rowsum(g out): dS = P (dP - delta), dq = scale dS k,
 * dk = scale dST q, dv = PT g.
 */
import type { KernelArgs, View } from "../../backend.ts";
import { canVec4, type ViewBinding } from "../shader/accessors.ts";
import { placeUniforms } from "./attention.ts";
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
import {
  alongRow,
  canVec4Rows,
  layoutKey,
  rowGroups,
  rowKernel,
  rowLayout,
} from "../shader/rows.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { withScratch } from "../device/scratch.ts";
import { type StridedOperand, stridedOperand } from "../shader/strided.ts";
import { declareAccumulators, declareStaging, visitAccumulators } from "../shader/tile.ts";
import { ranInChunks } from "../device/chunks.ts";

/** Groups of 32 columns collected at a time: 64 registers, as in the largest matrix product. */
const MOST_CHUNKS = 4;

const ROWS = [0, 1, 2, 3];

/** See {@linkcode KernelArgs}. */
export function attentionGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["attentionGrad"],
  op: string,
): void {
  const again = (part: KernelArgs["attentionGrad"]): void => attentionGrad(runtime, part, op);
  if (ranInChunks(runtime, "attentionGrad", args, op, again)) return;
  const depth = args.q.shape[3]!;
  withScratch(runtime, op, [args.stats.shape.slice(0, 3)], (delta) => {
    rowDots(runtime, args, delta!, op);
    queryGrad(runtime, args, delta!, op);
    // Both results at once where that takes no more registers than one of a wide head.
    if (2 * Math.ceil(depth / 32) <= MOST_CHUNKS) {
      keyGrad(runtime, args, delta!, { dk: args.dk, dv: args.dv }, op);
    } else {
      keyGrad(runtime, args, delta!, { dk: null, dv: args.dv }, op);
      keyGrad(runtime, args, delta!, { dk: args.dk, dv: null }, op);
    }
  });
}

/** `delta` [B, H, Tq]: the dot product of each row of out and g. */
function rowDots(
  runtime: WebGpuRuntime,
  { out, g }: KernelArgs["attentionGrad"],
  delta: View,
  op: string,
): void {
  const [batch, heads, queries, depth] = out.shape as [number, number, number, number];
  const layout = rowLayout(depth, canVec4Rows(depth, out, g));
  const four = layout.byVec4 ? "4" : "";
  const rows = batch * heads * queries;
  const place = (name: string): string =>
    `head / params.heads * params.${name}Outer + head % params.heads * params.${name}Inner +
    row % params.queries * params.${name}Row`;
  runtime.dispatch({
    op,
    key: `attentionGrad/delta/${layoutKey(layout)}`,
    source: () =>
      rowKernel(
        layout,
        [{ name: "row_sum", combine: "+", type: "f32" }],
        `
  let head = row / params.queries;
  let outAt = ${place("out")};
  let gAt = ${place("g")};
  var sums = T();
  ${alongRow("params.depth")} { sums += out_load${four}(outAt + i) * g_load${four}(gAt + i); }
  let sum = row_sum(thread, total(sums));
  if (live && lane == 0u) { delta_store(row, sum); }`,
      ),
    views: [
      { name: "out", view: out, access: "read", vec4: layout.byVec4 },
      { name: "g", view: g, access: "read", vec4: layout.byVec4 },
      { name: "delta", view: delta, access: "write" },
    ],
    u32: {
      rows,
      heads,
      queries,
      depth,
      ...placeUniforms("out", out),
      ...placeUniforms("g", g),
    },
    workgroups: rowGroups(layout, rows),
  });
}

type Operands = Readonly<Record<"q" | "k" | "v" | "g", StridedOperand>>;

/** The four arrays with rows along the tile and the head's depth as depth. */
function alongRows({ q, k, v, g }: KernelArgs["attentionGrad"]): Operands {
  return {
    q: stridedOperand("q", q, 2, 3, "params.queries"),
    k: stridedOperand("k", k, 2, 3, "params.keys"),
    v: stridedOperand("v", v, 2, 3, "params.keys"),
    g: stridedOperand("g", g, 2, 3, "params.queries"),
  };
}

/** The head's columns along the tile and rows as depth. */
function alongColumns(name: string, view: View): StridedOperand {
  return stridedOperand(name, view, 3, 2, `${view.shape[3]}u`);
}

/** What both kernels are given besides their results. */
function inputs(
  { q, k, stats, scale }: KernelArgs["attentionGrad"],
  operands: Operands,
  delta: View,
): { key: string; views: ViewBinding[]; u32: Record<string, number>; f32: Record<string, number> } {
  const all = Object.values(operands);
  return {
    key: `${q.shape[3]}/${all.map((o) => o.key).join("/")}`,
    views: [
      ...all.map((o) => o.binding),
      { name: "stats", view: stats, access: "read" },
      { name: "delta", view: delta, access: "read" },
    ],
    u32: Object.assign(
      { heads: q.shape[1]!, queries: q.shape[2]!, keys: k.shape[2]! },
      ...all.map((o) => o.uniforms),
    ),
    f32: { scale, scaleLog2: scale * Math.LOG2E },
  };
}

/**
 * Four values of a query each, from `at` on; the last query's where there are no more. Each is the
 * `part`-th of the `parts` that the array has of a query.
 */
function perQuery(name: string, at: string, part = 0, parts = 1): string {
  const place = (i: number): string =>
    `batch * params.queries + min(${at} + ${i}u, params.queries - 1u)`;
  const loads = ROWS.map((i) => `${name}_load(${parts}u * (${place(i)}) + ${part}u)`);
  return `vec4f(${loads.join(",\n      ")})`;
}

/** WGSL for the largest scores and the logarithms of the sums of four queries from `at` on. */
function perQueryStats(at: string): string {
  return `let largest = ${perQuery("stats", at, 0, 2)};
    let logSums = ${perQuery("stats", at, 1, 2)} * ${Math.LOG2E};`;
}

const MAIN = `
@compute @workgroup_size(${ATTENTION_THREADS})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {`;

/** Calls `NAME_finish` for every collected vec4. */
function finishAll(plan: HeadPlan, name: string): string {
  return chunkNames(plan, name).map((chunk, c) =>
    visitAccumulators(
      SCORES,
      chunk,
      (row, column, sum) =>
        `  ${name}_finish(outer, inner, row0 + ${row}, column0 + ${c * 32}u + ${column}, ${sum});`,
    )
  ).join("\n");
}

function queryGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["attentionGrad"],
  delta: View,
  op: string,
): void {
  const { q, k, dq } = args;
  const [batch, heads, queries, depth] = q.shape as [number, number, number, number];
  const plan = planHead(depth, MOST_CHUNKS);
  const operands = alongRows(args);
  const given = inputs(args, operands, delta);
  const byVec4 = depth % 4 === 0 && canVec4(dq);
  runtime.dispatch({
    op,
    key: `attentionGrad/query/${given.key}/${byVec4}`,
    source: () => queryGradSource(plan, operands, alongColumns("k", k), byVec4),
    views: [...given.views, { name: "dq", view: dq, access: "write", vec4: byVec4 }],
    u32: { ...given.u32, ...placeUniforms("dq", dq) },
    f32: given.f32,
    workgroups: Math.ceil(queries / SCORES.rows) * plan.parts * batch * heads,
    flops: 6 * batch * heads * queries * k.shape[2]! * depth,
  });
}

function queryGradSource(
  plan: HeadPlan,
  { q, k, v, g }: Operands,
  keyColumns: StridedOperand,
  byVec4: boolean,
): string {
  return `${declareStaging(SCORES)}
${declareFinish("dq", plan, "params.queries", byVec4)}
${MAIN}
${placeWorkgroup(plan, "params.queries")}
  // Of the thread's four rows.
  ${perQueryStats("row0 + down * 4u")}
  let deltas = ${perQuery("delta", "row0 + down * 4u")};
${chunkNames(plan, "dq").map((c) => declareAccumulators(SCORES, c)).join("\n")}
  for (var key0 = 0u; key0 < params.keys; key0 += ${SCORES.columns}u) {
${declareAccumulators(SCORES, "s")}
${multiplyHeads(plan, "s", q, "row0", k, "key0")}
${declareAccumulators(SCORES, "t")}
${multiplyHeads(plan, "t", g, "row0", v, "key0")}
    let inside = vec4u(key0 + across * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.keys);
${
    ROWS.map((r) =>
      `    s${r}_0 = select(vec4f(),
      exp2(min(s${r}_0 - largest[${r}], vec4f()) * params.scaleLog2 - logSums[${r}]) *
      (t${r}_0 - deltas[${r}]) * params.scale, inside);`
    ).join("\n")
  }
${stageScores("s")}
${collect(plan, "dq", keyColumns, "key0", "params.keys")}
  }
${finishAll(plan, "dq")}
}
`;
}

/** Results of one run of the kernel that goes through the queries. */
interface KeyResults {
  readonly dk: View | null;
  readonly dv: View | null;
}

function keyGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["attentionGrad"],
  delta: View,
  results: KeyResults,
  op: string,
): void {
  const { q, k, g } = args;
  const [batch, heads, keys, depth] = k.shape as [number, number, number, number];
  const { dk, dv } = results;
  const plan = planHead(depth, dk && dv ? MOST_CHUNKS / 2 : MOST_CHUNKS);
  const operands = alongRows(args);
  const given = inputs(args, operands, delta);
  const written = [dk, dv].filter((view) => view !== null);
  // One way for both: they may be windows of one array.
  const byVec4 = depth % 4 === 0 && written.every(canVec4);
  runtime.dispatch({
    op,
    key: `attentionGrad/keys/${dk ? "dk" : ""}${dv ? "dv" : ""}/${given.key}/${byVec4}`,
    source: () =>
      keyGradSource(
        plan,
        operands,
        dk && alongColumns("q", q),
        dv && alongColumns("g", g),
        byVec4,
      ),
    views: [
      ...given.views,
      ...dk ? [{ name: "dk", view: dk, access: "write", vec4: byVec4 } as const] : [],
      ...dv ? [{ name: "dv", view: dv, access: "write", vec4: byVec4 } as const] : [],
    ],
    u32: {
      ...given.u32,
      ...dk ? placeUniforms("dk", dk) : {},
      ...dv ? placeUniforms("dv", dv) : {},
    },
    f32: given.f32,
    workgroups: Math.ceil(keys / SCORES.rows) * plan.parts * batch * heads,
    flops: (dk ? 6 : 2) * batch * heads * q.shape[2]! * keys * depth,
  });
}

function keyGradSource(
  plan: HeadPlan,
  { q, k, v, g }: Operands,
  queryColumns: StridedOperand | null,
  gradColumns: StridedOperand | null,
  byVec4: boolean,
): string {
  const names = [queryColumns ? "dk" : "", gradColumns ? "dv" : ""].filter(Boolean);
  const valueGrad = gradColumns && `
${stageScores("s")}
${collect(plan, "dv", gradColumns, "query0", "params.queries")}`;
  const keyGrad = queryColumns && `
${declareAccumulators(SCORES, "t")}
${multiplyHeads(plan, "t", v, "row0", g, "query0")}
    let deltas = ${perQuery("delta", "query0 + across * 4u")};
${ROWS.map((r) => `    s${r}_0 *= (t${r}_0 - deltas) * params.scale;`).join("\n")}
${stageScores("s")}
${collect(plan, "dk", queryColumns, "query0", "params.queries")}`;
  return `${declareStaging(SCORES)}
${names.map((name) => declareFinish(name, plan, "params.keys", byVec4)).join("\n")}
${MAIN}
${placeWorkgroup(plan, "params.keys")}
${
    names.flatMap((name) => chunkNames(plan, name)).map((c) => declareAccumulators(SCORES, c))
      .join("\n")
  }
  for (var query0 = 0u; query0 < params.queries; query0 += ${SCORES.columns}u) {
${declareAccumulators(SCORES, "s")}
${multiplyHeads(plan, "s", k, "row0", q, "query0")}
    // Of the thread's four columns: scores lie transposed here.
    ${perQueryStats("query0 + across * 4u")}
    let inside = vec4u(query0 + across * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.queries);
${
    ROWS.map((r) =>
      `    s${r}_0 = select(vec4f(),
      exp2(min(s${r}_0 - largest, vec4f()) * params.scaleLog2 - logSums), inside);`
    ).join("\n")
  }
${valueGrad ?? ""}
${keyGrad ?? ""}
  }
${names.map((name) => finishAll(plan, name)).join("\n")}
}
`;
}
