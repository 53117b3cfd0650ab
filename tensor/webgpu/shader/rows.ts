/**
 * Kernels that reduce rows: a few threads share a row, and add (or compare) what they found
 * through workgroup memory or, where that was measured to be faster, from register to register, in
 * an order that depends on the width alone.
 *
 * Rows are read once for each pass over them. Passes after the first find them in the cache,
 * which holds the few rows a workgroup works on.
 */
import type { View } from "../../view.ts";
import type { Subgroups } from "../device/subgroups.ts";
import { canVec4 } from "./accessors.ts";

/** How a workgroup is spread over rows. */
export interface RowLayout {
  /** Threads that share a row, and rows of a workgroup: powers of two. */
  readonly lanes: number;
  readonly rows: number;
  /** Whether a thread reads four neighbours at a time. */
  readonly byVec4: boolean;
  /** Lanes that find what others have found in their registers; 0 for none. */
  readonly subgroup: number;
}

/** What rows are planned by. */
export interface RowPlans {
  /** How rows are reduced where so many lanes share one, if not through workgroup memory. */
  readonly rows: Readonly<Record<string, "subgroups">>;
}

/** A GPU, as far as rows are concerned. */
export interface RowGpu {
  readonly plans: RowPlans;
  readonly subgroups: Subgroups | null;
}

const MOST_LANES = 256;
const FEWEST_THREADS = 64;

/** About four reads of a row a thread, in workgroups of 64 to 256 threads. */
export function rowLayout(
  width: number,
  byVec4: boolean,
  { plans, subgroups }: RowGpu,
): RowLayout {
  const reads = byVec4 ? width / 4 : width;
  let lanes = 1;
  while (lanes * 4 < reads && lanes < MOST_LANES) lanes *= 2;
  const isShared = plans.rows[lanes] === "subgroups" && subgroups !== null;
  return {
    lanes,
    rows: Math.max(1, FEWEST_THREADS / lanes),
    byVec4,
    subgroup: isShared ? Math.min(lanes, subgroups.size) : 0,
  };
}

/** Whether contiguous rows of `width` elements can be read by vec4s from all of these arrays. */
export function canVec4Rows(width: number, ...views: readonly (View | null)[]): boolean {
  return width % 4 === 0 && views.every((view) => view === null || canVec4(view));
}

/** Names a layout in the key of a kernel. */
export function layoutKey({ lanes, byVec4, subgroup }: RowLayout): string {
  return `${lanes}${byVec4 ? "x4" : ""}${subgroup > 0 ? `s${subgroup}` : ""}`;
}

/** Workgroups for `count` rows. */
export function rowGroups(layout: RowLayout, count: number): number {
  return Math.ceil(count / layout.rows);
}

/** A value of each lane of a row combined: `fn NAME(thread: u32, value: TYPE) -> TYPE`. */
export interface RowReduction {
  readonly name: string;
  readonly combine: "+" | "max";
  readonly type: "f32" | "vec2f";
}

function declareReduction(layout: RowLayout, reduction: RowReduction): string {
  if (layout.subgroup > 0) return declareBySubgroups(layout, reduction);
  const { name, combine, type } = reduction;
  const { lanes, rows } = layout;
  const steps: string[] = [];
  for (let half = lanes / 2; half >= 1; half /= 2) {
    const other = `${name}_values[thread + ${half}u]`;
    const update = combine === "+" ? `+= ${other}` : `= max(${name}_values[thread], ${other})`;
    steps.push(`  if (thread % ${lanes}u < ${half}u) { ${name}_values[thread] ${update}; }
  workgroupBarrier();`);
  }
  return `
var<workgroup> ${name}_values: array<${type}, ${lanes * rows}>;
fn ${name}(thread: u32, value: ${type}) -> ${type} {
  ${name}_values[thread] = value;
  workgroupBarrier();
${steps.join("\n")}
  let result = ${name}_values[thread - thread % ${lanes}u];
  // No thread may start the next reduction before all have read this one's result.
  workgroupBarrier();
  return result;
}`;
}

/**
 * The same in the same order, so with the same bits: first across subgroups, which takes workgroup
 * memory, then within them. Neither depends on how large a subgroup is beyond `subgroup` lanes.
 */
function declareBySubgroups(layout: RowLayout, { name, combine, type }: RowReduction): string {
  const { lanes, rows, subgroup } = layout;
  const both = (a: string, b: string): string =>
    combine === "+" ? `(${a} + ${b})` : `max(${a}, ${b})`;
  let parts = Array.from(
    { length: lanes / subgroup },
    (_, i) => `${name}_values[first + ${i * subgroup}u]`,
  );
  while (parts.length > 1) {
    const half = parts.length / 2;
    parts = parts.slice(0, half).map((part, i) => both(part, parts[half + i]!));
  }
  const steps: string[] = [];
  for (let half = subgroup / 2; half >= 1; half /= 2) {
    steps.push(`  result = ${both("result", `subgroupShuffleXor(result, ${half}u)`)};`);
  }
  const isWithin = lanes === subgroup;
  return `
${isWithin ? "" : `var<workgroup> ${name}_values: array<${type}, ${lanes * rows}>;`}
fn ${name}(thread: u32, value: ${type}) -> ${type} {
  var result = value;
${
    isWithin ? "" : `  ${name}_values[thread] = value;
  workgroupBarrier();
  let first = thread - thread % ${lanes}u + thread % ${subgroup}u;
  result = ${parts[0]};
  // No thread may start the next reduction before all have read the values of this one.
  workgroupBarrier();`
  }
${steps.join("\n")}
  return result;
}`;
}

/**
 * A kernel over `params.rows` rows. `body` finds `row`, `lane` and `thread`. Steps along a row go
 * `for (var i = lane * STEP; i < width; i += LANES * STEP)`, each over a `T` (f32 or vec4f), whose
 * elements `total` adds up. All threads reach the barriers of reductions, those without a row of
 * their own with the last one: stores go into `if (live) { }`.
 */
export function rowKernel(
  layout: RowLayout,
  reductions: readonly RowReduction[],
  body: string,
): string {
  const { lanes, rows, byVec4 } = layout;
  return `
alias T = ${byVec4 ? "vec4f" : "f32"};
const STEP = ${byVec4 ? 4 : 1}u;
const LANES = ${lanes}u;
fn total(x: T) -> f32 { return ${byVec4 ? "(x.x + x.y) + (x.z + x.w)" : "x"}; }
${reductions.map((r) => declareReduction(layout, r)).join("\n")}
@compute @workgroup_size(${lanes * rows})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = linear_group(workgroup);
  if (number >= params.grid_count) { return; }
  let wanted = number * ${rows}u + thread / ${lanes}u;
  let live = wanted < params.rows;
  let row = min(wanted, params.rows - 1u);
  let lane = thread % ${lanes}u;
${body}
}
`;
}

/** The head of a loop over a thread's elements, numbered `i`, of the first `width` of a row. */
export function alongRow(width: string): string {
  return `for (var i = lane * STEP; i < ${width}; i += LANES * STEP)`;
}
