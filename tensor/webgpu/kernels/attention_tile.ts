/**
 * What the attention kernels share: a tile of 64 rows by 32 or 64 columns of scores, computed from
 * slices of the head's depth, and results of which a thread collects four rows. Both kinds of
 * product go through the same two staging arrays, which with the row reductions' fill at most the
 * 16 KiB of workgroup memory every GPU has, at any head size.
 *
 * A workgroup collects up to 128 columns of a result in registers. Wider heads (the one of 512 in
 * a VAE) are divided among workgroups that each compute the scores anew, which costs less than
 * writing the scores to memory.
 */
import {
  multiplyStaged,
  type Operand,
  type Staged,
  stageOperand,
  type Tile,
} from "../shader/tile.ts";
import type { AttentionCode } from "./attention_plan.ts";

/** Rows of a tile: queries, or keys in the gradients of keys and values. Columns are the other. */
export const ROWS = 64;
/** Columns that a workgroup's threads take by fours. */
export const GROUP = 32;
/** Threads of a workgroup down and across, of which each has four rows. */
export const DOWN = 16;
export const ACROSS = 8;
/** The rows of a thread. */
export const THREAD_ROWS: readonly number[] = [0, 1, 2, 3];
/** Invocations of a workgroup. */
export const ATTENTION_THREADS: number = DOWN * ACROSS;

/** How a head of `depth` is cut up. */
export interface HeadPlan {
  readonly depth: number;
  /** Depth staged at a time for scores: whole vec4s. */
  readonly slice: number;
  /** Groups of 32 columns a workgroup collects. */
  readonly chunks: number;
  /** What is left of a part's columns, in eights: 0 to 2. */
  readonly eights: number;
  /** Workgroups a head's columns are divided among. */
  readonly parts: number;
  /** Rows of the columns that are staged at a time. */
  readonly collected: number;
  readonly code: AttentionCode;
}

/** Cuts a head up so that a workgroup collects at most `most` columns, a multiple of 32 but for it. */
export function planHead(depth: number, most: number, code: AttentionCode): HeadPlan {
  const parts = Math.ceil(depth / most);
  const columns = parts === 1 ? depth : Math.ceil(depth / parts / GROUP) * GROUP;
  const rest = Math.ceil(columns % GROUP / 8);
  const chunks = Math.floor(columns / GROUP) + (rest > 2 ? 1 : 0);
  const eights = rest > 2 ? 0 : rest;
  const vectors = 8 * chunks + 2 * eights;
  return {
    depth,
    slice: sliceOf(depth, code.groups === 1 ? 32 : 16),
    chunks,
    eights,
    parts,
    collected: vectors <= 8 ? 32 : vectors <= 20 ? 16 : 8,
    code,
  };
}

/** The deepest slices of whole vec4s that leave no rest, or else slices alike. */
function sliceOf(depth: number, most: number): number {
  for (let slice = most; 2 * slice > most; slice -= 4) if (depth % slice === 0) return slice;
  return Math.ceil(depth / Math.ceil(depth / most) / 4) * 4;
}

/** vec4s of a row of a result's columns that a workgroup collects. */
function vectorsOf({ chunks, eights }: HeadPlan): number {
  return 8 * chunks + 2 * eights;
}

/** The tile of scores. */
export function scoresOf({ slice, code: { groups } }: HeadPlan): Tile {
  return {
    rows: ROWS,
    columns: GROUP * groups,
    threadRows: 4,
    threadColumns: 4 * groups,
    depth: slice,
  };
}

/** Distances in vec4s between the depths of what is staged. */
const LEFT_PITCH = ROWS / 4 + 1;

/** vec4s of both staging arrays. */
export function stagedVectors(plan: HeadPlan): { left: number; right: number } {
  const { slice, collected, code: { groups } } = plan;
  return {
    left: Math.max(slice, GROUP) * LEFT_PITCH,
    right: Math.max(slice * (groups * GROUP / 4 + 1), collected * (vectorsOf(plan) + 1)),
  };
}

/** vec4s of a tile's rows as long as whole heads, in slices of whole depth. */
function keptVectors({ depth, slice }: HeadPlan): number {
  return Math.ceil(depth / slice) * slice * LEFT_PITCH;
}

/** Bytes of workgroup memory with rows that are kept, and what each thread tells the others. */
export function bytesWithKept(plan: HeadPlan): number {
  const { left, right } = stagedVectors(plan);
  return 16 * (left + right + ATTENTION_THREADS + keptVectors(plan));
}

/** Declares the rows that are kept. */
export function declareKept(plan: HeadPlan): string {
  return `var<workgroup> kept: array<vec4f, ${keptVectors(plan)}>;`;
}

const KEPT = (place: string): string => `kept[d0 * ${LEFT_PITCH}u + ${place}]`;

/** Statements that stage rows from `origin` on once, for {@linkcode multiplyKept}. */
export function keepRows(plan: HeadPlan, rows: Operand, origin: string): string {
  const { depth, slice } = plan;
  return `
  for (var d0 = 0u; d0 < ${depth}u; d0 += ${slice}u) {
${stage(plan, "left", rows, origin, KEPT)}
  }`;
}

