/**
 * Gradients of attention without stored scores and without atomics (FlashAttention-2, arXiv
 * 2307.08691): one kernel keeps a tile of queries and goes through the keys for dq, another keeps
 * a tile of keys and goes through the queries for dk and dv. Both compute the scores again, and
 * the probabilities from the rows' known statistics. Where the GPU binds enough arrays they share a
 * launch.
 *
 * With P = e^((s - largest) scale - logSum), dP = g vT and delta = rowsum(g out): dS = P (dP - delta), dq = scale dS k,
 * dk = scale dST q, dv = PT g.
 */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { canVec4, type ViewBinding } from "../shader/accessors.ts";
import { placeUniforms, sizeOfAttention } from "./attention.ts";
import { findDeltas, rowDots } from "./attention_delta.ts";
import {
  type AttentionCode,
  type AttentionPlan,
  codeKey,
  planAttention,
} from "./attention_plan.ts";
import {
  ATTENTION_THREADS,
  collect,
  declareCollected,
  declareFinish,
  finishCollected,
  groupsOf,
  type HeadPlan,
  multiplyHeads,
  PICK,
  placeWorkgroup,
  planHead,
  ROWS,
  scoresOf,
  stagedVectors,
  THREAD_ROWS,
} from "./attention_tile.ts";
import { matrixKeyGrad, matrixQueryGrad } from "./matrix_attention_grad.ts";
import { canVec4Rows } from "../shader/rows.ts";
import type { Tiled } from "../device/dispatch.ts";
import { tiledSource } from "../device/join.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { withScratch } from "../device/scratch.ts";
import { type StridedOperand, stridedOperand } from "../shader/strided.ts";
import { declareAccumulators } from "../shader/tile.ts";
import { ranInChunks } from "../device/chunks.ts";

/** Columns collected at a time: 64 registers, as in the largest matrix product. */
const MOST_COLUMNS = 128;
/** Of each of two results that are collected at once: 80 registers. */
const MOST_OF_BOTH = 80;
/** Arrays of both kernels: queries, keys, values, g, statistics and deltas, and the gradients. */
const SHARED_ARRAYS = 9;

/**
 * The deepest heads whose gradients share a launch: all of its workgroups have the registers of the
 * kernel that needs more. On an H200 they took 1% less time so at 64, and 9% more at 72.
 */
const MOST_SHARED = 64;

/** Whether both ordinary kernels share a launch unless they were measured to be faster apart. */
export function mayShare({ maxArrays }: Pick<WebGpuRuntime, "maxArrays">, depth: number): boolean {
  return maxArrays >= SHARED_ARRAYS && depth <= MOST_SHARED;
}

/**
 * See {@linkcode KernelArgs}.
 *
 * @param plan The ordinary kernels, written like that, or null for matrix units where they fit; as
 * planned for the GPU unless given.
 */
