/**
 * What the attention kernels share: a tile of 64 rows by 32 columns of scores, computed from
 * slices of the head's depth, and results that are collected 32 columns at a time. Both kinds of
 * product go through the same two staging arrays, which with the row reductions' fill 15 of the 16
 * KiB of workgroup memory every GPU has, at any head size.
 *
 * A workgroup collects up to 128 columns of a result in registers. Wider heads (the one of 512 in
 * a VAE) are divided among workgroups that each compute the scores anew, which costs less than
 * writing the scores to memory.
 */
import { PLAIN_CODE } from "./product_plan.ts";
import {
  multiplyStaged,
  type Operand,
  stageOperand,
  threadsOf,
  type Tile,
} from "../shader/tile.ts";

/** Rows are queries (or keys, in the gradients of keys and values), columns the other. */
export const SCORES: Tile = { rows: 64, columns: 32, threadRows: 4, threadColumns: 4, depth: 32 };
/** Invocations of a workgroup. */
export const ATTENTION_THREADS: number = threadsOf(SCORES).all;

/** How a head of `depth` is cut up. */
export interface HeadPlan {
  readonly depth: number;
  /** Depth staged at a time for scores: even slices of at most 32, whole vec4s. */
  readonly slice: number;
  /** Groups of 32 columns a workgroup collects. */
  readonly chunks: number;
  /** Workgroups a head's columns are divided among. */
  readonly parts: number;
}

/** Cuts a head up so that a workgroup collects at most `mostChunks` groups of 32 columns. */
export function planHead(depth: number, mostChunks: number): HeadPlan {
  const slices = Math.ceil(depth / SCORES.depth);
  const parts = Math.ceil(slices / mostChunks);
  return {
    depth,
    slice: Math.ceil(depth / slices / 4) * 4,
    chunks: Math.ceil(slices / parts),
    parts,
  };
}

/**
 * Statements that find the workgroup's `row0` (of `rows`, a uniform), the head (`batch`, `outer`,
 * `inner`) and `column0`, the first column of its part.
 */
export function placeWorkgroup(plan: HeadPlan, rows: string): string {
  return `
  let number = linear_group(workgroup);
  if (number >= params.grid_count) { return; }
  let tiles = (${rows} + ${SCORES.rows - 1}u) / ${SCORES.rows}u;
  let row0 = number % tiles * ${SCORES.rows}u;
  let column0 = number / tiles % ${plan.parts}u * ${plan.chunks * 32}u;
  let batch = number / tiles / ${plan.parts}u;
  let outer = batch / params.heads;
  let inner = batch % params.heads;
  let down = thread / ${threadsOf(SCORES).across}u;
  let across = thread % ${threadsOf(SCORES).across}u;`;
}

/** Stages one operand: depths from `k0`, those from `kEnd` on as 0 where `ragged`. */
function stage(
  side: "left" | "right",
  operand: Operand,
  origin: string,
  depth: number,
  k0: string,
  kEnd: string,
  ragged: boolean,
): string {
  const { prepare, stage } = stageOperand(
    { ...SCORES, depth },
    side,
    operand,
    origin,
    ragged,
  );
  return `    {
    let k0 = ${k0};
    let kEnd = ${kEnd};${prepare}
${stage}
    }`;
}

/**
 * `name += left . right` over the depth of the head: a tile of scores, or of gradients of
 * probabilities. Rows begin at `rowOrigin`, columns at `columnOrigin`.
 */
export function multiplyHeads(
  plan: HeadPlan,
  name: string,
  left: Operand,
  rowOrigin: string,
  right: Operand,
  columnOrigin: string,
): string {
  const { depth, slice } = plan;
  const ragged = depth % slice !== 0;
  return `
  for (var d0 = 0u; d0 < ${depth}u; d0 += ${slice}u) {
${stage("left", left, rowOrigin, slice, "d0", `${depth}u`, ragged)}
${stage("right", right, columnOrigin, slice, "d0", `${depth}u`, ragged)}
    workgroupBarrier();
${multiplyStaged(SCORES, name, PLAIN_CODE, slice)}
    workgroupBarrier();
  }`;
}

/** Stages a thread's scores `name`, in registers, as the left operand of the next product. */
export function stageScores(name: string): string {
  const pitch = SCORES.rows / 4 + 1;
  return ["x", "y", "z", "w"].map((c, j) =>
    `  left[(across * 4u + ${j}u) * ${pitch}u + down] = vec4f(${
      [0, 1, 2, 3].map((r) => `${name}${r}_0.${c}`).join(", ")
    });`
  ).join("\n");
}

/**
 * `name{chunk}_ += staged scores . right`, for each chunk of the part's columns: the scores'
 * columns, from `origin` to `end`, are the depth of this product.
 */
export function collect(
  plan: HeadPlan,
  name: string,
  right: Operand,
  origin: string,
  end: string,
): string {
  return chunkNames(plan, name).map((chunk, c) => `
${stage("right", right, `(column0 + ${c * 32}u)`, SCORES.columns, origin, end, true)}
    workgroupBarrier();
${multiplyStaged(SCORES, chunk, PLAIN_CODE)}
    workgroupBarrier();`).join("\n");
}

/** Names of the accumulators of each chunk of a collected result. */
export function chunkNames(plan: HeadPlan, name: string): string[] {
  return Array.from({ length: plan.chunks }, (_, c) => `${name}${c}_`);
}

/**
 * WGSL `fn NAME_finish(outer, inner, row, column, value)` that stores four columns of a result
 * [outer, inner, rows, depth] with unit inner stride.
 */
export function declareFinish(
  name: string,
  plan: HeadPlan,
  rows: string,
  byVec4: boolean,
): string {
  const place = `outer * params.${name}Outer + inner * params.${name}Inner + ` +
    `row * params.${name}Row + column`;
  const stores = byVec4
    ? `${name}_store4(at, value);`
    : [0, 1, 2, 3].map((j) =>
      `if (column + ${j}u < ${plan.depth}u) { ${name}_store(at + ${j}u, value[${j}]); }`
    ).join("\n  ");
  return `
fn ${name}_finish(outer: u32, inner: u32, row: u32, column: u32, value: vec4f) {
  if (row >= ${rows} || column >= ${plan.depth}u) { return; }
  let at = ${place};
  ${stores}
}`;
}
