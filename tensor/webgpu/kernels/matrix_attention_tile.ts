/**
 * What attention's kernels on matrix units share: each subgroup has rows of its own, which stay in
 * registers as matrices of f16, while tiles of the other operands pass by in workgroup memory. Threads
 * do not know which elements of a matrix they hold, so scores go through workgroup memory.
 */
import type { View } from "../../view.ts";
import type { ViewBinding } from "../shader/accessors.ts";
import { type AttentionTile, pitchesOf, subgroupRows, tileRows } from "./matrix_attention_plan.ts";
import { VECTOR } from "./matrix_plan.ts";

/** An operand [outer, inner, rows, depth] that is read by vectors of 8 elements of a head. */
export interface HeadOperand {
  readonly name: string;
  readonly binding: ViewBinding;
  readonly uniforms: Readonly<Record<string, number>>;
}

/** `view` as such an operand; null where it cannot be read by vectors. */
export function headOperand(name: string, view: View): HeadOperand | null {
  const { dtype, offset, shape, strides } = view;
  if (dtype !== "f16" || offset % VECTOR !== 0 || shape[3]! % VECTOR !== 0) return null;
  if (strides[3] !== 1) return null;
  for (const axis of [0, 1, 2]) {
    if (shape[axis] !== 1 && strides[axis]! % VECTOR !== 0) return null;
  }
  return {
    name,
    binding: { name, view, access: "read", vec8: true },
    uniforms: {
      [`${name}Outer`]: strides[0]!,
      [`${name}Inner`]: strides[1]!,
      [`${name}Row`]: strides[2]!,
    },
  };
}

/** The numbers below `count`. */
export const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Joins lines of WGSL. */
export const lines = (list: readonly string[]): string => list.join("\n");

/** Names a tile in the key of a kernel. */
export function tileKey({ depth, columns, subgroups }: AttentionTile): string {
  return `${depth}/${columns}x${subgroups}`;
}

/** Declares workgroup memory: `slice0` and so on, `scores`, `weights`. */
export function declareMemory(tile: AttentionTile): string {
  const { slices, columns } = tile;
  const pitches = pitchesOf(tile);
  const rows = tileRows(tile);
  return lines([
    // Elements beyond the head are never written: they stay 0, as workgroup memory begins.
    ...range(slices).map((i) =>
      `var<workgroup> slice${i}: array<f16, ${columns * pitches.slice}>;`
    ),
    `var<workgroup> scores: array<f32, ${rows * pitches.scores}>;`,
    `var<workgroup> weights: array<f16, ${rows * pitches.weights}>;`,
  ]);
}

/**
 * The head of `fn main`: finds `row0` (of `rows`, a uniform), the head (`batch`, `outer`, `inner`), the
 * subgroup's first row `own` in the tile, and of the thread the row `mine` in the tile that it weighs
 * `part` of.
 */
export function beginMain(tile: AttentionTile, rows: string): string {
  const { unit, subgroups } = tile;
  const own = subgroupRows(tile);
  const all = tileRows(tile);
  return `@compute @workgroup_size(${subgroups * unit.subgroup})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) id: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let number = linear_group(workgroup);
  if (number >= params.grid_count) { return; }
  let tiles = (${rows} + ${all - 1}u) / ${all}u;
  let row0 = number % tiles * ${all}u;
  let batch = number / tiles;
  let outer = batch / params.heads;
  let inner = batch % params.heads;
  let own = id * ${own}u;
  let mine = own + lane / ${lanesOf(tile)}u;
  let part = lane % ${lanesOf(tile)}u;`;
}

/** Threads that share a row of scores. */
export function lanesOf(tile: AttentionTile): number {
  return tile.unit.subgroup / subgroupRows(tile);
}

/** Scores of a row that a thread weighs: every `lanesOf`-th, from `part` on. */
export function weighed(tile: AttentionTile): number[] {
  return range(tile.columns / lanesOf(tile));
}

/** The column of a thread's `i`-th score. */
export function columnOf(tile: AttentionTile, i: number): string {
  return `part + ${i * lanesOf(tile)}u`;
}

/** The place of a thread's `i`-th score in `scores` or `weights`. */
export function placeOf(tile: AttentionTile, array: "scores" | "weights", i: number): string {
  return `${array}[mine * ${pitchesOf(tile)[array]}u + ${columnOf(tile, i)}]`;
}

/** WGSL that combines a number of all threads that share a row. */
export function acrossRow(
  tile: AttentionTile,
  name: string,
  combine: (a: string, b: string) => string,
): string {
  const steps: string[] = [];
  for (let mask = 1; mask < lanesOf(tile); mask *= 2) {
    steps.push(`    ${name} = ${combine(name, `subgroupShuffleXor(${name}, ${mask}u)`)};`);
  }
  return lines(steps);
}