export function attentionGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["attentionGrad"],
  op: string,
  plan?: Readonly<Record<"queries" | "keys", AttentionCode | null>> & Pick<AttentionPlan, "apart">,
): void {
  const again = (part: KernelArgs["attentionGrad"]): void => attentionGrad(runtime, part, op, plan);
  if (ranInChunks(runtime, "attentionGrad", args, op, again)) return;
  const depth = args.q.shape[3]!;
  const planned = planAttention(sizeOfAttention(args), runtime.plans);
  const askedOf = (kernel: "queries" | "keys"): AttentionCode | null => {
    if (plan) return plan[kernel];
    return planned[kernel].overMatrices ? planned[kernel] : null;
  };
  const [queries, keys] = [askedOf("queries"), askedOf("keys")];
  withScratch(runtime, op, [args.stats.shape.slice(0, 3)], (delta) => {
    // The ordinary kernel of the queries finds them for that of the keys, unless they could share a
    // launch: whether they do makes no difference to the bits.
    const isFirst = !queries && runtime.attentionMatrices && args.q.dtype === "f16" ||
      mayShare(runtime, depth) && !(plan ?? planned).apart;
    if (isFirst) rowDots(runtime, args, delta!, op);
    if (queries || !matrixQueryGrad(runtime, args, delta!, op)) {
      queryGrad(runtime, args, delta!, !isFirst, op, queries ?? planned.queries);
    }
    if (!keys && matrixKeyGrad(runtime, args, delta!, op)) return;
    const written = keys ?? planned.keys;
    if (depth <= MOST_OF_BOTH) {
      keyGrad(runtime, args, delta!, { dk: args.dk, dv: args.dv }, op, written);
    } else {
      keyGrad(runtime, args, delta!, { dk: null, dv: args.dv }, op, written);
      keyGrad(runtime, args, delta!, { dk: args.dk, dv: null }, op, written);
    }
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
  const loads = THREAD_ROWS.map((i) => `${name}_load(${parts}u * (${place(i)}) + ${part}u)`);
  return `vec4f(${loads.join(",\n      ")})`;
}

/** WGSL for the largest scores and the logarithms of the sums of four queries from `at` on. */
function perQueryStats(at: string, suffix = ""): string {
  return `let largest${suffix} = ${perQuery("stats", at, 0, 2)};
    let logSums${suffix} = ${perQuery("stats", at, 1, 2)} * ${Math.LOG2E};`;
}

/** Statements for every vec4 of a thread's scores, of row `r` and group `g`. */
function eachScore(plan: HeadPlan, statement: (r: number, g: number) => string): string {
  return groupsOf(plan).flatMap(({ g }) => THREAD_ROWS.map((r) => statement(r, g))).join("\n");
}

/** Declares for each group which of a thread's columns there are, of `count` from `from` on. */
function declareInside(plan: HeadPlan, from: string, count: string): string {
  return groupsOf(plan).map(({ g, first }) =>
    `    let inside${g} = vec4u(${from} + ${first}u + across * 4u) + vec4u(0u, 1u, 2u, 3u) <
      vec4u(${count});`
  ).join("\n");
}

/** A kernel in parts. */
function tiledAttention(plan: HeadPlan, finish: string, body: () => string): Tiled {
  return {
    threads: ATTENTION_THREADS,
    ...stagedVectors(plan),
    declarations: () => `${PICK}\n${finish}`,
    body,
  };
}

/** @param finds Whether it finds `delta`, rather than reads it. */
function queryGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["attentionGrad"],
  delta: View,
  finds: boolean,
  op: string,
  code: AttentionCode,
): void {
  const { q, k, out, dq } = args;
  const [batch, heads, queries, depth] = q.shape as [number, number, number, number];
  const plan = planHead(depth, MOST_COLUMNS, code);
  const operands = alongRows(args);
  const given = inputs(args, operands, delta);
  const byVec4 = depth % 4 === 0 && canVec4(dq);
  const dotsByVec4 = canVec4Rows(depth, out) && operands.g.binding.vec4 === true;
  const tiled = tiledAttention(
    plan,
    declareFinish("dq", plan, "params.queries", byVec4),
    () => queryGradBody(plan, operands, alongColumns("k", k), finds ? { dotsByVec4 } : null),
  );
  const found = finds ? `/deltas/${dotsByVec4}` : "";
  const views = finds
    ? [
      ...given.views.map((view) =>
        view.name === "delta" ? { ...view, access: "write" as const } : view
      ),
      { name: "out", view: out, access: "read", vec4: dotsByVec4 } as const,
    ]
    : given.views;
  runtime.dispatch({
    op,
    key: `attentionGrad/query/${codeKey(code)}/${given.key}/${byVec4}${found}`,
    source: () => tiledSource(tiled),
    tiled,
    views: [...views, { name: "dq", view: dq, access: "write", vec4: byVec4 }],
    u32: {
      ...given.u32,
      ...finds ? placeUniforms("out", out) : {},
      ...placeUniforms("dq", dq),
    },
    f32: given.f32,
    workgroups: Math.ceil(queries / ROWS) * plan.parts * batch * heads,
    flops: 6 * batch * heads * queries * k.shape[2]! * depth,
  });
}

function queryGradBody(
  plan: HeadPlan,
  { q, k, v, g }: Operands,
  keyColumns: StridedOperand,
  deltas: { readonly dotsByVec4: boolean } | null,
): string {
  const scores = scoresOf(plan);
  return `${placeWorkgroup(plan, "params.queries")}
  // Of the thread's four rows.
  ${perQueryStats("row0 + down * 4u")}
${
    deltas
      ? findDeltas(plan, deltas.dotsByVec4)
      : `  let deltas = ${perQuery("delta", "row0 + down * 4u")};`
  }
${declareCollected(plan, "dq")}
  for (var key0 = 0u; key0 < params.keys; key0 += ${scores.columns}u) {
${declareAccumulators(scores, "s")}
${multiplyHeads(plan, "s", q, "row0", k, "key0")}
${declareAccumulators(scores, "t")}
${multiplyHeads(plan, "t", g, "row0", v, "key0")}
${declareInside(plan, "key0", "params.keys")}
${
    eachScore(plan, (r, g) =>
      `    s${r}_${g} = select(vec4f(),
      exp2(min(s${r}_${g} - largest[${r}], vec4f()) * params.scaleLog2 - logSums[${r}]) *
      (t${r}_${g} - deltas[${r}]) * params.scale, inside${g});`)
  }
${collect(plan, "dq", "s", keyColumns, "key0", "params.keys")}
  }
${finishCollected(plan, "dq", "dq")}`;
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
  code: AttentionCode,
): void {
  const { q, k, g } = args;
  const [batch, heads, keys, depth] = k.shape as [number, number, number, number];
  const { dk, dv } = results;
  const plan = planHead(depth, dk && dv ? MOST_OF_BOTH : MOST_COLUMNS, code);
  const operands = alongRows(args);
  const given = inputs(args, operands, delta);
  const written = [dk, dv].filter((view) => view !== null);
  // One way for both: they may be windows of one array.
  const byVec4 = depth % 4 === 0 && written.every(canVec4);
  const names = [dk ? "dk" : "", dv ? "dv" : ""].filter(Boolean);
  const tiled = tiledAttention(
    plan,
    names.map((name) => declareFinish(name, plan, "params.keys", byVec4)).join("\n"),
    () => keyGradBody(plan, operands, dk && alongColumns("q", q), dv && alongColumns("g", g)),
  );
  runtime.dispatch({
    op,
    key: `attentionGrad/keys/${names.join("")}/${codeKey(code)}/${given.key}/` +
      `${byVec4}`,
    source: () => tiledSource(tiled),
    tiled,
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
    workgroups: Math.ceil(keys / ROWS) * plan.parts * batch * heads,
    flops: (dk ? dv ? 8 : 6 : 4) * batch * heads * q.shape[2]! * keys * depth,
  });
}

function keyGradBody(
  plan: HeadPlan,
  { q, k, v, g }: Operands,
  queryColumns: StridedOperand | null,
  gradColumns: StridedOperand | null,
): string {
  const names = [queryColumns ? "dk" : "", gradColumns ? "dv" : ""].filter(Boolean);
  const scores = scoresOf(plan);
  const groups = groupsOf(plan);
  // Of the thread's columns: scores lie transposed here.
  const at = (first: number): string => `query0 + ${first}u + across * 4u`;
  const valueGrad = gradColumns &&
    collect(plan, "dv", "s", gradColumns, "query0", "params.queries");
  const keyGrad = queryColumns && `
${declareAccumulators(scores, "t")}
${multiplyHeads(plan, "t", v, "row0", g, "query0")}
${
    groups.map(({ g, first }) => `    let deltas${g} = ${perQuery("delta", at(first))};`)
      .join("\n")
  }
${eachScore(plan, (r, g) => `    s${r}_${g} *= (t${r}_${g} - deltas${g}) * params.scale;`)}
${collect(plan, "dk", "s", queryColumns, "query0", "params.queries")}`;
  return `${placeWorkgroup(plan, "params.keys")}
${names.map((name) => declareCollected(plan, name)).join("\n")}
  for (var query0 = 0u; query0 < params.queries; query0 += ${scores.columns}u) {
${declareAccumulators(scores, "s")}
${multiplyHeads(plan, "s", k, "row0", q, "query0")}
${groups.map(({ g, first }) => `    ${perQueryStats(at(first), `${g}`)}`).join("\n")}
${declareInside(plan, "query0", "params.queries")}
${
    eachScore(plan, (r, g) =>
      `    s${r}_${g} = select(vec4f(),
      exp2(min(s${r}_${g} - largest${g}, vec4f()) * params.scaleLog2 - logSums${g}), inside${g});`)
  }
${valueGrad ?? ""}
${keyGrad ?? ""}
  }
${names.map((name) => finishCollected(plan, name, name)).join("\n")}`;
}