/** As {@linkcode multiplyHeads}, with rows that are kept. */
export function multiplyKept(
  plan: HeadPlan,
  name: string,
  right: Operand,
  columnOrigin: string,
): string {
  const { depth, slice, code } = plan;
  const scores = scoresOf(plan);
  return `
  for (var d0 = 0u; d0 < ${depth}u; d0 += ${slice}u) {
${stage(plan, "right", right, columnOrigin)}
    workgroupBarrier();
${multiplyStaged(scores, name, code, scores.depth, KEPT)}
    workgroupBarrier();
  }`;
}

/** What the kernels call. */
export const PICK = `
fn pick(v: vec4f, i: u32) -> f32 {
  let odd = (i & 1u) != 0u;
  return select(select(v.x, v.y, odd), select(v.z, v.w, odd), (i & 2u) != 0u);
}`;

/**
 * Statements that find the `row0` (of `rows`, a uniform) of the `number`-th workgroup, the head
 * (`batch`, `outer`, `inner`) and `column0`, the first column of its part.
 */
export function placeWorkgroup(plan: HeadPlan, rows: string): string {
  return `
  let tiles = (${rows} + ${ROWS - 1}u) / ${ROWS}u;
  let row0 = number % tiles * ${ROWS}u;
  let column0 = number / tiles % ${plan.parts}u * ${plan.chunks * GROUP}u;
  let batch = number / tiles / ${plan.parts}u;
  let outer = batch / params.heads;
  let inner = batch % params.heads;
  let down = thread / ${ACROSS}u;
  let across = thread % ${ACROSS}u;`;
}

