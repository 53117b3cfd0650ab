/** How attention is divided among a GPU's matrix units. */
import type { MatrixUnit } from "../device/matrices.ts";
import type { GpuTraits } from "../device/traits.ts";
import { GAP, VECTOR } from "./matrix_plan.ts";

/** Elements between the rows of scores, which are f32. */
const SCORE_GAP = 4;

/** How a workgroup divides a tile of scores. */
export interface AttentionTile {
  readonly unit: MatrixUnit;
  readonly subgroups: number;
  /** Matrices of a subgroup's rows. */
  readonly down: number;
  /** Columns of the scores. */
  readonly columns: number;
  /** Elements of a head. */
  readonly depth: number;
  /** Elements of a head, filled up to whole matrices. */
  readonly width: number;
  /** Tiles of other operands that lie in workgroup memory at once. */
  readonly slices: number;
}

/** Kernels, by how much they keep in registers. */
export type AttentionPart = "forward" | "queries" | "keys";

/**
 * Of each kernel: tiles of other operands at once, the largest head, and columns by preference. Not
 * measured: sums, rows and scores of the tile that is tried first take up to 200 registers of a thread
 * where subgroups have 32.
 */
const PARTS: Readonly<
  Record<AttentionPart, { slices: number; mostDepth: number; columns: readonly number[] }>
> = {
  forward: { slices: 1, mostDepth: 128, columns: [64, 32, 16] },
  queries: { slices: 1, mostDepth: 128, columns: [64, 32, 16] },
  keys: { slices: 2, mostDepth: 96, columns: [32, 16] },
};

/** Rows of a subgroup at least, where it has as many threads. */
const ROWS = 16;

/** Rows of a subgroup. */
export function subgroupRows({ unit, down }: AttentionTile): number {
  return unit.m * down;
}

/** Rows of a workgroup. */
export function tileRows(tile: AttentionTile): number {
  return tile.subgroups * subgroupRows(tile);
}

/** Elements from a row of a slice, of weights and of scores to the next. */
export function pitchesOf({ width, columns }: AttentionTile): Record<
  "slice" | "weights" | "scores",
  number
> {
  return { slice: width + GAP, weights: columns + GAP, scores: columns + SCORE_GAP };
}

/** Bytes of workgroup memory that a tile takes. */
export function attentionTileBytes(tile: AttentionTile): number {
  const pitches = pitchesOf(tile);
  const rows = tileRows(tile);
  const slices = 2 * tile.slices * tile.columns * pitches.slice;
  const numbers = 4 * (Math.max(rows, 3 * tile.columns) + tile.subgroups);
  return slices + rows * (2 * pitches.weights + 4 * pitches.scores) + numbers;
}

/** The tile of a kernel for heads of this depth; null where none fits. */
export function attentionTile(
  unit: MatrixUnit,
  depth: number,
  part: AttentionPart,
  { maxComputeWorkgroupStorageSize: bytes, maxComputeInvocationsPerWorkgroup: most }: Pick<
    GPUSupportedLimits,
    "maxComputeWorkgroupStorageSize" | "maxComputeInvocationsPerWorkgroup"
  >,
  { writtenOut }: Pick<GpuTraits, "writtenOut">,
): AttentionTile | null {
  const { m, n, k, subgroup } = unit;
  const { slices, mostDepth, columns: choices } = PARTS[part];
  const isPower = [m, n, k, subgroup].every((size) => (size & (size - 1)) === 0);
  if (!isPower || m > subgroup || depth > mostDepth || depth % VECTOR !== 0) return null;
  const whole = Math.max(n, k, VECTOR);
  const width = Math.ceil(depth / whole) * whole;
  const down = Math.max(1, Math.min(ROWS, subgroup) / m);
  // Programs that act as a GPU compile longer kernels for minutes.
  for (const subgroups of writtenOut ? [4, 2] : [2]) {
    for (const columns of writtenOut ? choices : choices.slice(-1)) {
      if (columns % whole !== 0 || subgroups * subgroup > most) continue;
      const tile = { unit, subgroups, down, columns, depth, width, slices };
      if (attentionTileBytes(tile) <= bytes) return tile;
    }
  }
  return null;
}
