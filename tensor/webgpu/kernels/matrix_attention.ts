/**
 * Attention on a GPU's matrix units: f16 queries, keys and values, with sums and softmax in f32
 * (FlashAttention-2, arXiv 2307.08691). Sums are corrected only where a row's scores have risen so far
 * that the weights, which are f16 in the second product, might leave its range (the lazy correction
 * of FlashAttention-4); every weight of a row is over the same number, whichever that is.
 */
import type { KernelArgs } from "../../kernels.ts";
import { canVec4 } from "../shader/accessors.ts";
import { MATRIX_DIRECTIVES } from "../device/matrices.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { type AttentionTile, attentionTile, tileRows } from "./matrix_attention_plan.ts";
import { Collected, Slice } from "./matrix_attention_slices.ts";
import {
  acrossRow,
  beginMain,
  columnOf,
  declareMemory,
  type HeadOperand,
  headOperand,
  lines,
  placeOf,
  range,
  tileKey,
  weighed,
} from "./matrix_attention_tile.ts";
import { liesApart } from "./matrix_product.ts";

/** Below any score; not an infinity, from which none can be subtracted. */
const LOWEST = "-3.0e38";
/** The binary logarithm of the largest weight. */
const MOST_RISEN = "8.0";

/** Runs attention on matrix units where it fits them; otherwise false, and nothing has run. */
export function matrixAttention(
  runtime: WebGpuRuntime,
  { q, k, v, scale, out, stats }: KernelArgs["attention"],
  op: string,
): boolean {
  const { attentionMatrices: unit, limits, traits } = runtime;
  if (unit === null || !canVec4(out)) return false;
  const [batch, heads, queries, depth] = q.shape as [number, number, number, number];
  const keys = k.shape[2]!;
  const operands = [headOperand("q", q), headOperand("k", k), headOperand("v", v)];
  if (!operands.every((operand) => operand !== null)) return false;
  if (!liesApart(operands, [out, stats])) return false;
  const tile = attentionTile(unit, depth, "forward", limits, traits);
  if (tile === null) return false;
  const [outer, inner, row] = out.strides as [number, number, number];
  runtime.dispatch({
    op,
    key: `attention/matrices/${tileKey(tile)}`,
    directives: MATRIX_DIRECTIVES,
    source: () => sourceOf(tile, operands),
    views: [
      ...operands.map(({ binding }) => binding),
      { name: "result", view: out, access: "write", vec4: true },
      { name: "stats", view: stats, access: "write" },
    ],
    u32: Object.assign(
      { heads, queries, keys, resultOuter: outer, resultInner: inner, resultRow: row },
      ...operands.map(({ uniforms }) => uniforms),
    ),
    // e^x is 2^(x log2 e).
    f32: { scale: scale * Math.LOG2E },
    workgroups: Math.ceil(queries / tileRows(tile)) * batch * heads,
    flops: 4 * batch * heads * queries * keys * depth,
  });
  return true;
}

function sourceOf(tile: AttentionTile, [q, k, v]: readonly HeadOperand[]): string {
  const { subgroups, columns } = tile;
  const queries = new Slice(tile, q!, "params.queries", 0);
  const [keys, values] = [k, v].map((each) => new Slice(tile, each!, "params.keys", 0)) as [
    Slice,
    Slice,
  ];
  const result = new Collected(tile, "result");
  const scores = weighed(tile);
  return lines([
    declareMemory(tile),
    "// Of each row: what its sums are to be multiplied by.",
    `var<workgroup> factors: array<f32, ${tileRows(tile)}>;`,
    "// Of each subgroup: whether a row's largest score has risen far.",
    `var<workgroup> risen: array<u32, ${subgroups}>;`,
    result.declareFinish("params.queries"),
    beginMain(tile, "params.queries"),
    queries.declare(),
    keys.declare(),
    values.declare(),
    queries.keep(),
    result.declare(),
    `  var largest = ${LOWEST};`,
    "  // What is subtracted from the row's scores: a largest one of its past.",
    `  var base = ${LOWEST};`,
    "  // Sum of the thread's own weights.",
    "  var total = 0.0;",
    keys.fetch("0u"),
    `  for (var key0 = 0u; key0 < params.keys; key0 += ${columns}u) {`,
    keys.store(),
    "    workgroupBarrier();",
    values.fetch("key0"),
    keys.scores(queries),
    "    workgroupBarrier();",
    values.store(),
    keys.fetch(`key0 + ${columns}u`),
    "    var top = largest;",
    ...scores.flatMap((i) => [
      `    let inside${i} = key0 + ${columnOf(tile, i)} < params.keys;`,
      `    let s${i} = ${placeOf(tile, "scores", i)};`,
      `    top = select(top, max(top, s${i}), inside${i});`,
    ]),
    acrossRow(tile, "top", (a, b) => `max(${a}, ${b})`),
    "    largest = top;",
    "    let isFirst = key0 == 0u;",
    `    let isFar = !isFirst && (largest - base) * params.scale > ${MOST_RISEN};`,
    "    let fade = select(1.0, exp2((base - largest) * params.scale), isFar);",
    "    base = select(base, largest, isFirst || isFar);",
    "    total *= fade;",
    "    let anyFar = subgroupAny(isFar);",
    "    if (part == 0u) { factors[mine] = fade; }",
    "    if (lane == 0u) { risen[id] = u32(anyFar); }",
    ...scores.flatMap((i) => [
      // Subtracted before they are scaled: the difference is exact, whatever their size.
      `    let p${i} = select(0.0, exp2((s${i} - base) * params.scale), inside${i});`,
      `    total += p${i};`,
      `    ${placeOf(tile, "weights", i)} = f16(p${i});`,
    ]),
    "    // The weights and the values are there, too, after that.",
    "    let far = workgroupUniformLoad(&risen);",
    `    if (${range(subgroups).map((i) => `far[${i}]`).join(" + ")} != 0u) {`,
    result.pass(
      lines(range(4).map((i) => `      scores[at + ${i}u] *= factors[row];`)),
      true,
    ),
    "    }",
    result.add(values),
    "    workgroupBarrier();",
    "  }",
    acrossRow(tile, "total", (a, b) => `${a} + ${b}`),
    "  if (part == 0u) {",
    "    factors[mine] = 1.0 / total;",
    "    if (row0 + mine < params.queries) {",
    "      let at = 2u * (batch * params.queries + row0 + mine);",
    "      stats_store(at, largest);",
    `      stats_store(at + 1u, ` +
    `(log2(total) + (base - largest) * params.scale) * ${Math.LN2});`,
    "    }",
    "  }",
    "  workgroupBarrier();",
    result.finish("factors[row]"),
    "}",
  ]);
}