/** Stages one operand of scores: depths from `d0` on, those beyond the head as 0. */
function stage(
  plan: HeadPlan,
  side: "left" | "right",
  operand: Operand,
  origin: string,
  array?: Staged,
): string {
  const { depth, slice } = plan;
  const { prepare, stage } = stageOperand(
    scoresOf(plan),
    side,
    operand,
    origin,
    depth % slice !== 0,
    array,
  );
  return `    {
    let k0 = d0;
    let kEnd = ${depth}u;${prepare}
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
  const { depth, slice, code } = plan;
  return `
  for (var d0 = 0u; d0 < ${depth}u; d0 += ${slice}u) {
${stage(plan, "left", left, rowOrigin)}
${stage(plan, "right", right, columnOrigin)}
    workgroupBarrier();
${multiplyStaged(scoresOf(plan), name, code)}
    workgroupBarrier();
  }`;
}

/** The groups of a tile's columns, with the first column of each after the tile's. */
export function groupsOf({ code: { groups } }: HeadPlan): { g: number; first: number }[] {
  return Array.from({ length: groups }, (_, g) => ({ g, first: g * GROUP }));
}

/** Stages a group of a thread's scores `name`, in registers, as the left operand of the next product. */
function stageScores(name: string, group: number): string {
  return ["x", "y", "z", "w"].map((c, j) =>
    `  left[(across * 4u + ${j}u) * ${LEFT_PITCH}u + down] = vec4f(${
      [0, 1, 2, 3].map((r) => `${name}${r}_${group}.${c}`).join(", ")
    });`
  ).join("\n");
}

/** Stages `collected` rows of a result's columns, from row `k0` on, those from `kEnd` on as 0. */
function stageColumns(plan: HeadPlan, operand: Operand): string {
  const { collected } = plan;
  const vectors = vectorsOf(plan);
  const pitch = vectors + 1;
  const deep = operand.order === "deep";
  const units = deep ? vectors * collected / 4 : vectors * collected;
  const lines: string[] = [];
  for (let first = 0; first < units; first += ATTENTION_THREADS) {
    const unit = `(thread + ${first}u)`;
    const [x4, k] = deep
      ? [`${unit} / ${collected / 4}u`, `${unit} % ${collected / 4}u * 4u`]
      : [`${unit} % ${vectors}u`, `${unit} / ${vectors}u`];
    lines.push(`    ${first + ATTENTION_THREADS > units ? `if (${unit} < ${units}u) ` : ""}{
      let x4 = ${x4};
      let row = ${k};
      let k = k0 + row;
${operand.prepare("(column0 + x4 * 4u)")}`);
    if (deep) {
      const inside = "(vec4u(k) + vec4u(0u, 1u, 2u, 3u)) < vec4u(kEnd)";
      for (const lane of [0, 1, 2, 3]) {
        lines.push(
          operand.load(`raw${lane}`, "k", lane),
          `      let part${lane} = select(vec4f(), raw${lane}, ${inside});`,
        );
      }
      ["x", "y", "z", "w"].forEach((c, i) =>
        lines.push(
          `      right[(row + ${i}u) * ${pitch}u + x4] = ` +
            `vec4f(part0.${c}, part1.${c}, part2.${c}, part3.${c});`,
        )
      );
    } else {
      lines.push(
        operand.load("value", "k", 0),
        `      right[row * ${pitch}u + x4] = select(vec4f(), value, k < kEnd);`,
      );
    }
    lines.push("    }");
  }
  return lines.join("\n");
}

/** A vec4 of a collected result: four columns of one of the thread's rows. */
interface Collected {
  readonly name: string;
  /** Which of the thread's four rows, as WGSL. */
  readonly row: string;
  /** First column within the part, as WGSL. */
  readonly column: string;
  /** Of a per-row vec4, the component of this one's row. */
  of(perRow: string): string;
}

/**
 * The vec4s of a result that a thread collects: four rows of each chunk, and of what is left of the
 * columns as many rows as give every thread whole vec4s.
 */
export function collectedOf({ chunks, eights }: HeadPlan, name: string): Collected[] {
  const list: Collected[] = [];
  for (let c = 0; c < chunks; c++) {
    for (let r = 0; r < 4; r++) {
      list.push({
        name: `${name}${c}_${r}`,
        row: `${r}u`,
        column: `${c * GROUP}u + across * 4u`,
        of: (perRow) => `${perRow}[${r}]`,
      });
    }
  }
  for (let i = 0; i < eights; i++) {
    const row = eights === 1 ? "(across >> 1u)" : `((across >> 2u) * 2u + ${i}u)`;
    list.push({
      name: `${name}Rest${i}`,
      row,
      column: `${chunks * GROUP}u + (across & ${2 * eights - 1}u) * 4u`,
      of: (perRow) => `pick(${perRow}, ${row})`,
    });
  }
  return list;
}

/** Declares them and sets them to 0. */
export function declareCollected(plan: HeadPlan, name: string): string {
  return collectedOf(plan, name).map((sum) => `  var ${sum.name} = vec4f();`).join("\n");
}

/** Steps of a product that are written out where the loop is not unrolled. */
const STEPS = 4;

/** `name += staged scores . staged columns`, over `collected` of the scores from `first` on, as WGSL. */
function multiplyColumns(plan: HeadPlan, name: string, first: string): string {
  const { chunks, eights, collected, code: { masked, unrolled } } = plan;
  const pitch = vectorsOf(plan) + 1;
  const place = (at: string, count: number): string => masked ? `(${at} & ${count - 1}u)` : at;
  const steps = unrolled ? collected : STEPS;
  const lines = unrolled ? [] : [`    for (var k = 0u; k < ${collected}u; k += ${steps}u) {`];
  for (let step = 0; step < steps; step++) {
    const depth = unrolled ? `${step}u` : `k + ${step}u`;
    lines.push(
      "      {",
      `        let l = left[(${first} + ${depth}) * ${LEFT_PITCH}u + ${place("down", DOWN)}];`,
    );
    const row = `right[(${depth}) * ${pitch}u + `;
    for (let c = 0; c < chunks; c++) {
      lines.push(
        `        let r${c} = ${row}${c * 8}u + ${place("across", ACROSS)}];`,
      );
    }
    if (eights > 0) {
      lines.push(`        let rest = ${row}${chunks * 8}u + (across & ${2 * eights - 1}u)];`);
    }
    collectedOf(plan, name).forEach((sum, i) => {
      const value = i < 4 * chunks ? `r${i >> 2}` : "rest";
      lines.push(`        ${sum.name} = fma(vec4f(${sum.of("l")}), ${value}, ${sum.name});`);
    });
    lines.push("      }");
  }
  if (!unrolled) lines.push("    }");
  return lines.join("\n");
}

/**
 * `name += scores . right`: the columns of the scores, in registers, are the depth of this product,
 * those from `origin` to `end` of the right operand's rows.
 */
export function collect(
  plan: HeadPlan,
  name: string,
  scores: string,
  right: Operand,
  origin: string,
  end: string,
): string {
  const { collected, code: { unrolled } } = plan;
  // Copies of the body are compiled as often, so only code that is written out has them.
  const loop = !unrolled && collected < GROUP;
  const lines: string[] = [];
  for (const { g, first } of groupsOf(plan)) {
    lines.push(stageScores(scores, g));
    const part = (at: string): string => `
    {
    let k0 = ${origin} + ${first}u + ${at};
    let kEnd = ${end};
${stageColumns(plan, right)}
    }
    workgroupBarrier();
${multiplyColumns(plan, name, at)}
    workgroupBarrier();`;
    if (loop) {
      lines.push(`  for (var at = 0u; at < ${GROUP}u; at += ${collected}u) {${part("at")}\n  }`);
    } else {
      for (let at = 0; at < GROUP; at += collected) lines.push(part(`${at}u`));
    }
  }
  return lines.join("\n");
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

/** Calls `RESULT_finish` for every collected vec4 of `name`; `value` makes one of it. */
export function finishCollected(
  plan: HeadPlan,
  name: string,
  result: string,
  value: (sum: Collected) => string = (sum) => sum.name,
): string {
  return collectedOf(plan, name).map((sum) =>
    `  ${result}_finish(outer, inner, row0 + down * 4u + ${sum.row}, column0 + ${sum.column},
    ${value(sum)});`
  ).join("\n");
}
