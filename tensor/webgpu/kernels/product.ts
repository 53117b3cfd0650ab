/**
 * The kernel around a tiled product: which tile a shape gets, how tiles are numbered, how a deep
 * product with few tiles is split, and where results go. What the operands and the result are is
 * plugged in, so that matrix products and convolutions share it.
 */
import type { ViewBinding } from "../shader/accessors.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { withScratch } from "../device/scratch.ts";
import { ENOUGH_WORKGROUPS } from "./sum_parts.ts";
import {
  declareAccumulators,
  declareStaging,
  multiplyStaged,
  type Operand,
  stageOperand,
  threadsOf,
  type Tile,
  visitAccumulators,
} from "../shader/tile.ts";

/**
 * Tiles by name. Square ones read least memory a product; 8 x 8 and 8 x 4 a thread read workgroup
 * memory seldom enough (4 vec4s for 64 products) to leave the arithmetic units busy, and their
 * registers (64 and 32 for sums) let several workgroups run at once.
 *
 * Reasoned from published measurements on Apple and NVIDIA GPUs, not measured on one. Measured on
 * Mesa's software adapter (22.3, 384^3): large and medium 3.7 to 4.0 GFLOPS, small and wide 2.1 to
 * 2.5; `fma` or `a * b + c`, and 2, 4 or 8 steps written out, made no difference there.
 */
export const TILES = {
  large: { rows: 128, columns: 64, threadRows: 8, threadColumns: 8, depth: 16 },
  medium: { rows: 64, columns: 64, threadRows: 8, threadColumns: 4, depth: 16 },
  small: { rows: 32, columns: 32, threadRows: 4, threadColumns: 4, depth: 16 },
  /** For few rows (a batch of conditioning vectors) or few columns. */
  wide: { rows: 16, columns: 64, threadRows: 4, threadColumns: 4, depth: 16 },
  tall: { rows: 64, columns: 16, threadRows: 4, threadColumns: 4, depth: 16 },
} as const satisfies Record<string, Tile>;

/** The name of a tile. */
export type TileName = keyof typeof TILES;

/** A split shallower than this costs more in partial sums than it gains. */
const SHALLOWEST_SPLIT = 256;
const MOST_SPLITS = 32;

/** How a product of one shape is computed. */
export interface Plan {
  readonly tile: TileName;
  /** Parts of the depth, each summed by workgroups of its own. */
  readonly splits: number;
}

/** The largest tile that keeps enough workgroups busy, if need be by splitting the depth. */
export function planProduct(batches: number, m: number, n: number, k: number): Plan {
  const candidates: TileName[] = m <= 16
    ? ["wide"]
    : n <= 16
    ? ["tall"]
    : m <= 32 || n <= 32
    ? ["small"]
    : m <= 64
    ? ["medium", "small"]
    : ["large", "medium", "small"];
  const mostSplits = Math.min(MOST_SPLITS, Math.max(1, Math.floor(k / SHALLOWEST_SPLIT)));
  let plan: Plan | undefined;
  for (const tile of candidates) {
    const { rows, columns } = TILES[tile];
    const tiles = batches * Math.ceil(m / rows) * Math.ceil(n / columns);
    const splits = Math.min(mostSplits, Math.ceil(ENOUGH_WORKGROUPS / tiles));
    plan = { tile, splits };
    if (tiles * splits >= ENOUGH_WORKGROUPS) break;
  }
  return plan!;
}

/** A product and what is plugged into its kernel. */
export interface Product {
  readonly op: string;
  /** Names everything that shapes the source besides the tile, views' dtypes and `k`. */
  readonly key: string;
  readonly batches: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly left: Operand;
  readonly right: Operand;
  /** Statements run once, before the operands' own, that may use `batch`. */
  readonly locate: string;
  /** WGSL functions the operands call. */
  readonly declarations?: string;
  /** Views the operands read. */
  readonly inputs: readonly ViewBinding[];
  /** WGSL of `fn finish(batch: u32, row: u32, column: u32, sum: vec4f)`: bounds are its matter. */
  readonly finish: string;
  /** Views `finish` uses. */
  readonly outputs: readonly ViewBinding[];
  /** Uniforms of operands and `finish`. */
  readonly uniforms: Readonly<Record<string, number>>;
  /** For tests: this plan instead of the usual one. */
  readonly plan?: Plan | undefined;
}

/** Tiles are visited in bands of this many rows, whose operands then stay in the cache. */
const BAND = 8;

