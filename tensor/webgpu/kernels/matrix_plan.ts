/** How products of f16 are divided among a GPU's matrix units. */
import type { MatrixUnit } from "../device/matrices.ts";
import type { GpuTraits } from "../device/traits.ts";
import type { ProductSize } from "./size_class.ts";

/** What a tile is made of, whatever the matrices are. */
export interface MatrixTiling {
  /** Matrices of a subgroup, both down and across. */
  readonly matrices: number;
  /** Depth staged at a time. */
  readonly depth: number;
}

/** How a product of one shape is computed. */
export interface MatrixPlan extends MatrixTiling {
  /** Parts of the depth, each summed by workgroups of its own. */
  readonly splits: number;
}

/** How a workgroup divides its tile. */
export interface MatrixTile extends MatrixTiling {
  readonly unit: MatrixUnit;
  readonly rows: number;
  readonly columns: number;
  readonly threads: number;
}

/** Subgroups of a workgroup. */
export const SUBGROUPS = { down: 2, across: 2 } as const;

/**
 * Taken where nothing was measured, the best first. Measured on an H200 (8192 x 4608 x 1152, matrices
 * of 16 x 16 x 16, slices 32 deep read ahead, TFLOPS of x wT and g w): 171 and 186; 64 deep 162 and
 * 163; 2 x 4 subgroups 145; operands straight from storage 55 and 73.
 */
const USUAL_TILINGS: readonly MatrixTiling[] = [
  { matrices: 4, depth: 32 },
  { matrices: 4, depth: 16 },
];
/** For programs that act as a GPU, which compile longer kernels for minutes. */
const SHORT_TILINGS: readonly MatrixTiling[] = [{ matrices: 2, depth: 16 }];

/** All that are measured. */
export const MATRIX_TILINGS: readonly MatrixTiling[] = [4, 2].flatMap((matrices) =>
  [32, 16, 64].map((depth) => ({ matrices, depth }))
);

/** f16 of a vector of 16 bytes, by which operands are read. */
export const VECTOR = 8;
/** Elements between the rows of a staged slice, so that a matrix's lie in different banks. */
export const GAP = 8;

/** Bytes of workgroup memory that a tile takes at most, whichever way its operands lie. */
export function matrixTileBytes({ unit, rows, columns, depth }: MatrixTile): number {
  const slice = (along: number) => 2 * Math.max(along * (depth + GAP), depth * (along + GAP));
  const results = 4 * SUBGROUPS.down * SUBGROUPS.across * unit.m * unit.n;
  return slice(rows) + slice(columns) + results;
}

/** What a workgroup is given. */
export type WorkgroupLimits = Pick<
  GPUSupportedLimits,
  "maxComputeWorkgroupStorageSize" | "maxComputeInvocationsPerWorkgroup"
>;

/** The tile for a unit, as large as workgroup memory allows; null where none fits. */
export function matrixTile(
  unit: MatrixUnit,
  limits: WorkgroupLimits,
  { writtenOut }: Pick<GpuTraits, "writtenOut">,
): MatrixTile | null {
  for (const tiling of writtenOut ? USUAL_TILINGS : SHORT_TILINGS) {
    const tile = tileOfMatrices(unit, tiling, limits);
    if (tile) return tile;
  }
  return null;
}

/** The tile of a tiling; null where it does not fit the unit, or the limits. */
export function tileOfMatrices(
  unit: MatrixUnit,
  { matrices, depth }: MatrixTiling,
  { maxComputeWorkgroupStorageSize: bytes, maxComputeInvocationsPerWorkgroup: most }:
    WorkgroupLimits,
): MatrixTile | null {
  const threads = SUBGROUPS.down * SUBGROUPS.across * unit.subgroup;
  if (threads > most || unit.n % 4 !== 0) return null;
  const rows = SUBGROUPS.down * matrices * unit.m;
  const columns = SUBGROUPS.across * matrices * unit.n;
  const tile = { unit, matrices, rows, columns, depth, threads };
  const isWhole = [rows, columns].every((along) => along * depth / VECTOR % threads === 0);
  return depth % unit.k === 0 && isWhole && matrixTileBytes(tile) <= bytes ? tile : null;
}

/**
 * A tile of which less is used takes as long as an ordinary kernel: matrices multiplied 3.5 to 4.8
 * times as fast in the measurement above.
 */
const LEAST_USED = 0.3;

/** Multiplications of a core in a cycle, as measured above. */
const MULTIPLIERS = 400;
/** Bytes that memory gives a core in a cycle. */
const BANDWIDTH = 16;
/** Cycles of another launch. */
const LAUNCH = 16_000;
/** A split shallower than this costs more in partial sums than it gains. */
const SHALLOWEST_SPLIT = 512;
const MOST_SPLITS = 32;
/** What the estimate may err by: splits that gain less are not worth their memory. */
const ERROR = 1.1;

/**
 * Parts of the depth that workgroups of their own sum up, so that all cores have something to do;
 * null where tiles would be mostly empty.
 */
export function matrixSplits(
  { batches, m, n, k }: ProductSize,
  { rows, columns, depth }: MatrixTile,
  { cores }: Pick<GpuTraits, "cores">,
): number | null {
  const tiles = Math.ceil(m / rows) * Math.ceil(n / columns);
  const slices = Math.ceil(k / depth);
  if (m * n * k < LEAST_USED * tiles * rows * columns * slices * depth) return null;
  const cyclesOf = (splits: number): number => {
    const rounds = Math.ceil(batches * tiles * splits / cores);
    const product = rounds * Math.ceil(slices / splits) * rows * columns * depth / MULTIPLIERS;
    if (splits === 1) return product;
    return product + LAUNCH + batches * m * n * 4 * (splits + 1) / cores / BANDWIDTH;
  };
  const most = Math.min(MOST_SPLITS, Math.max(1, Math.floor(k / SHALLOWEST_SPLIT)));
  const cycles = Array.from({ length: most }, (_, i) => cyclesOf(i + 1));
  const least = Math.min(...cycles);
  return cycles.findIndex((count) => count <= ERROR * least) + 1;
}
