/**
 * Gradients of attention on a GPU's matrix units, as attention_grad.ts has them, with f16 operands and
 * sums in f32: the gradients of scores are f16 before they are scaled.
 */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { canVec4, type ViewBinding } from "../shader/accessors.ts";
import { MATRIX_DIRECTIVES } from "../device/matrices.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { type AttentionTile, attentionTile, tileRows } from "./matrix_attention_plan.ts";
import { Collected, Slice } from "./matrix_attention_slices.ts";
import {
  beginMain,
  columnOf,
  declareMemory,
  type HeadOperand,
  headOperand,
  lines,
  placeOf,
  tileKey,
  weighed,
} from "./matrix_attention_tile.ts";
import { liesApart } from "./matrix_product.ts";

type Operands = Readonly<Record<"q" | "k" | "v" | "g", HeadOperand>>;

/** What one of the kernels is launched with. */
interface Launch {
  readonly part: "queries" | "keys";
  readonly results: Readonly<Record<string, View>>;
  /** Operations of a pair of a query and a key, by element of a head. */
  readonly operations: number;
  source(tile: AttentionTile, operands: Operands): string;
}

/** The gradient of the queries on matrix units where it fits them; otherwise false. */
export function matrixQueryGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["attentionGrad"],
  delta: View,
  op: string,
): boolean {
  const results = { dq: args.dq };
  const source = queryGradSource;
  return launch(runtime, args, delta, op, { part: "queries", results, operations: 6, source });
}

/** The gradients of the keys and values on matrix units where they fit them; otherwise false. */
export function matrixKeyGrad(
  runtime: WebGpuRuntime,
  args: KernelArgs["attentionGrad"],
  delta: View,
  op: string,
): boolean {
  const results = { dk: args.dk, dv: args.dv };
  const source = keyGradSource;
  return launch(runtime, args, delta, op, { part: "keys", results, operations: 8, source });
}

function launch(
  runtime: WebGpuRuntime,
  { q, k, v, g, stats, scale }: KernelArgs["attentionGrad"],
  delta: View,
  op: string,
  { part, results, operations, source }: Launch,
): boolean {
  const { attentionMatrices: unit, limits, traits } = runtime;
  const written = Object.values(results);
  if (unit === null || !written.every(canVec4)) return false;
  const [batch, heads, queries, depth] = q.shape as [number, number, number, number];
  const keys = k.shape[2]!;
  const found = Object.entries({ q, k, v, g }).map(([name, view]) => headOperand(name, view));
  if (!found.every((operand) => operand !== null)) return false;
  const [queryRows, keyRows, valueRows, gradRows] = found;
  if (!liesApart(found, written)) return false;
  const tile = attentionTile(unit, depth, part, limits, traits);
  if (tile === null) return false;
  const operands = { q: queryRows!, k: keyRows!, v: valueRows!, g: gradRows! };
  const u32: Record<string, number> = { heads, queries, keys };
  for (const { uniforms } of found) Object.assign(u32, uniforms);
  const outputs = Object.entries(results).map(([name, view]): ViewBinding => {
    const [outer, inner, row] = view.strides as [number, number, number];
    Object.assign(u32, {
      [`${name}Outer`]: outer,
      [`${name}Inner`]: inner,
      [`${name}Row`]: row,
    });
    return { name, view, access: "write", vec4: true };
  });
  const rows = part === "queries" ? queries : keys;
  runtime.dispatch({
    op,
    key: `attentionGrad/matrices/${part}/${tileKey(tile)}`,
    directives: MATRIX_DIRECTIVES,
    source: () => source(tile, operands),
    views: [
      ...found.map(({ binding }) => binding),
      { name: "stats", view: stats, access: "read" },
      { name: "delta", view: delta, access: "read" },
      ...outputs,
    ],
    u32,
    f32: { scale, scaleLog2: scale * Math.LOG2E },
    workgroups: Math.ceil(rows / tileRows(tile)) * batch * heads,
    flops: operations * batch * heads * queries * keys * depth,
  });
  return true;
}

/** WGSL of a probability from its score and its query's statistics. */
function probability(score: string, largest: string, logSum: string): string {
  return `exp2(min(${score} - ${largest}, 0.0) * params.scaleLog2 - ${logSum} * ${Math.LOG2E})`;
}