function productSource(product: Product, tile: Tile, splits: number): string {
  const threads = threadsOf(tile);
  const ragged = product.k % tile.depth !== 0;
  const left = stageOperand(tile, "left", product.left, "row0", ragged);
  const right = stageOperand(tile, "right", product.right, "column0", ragged);
  const store = splits === 1 ? product.finish : `
// A part of the sum, to be finished when all parts are there; rows padded to whole vec4s.
fn finish(batch: u32, row: u32, column: u32, sum: vec4f) {
  let width = (params.n + 3u) / 4u * 4u;
  if (row < params.m && column < width) {
    partial_store4((batch * params.m + row) * width + column, sum);
  }
}`;
  return `${declareStaging(tile)}
${product.declarations ?? ""}
${store}
@compute @workgroup_size(${threads.all})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = linear_group(workgroup);
  if (number >= params.grid_count) { return; }
  let tilesDown = (params.m + ${tile.rows - 1}u) / ${tile.rows}u;
  let tilesAcross = (params.n + ${tile.columns - 1}u) / ${tile.columns}u;
  let tiles = tilesDown * tilesAcross;
  let place = number % tiles;
  let batch = ${splits === 1 ? "number / tiles" : "number / tiles / params.splits"};
  let band = place / (tilesAcross * ${BAND}u);
  let inBand = place % (tilesAcross * ${BAND}u);
  let bandRows = min(tilesDown - band * ${BAND}u, ${BAND}u);
  let row0 = (band * ${BAND}u + inBand % bandRows) * ${tile.rows}u;
  let column0 = inBand / bandRows * ${tile.columns}u;
  let down = thread / ${threads.across}u;
  let across = thread % ${threads.across}u;
${
    splits === 1 ? "  let kBegin = 0u;\n  let kEnd = params.k;" : `
  let split = number / tiles % params.splits;
  let kBegin = split * params.splitDepth;
  let kEnd = min(params.k, kBegin + params.splitDepth);`
  }
${product.locate}
${left.prepare}
${right.prepare}
${declareAccumulators(tile, "c")}
  for (var k0 = kBegin; k0 < kEnd; k0 += ${tile.depth}u) {
${left.stage}
${right.stage}
    workgroupBarrier();
${multiplyStaged(tile, "c")}
    workgroupBarrier();
  }
${
    visitAccumulators(tile, "c", (row, column, acc) =>
      `  finish(${splits === 1 ? "batch" : "split * params.batches + batch"}, ` +
      `row0 + ${row}, column0 + ${column}, ${acc});`)
  }
}
`;
}

const FINISH_THREADS = 64;

/** Adds the parts of a split product, always in the same order. */
function finishSource(product: Product): string {
  return `
${product.finish}
@compute @workgroup_size(${FINISH_THREADS})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = linear_group(workgroup) * ${FINISH_THREADS}u + thread;
  let width4 = (params.n + 3u) / 4u;
  let count = params.batches * params.m * width4;
  if (number >= count) { return; }
  var sum = vec4f();
  for (var split = 0u; split < params.splits; split++) {
    sum += partial_load4((split * count + number) * 4u);
  }
  let row = number / width4;
  finish(row / params.m, row % params.m, number % width4 * 4u, sum);
}
`;
}

/** Starts a product; a split one in two dispatches. */
export function runProduct(runtime: WebGpuRuntime, product: Product): void {
  const { op, batches, m, n, k } = product;
  const plan = product.plan ?? planProduct(batches, m, n, k);
  const tile = TILES[plan.tile];
  // Whole slices a split, so that only the last one can be ragged.
  const splitDepth = Math.ceil(Math.ceil(k / plan.splits) / tile.depth) * tile.depth;
  const splits = Math.ceil(k / splitDepth);
  const tiles = Math.ceil(m / tile.rows) * Math.ceil(n / tile.columns);
  const sizes = { batches, m, n, k };
  const flops = 2 * batches * m * n * k;
  const key = `product/${plan.tile}${k % tile.depth ? "/ragged" : ""}/${product.key}`;
  if (splits === 1) {
    runtime.dispatch({
      op,
      key,
      source: () => productSource(product, tile, 1),
      views: [...product.inputs, ...product.outputs],
      u32: { ...sizes, ...product.uniforms },
      workgroups: tiles * batches,
      flops,
    });
    return;
  }
  const width = Math.ceil(n / 4) * 4;
  const u32 = { ...sizes, splits, splitDepth, ...product.uniforms };
  withScratch(runtime, op, [[splits, batches, m, width]], (partial) => {
    runtime.dispatch({
      op,
      key: `${key}/split`,
      source: () => productSource(product, tile, splits),
      views: [...product.inputs, { name: "partial", view: partial!, access: "write", vec4: true }],
      u32,
      workgroups: tiles * batches * splits,
      flops,
    });
    runtime.dispatch({
      op,
      key: `product/finish/${product.key}`,
      source: () => finishSource(product),
      views: [...product.outputs, { name: "partial", view: partial!, access: "read", vec4: true }],
      u32,
      workgroups: Math.ceil(batches * m * (width / 4) / FINISH_THREADS),
    });
  });
}