function queryGradSource(tile: AttentionTile, { q, k, v, g }: Operands): string {
  const { columns } = tile;
  const [queries, grads] = [q, g].map((each) => new Slice(tile, each, "params.queries", 0));
  const [keys, values] = [k, v].map((each) => new Slice(tile, each, "params.keys", 0));
  const dq = new Collected(tile, "dq");
  const scores = weighed(tile);
  return lines([
    declareMemory(tile),
    dq.declareFinish("params.queries"),
    beginMain(tile, "params.queries"),
    ...[queries, grads, keys, values].map((slice) => slice!.declare()),
    queries!.keep(),
    grads!.keep(),
    dq.declare(),
    "  let place = batch * params.queries + min(row0 + mine, params.queries - 1u);",
    "  let largest = stats_load(2u * place);",
    "  let logSum = stats_load(2u * place + 1u);",
    "  let meanGrad = delta_load(place);",
    values!.fetch("0u"),
    `  for (var key0 = 0u; key0 < params.keys; key0 += ${columns}u) {`,
    values!.store(),
    "    workgroupBarrier();",
    keys!.fetch("key0"),
    values!.scores(grads!),
    "    workgroupBarrier();",
    keys!.store(),
    values!.fetch(`key0 + ${columns}u`),
    ...scores.map((i) => `    let t${i} = ${placeOf(tile, "scores", i)} - meanGrad;`),
    "    workgroupBarrier();",
    keys!.scores(queries!),
    "    workgroupBarrier();",
    ...scores.flatMap((i) => [
      `    let p${i} = ${probability(placeOf(tile, "scores", i), "largest", "logSum")};`,
      `    ${placeOf(tile, "weights", i)} = f16(select(0.0, p${i} * t${i},
      key0 + ${columnOf(tile, i)} < params.keys));`,
    ]),
    "    workgroupBarrier();",
    dq.add(keys!),
    "    workgroupBarrier();",
    "  }",
    dq.finish("params.scale"),
    "}",
  ]);
}

function keyGradSource(tile: AttentionTile, { q, k, v, g }: Operands): string {
  const { columns, subgroups, unit } = tile;
  const threads = subgroups * unit.subgroup;
  const queries = new Slice(tile, q, "params.queries", 0);
  const grads = new Slice(tile, g, "params.queries", 1);
  const [keys, values] = [k, v].map((each) => new Slice(tile, each, "params.keys", 0));
  const [dk, dv] = [new Collected(tile, "dk"), new Collected(tile, "dv")];
  const scores = weighed(tile);
  const statistic = (number: number, i: number): string =>
    `statistics[${number * columns}u + ${columnOf(tile, i)}]`;
  return lines([
    declareMemory(tile),
    "// Of each query: its largest score, the logarithm of its sum, and its mean gradient.",
    `var<workgroup> statistics: array<f32, ${3 * columns}>;`,
    dk.declareFinish("params.keys"),
    dv.declareFinish("params.keys"),
    beginMain(tile, "params.keys"),
    ...[keys, values, queries, grads].map((slice) => slice!.declare()),
    keys!.keep(),
    values!.keep(),
    dk.declare(),
    dv.declare(),
    queries.fetch("0u"),
    grads.fetch("0u"),
    `  for (var query0 = 0u; query0 < params.queries; query0 += ${columns}u) {`,
    queries.store(),
    grads.store(),
    `    for (var i = thread; i < ${columns}u; i += ${threads}u) {`,
    "      let place = batch * params.queries + min(query0 + i, params.queries - 1u);",
    "      statistics[i] = stats_load(2u * place);",
    `      statistics[${columns}u + i] = stats_load(2u * place + 1u);`,
    `      statistics[${2 * columns}u + i] = delta_load(place);`,
    "    }",
    "    workgroupBarrier();",
    queries.fetch(`query0 + ${columns}u`),
    grads.fetch(`query0 + ${columns}u`),
    queries.scores(keys!),
    "    workgroupBarrier();",
    ...scores.flatMap((i) => [
      `    let p${i} = select(0.0, ${
        probability(placeOf(tile, "scores", i), statistic(0, i), statistic(1, i))
      },
      query0 + ${columnOf(tile, i)} < params.queries);`,
      `    ${placeOf(tile, "weights", i)} = f16(p${i});`,
    ]),
    "    workgroupBarrier();",
    dv.add(grads),
    grads.scores(values!),
    "    workgroupBarrier();",
    ...scores.map((i) =>
      `    ${placeOf(tile, "weights", i)} = ` +
      `f16(p${i} * (${placeOf(tile, "scores", i)} - ${statistic(2, i)}));`
    ),
    "    workgroupBarrier();",
    dk.add(queries),
    "    workgroupBarrier();",
    "  }",
    dk.finish("params.scale"),
    dv.finish("1.0"),
    "}",
  ]);
}
