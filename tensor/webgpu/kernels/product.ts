/**
 * The kernel around a tiled product: how tiles are numbered, how a deep product with few tiles is
 * split, and where results go. What the operands and the result are is plugged in, so that matrix
 * products and convolutions share it.
 */
import type { View } from "../../view.ts";
import type { ViewBinding } from "../shader/accessors.ts";
import type { Tiled } from "../device/dispatch.ts";
import { tiledSource } from "../device/join.ts";
import { MATRIX_DIRECTIVES } from "../device/matrices.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { withScratch } from "../device/scratch.ts";
import { placeTile } from "../shader/tile_place.ts";
import { matrixSplits, type MatrixTile, tileOfMatrices } from "./matrix_plan.ts";
import { liesApart, type MatrixOperand, matrixProductSource } from "./matrix_product.ts";
import { type Plan, planProduct, TILES } from "./product_plan.ts";
import {
  addStaged,
  declareAccumulators,
  multiplyStaged,
  type Operand,
  stagedOf,
  stageOperand,
  threadsOf,
  visitAccumulators,
} from "../shader/tile.ts";

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
  /** Takes the sums of the left operand over the depth: [batches, m], f32 and contiguous. */
  readonly leftSums?: View | null;
  /** Types and orders of the operands, where products of their kind are measured. */
  readonly layout?: string | undefined;
  /** See `ProductSize`. */
  readonly isOfWeights?: boolean;
  /** The operands as matrix units read them, where they can. */
  readonly matrices?: readonly [a: MatrixOperand, b: MatrixOperand] | null | undefined;
  /** For tests and measurements: this plan instead of the usual one. */
  readonly plan?: Plan | undefined;
}

/** A part of the sum, to be finished when all parts are there; rows padded to whole vec4s. */
const STORE_PART = `
fn finish(batch: u32, row: u32, column: u32, sum: vec4f) {
  let width = (params.n + 3u) / 4u * 4u;
  if (row < params.m && column < width) {
    partial_store4((batch * params.m + row) * width + column, sum);
  }
}`;

/** The kernel of a plan, in parts. */
function tiledProduct(product: Product, plan: Plan): Tiled {
  const tile = TILES[plan.tile];
  return {
    threads: threadsOf(tile).all,
    ...stagedOf(tile),
    declarations: () =>
      `${product.declarations ?? ""}
${plan.splits === 1 ? product.finish : STORE_PART}`,
    body: () => productBody(product, plan),
  };
}

function productBody(product: Product, { tile: name, splits, code }: Plan): string {
  const tile = TILES[name];
  const threads = threadsOf(tile);
  const ragged = product.k % tile.depth !== 0;
  const left = stageOperand(tile, "left", product.left, "row0", ragged);
  const right = stageOperand(tile, "right", product.right, "column0", ragged);
  const slices = `  for (var slice = kBegin; slice < kEnd; slice += ${tile.depth}u) {`;
  // The tiles of the first columns add up the rows of the left operand as they pass by.
  const sums = product.leftSums ? addStaged(tile, "column0 == 0u", "rowSums") : null;
  const multiply = `    workgroupBarrier();${sums ? `\n${sums.add}` : ""}
${multiplyStaged(tile, "c", code)}
    workgroupBarrier();`;
  const staged = `${slices}
    let k0 = slice;
${left.stage}
${right.stage}
${multiply}
  }`;
  // The last slice is read twice: cheaper than a branch.
  const prefetched = `  var k0 = kBegin;
${left.registers}
${right.registers}
${left.fetch}
${right.fetch}
${slices}
${left.store}
${right.store}
    k0 = select(slice, slice + ${tile.depth}u, slice + ${tile.depth}u < kEnd);
${left.fetch}
${right.fetch}
${multiply}
  }`;
  return `${placeTile(tile, splits)}
  let down = thread / ${threads.across}u;
  let across = thread % ${threads.across}u;
${product.locate}
${left.prepare}
${right.prepare}
${declareAccumulators(tile, "c")}
${sums?.declare ?? ""}
${code.prefetch ? prefetched : staged}
${
    visitAccumulators(tile, "c", (row, column, acc) =>
      `  finish(${splits === 1 ? "batch" : "split * params.batches + batch"}, ` +
      `row0 + ${row}, column0 + ${column}, ${acc});`)
  }
${
    sums
      ? sums.finish((lane, value) => {
        const place = `${splits === 1 ? "batch" : "split * params.batches + batch"}`;
        return `      if (row0 + ${lane} < params.m) {
        leftSums_store((${place}) * params.m + row0 + ${lane}, ${value});
      }`;
      })
      : ""
  }`;
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
${
    product.leftSums
      ? `  if (number % width4 == 0u) {
    var rowSum = 0.0;
    for (var split = 0u; split < params.splits; split++) {
      rowSum += partialSums_load(split * params.batches * params.m + row);
    }
    leftSums_store(row, rowSum);
  }`
      : ""
  }
  finish(row / params.m, row % params.m, number % width4 * 4u, sum);
}
`;
}

/** How the tiles of a product are computed. */
interface TiledKernel {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly splits: number;
  readonly inputs: readonly ViewBinding[];
  readonly directives?: readonly string[];
  source(splits: number): string;
  /** Its parts, where it may share a grid with another. */
  tiled?(splits: number): Tiled;
}

function ordinaryKernel(runtime: WebGpuRuntime, product: Product): TiledKernel {
  const plan = product.plan ?? planProduct(product, runtime.plans);
  const { rows, columns, depth } = TILES[plan.tile];
  const { masked, unrolled, prefetch } = plan.code;
  const code = `${masked ? "m" : ""}${unrolled ? "u" : ""}${prefetch ? "p" : ""}`;
  const tiled = (splits: number) => tiledProduct(product, { ...plan, splits });
  return {
    name: `${plan.tile}${code && `-${code}`}`,
    rows,
    columns,
    depth,
    splits: plan.splits,
    inputs: product.inputs,
    source: (splits) => tiledSource(tiled(splits)),
    ...(plan.alone ? {} : { tiled }),
  };
}

/** On matrix units; null where there are none that the product fits. */
function matrixKernel(runtime: WebGpuRuntime, product: Product): TiledKernel | null {
  const { matrices: operands, plan, outputs, leftSums = null } = product;
  if (!runtime.matrices || !operands || plan && !plan.onMatrices) return null;
  const planned = plan ?? planProduct(product, runtime.plans);
  if (planned.overMatrices) return null;
  const written = outputs.flatMap(({ view, access }) => access === "read" ? [] : [view]);
  if (!liesApart(operands, [...written, leftSums])) return null;
  const found = tilesOf(runtime, product, planned);
  if (found === null) return null;
  const { tile, splits: count } = found;
  const [a, b] = operands;
  const { rows, columns, depth } = tile;
  return {
    name: `matrices/${tile.matrices}x${depth}/${a.deep ? "deep" : "across"}/` +
      `${b.deep ? "deep" : "across"}`,
    rows,
    columns,
    depth,
    splits: count,
    inputs: [a.binding, b.binding],
    directives: MATRIX_DIRECTIVES,
    source: (splits) =>
      matrixProductSource({
        tile,
        a,
        b,
        splits,
        ragged: product.k % depth !== 0,
        locate: product.locate,
        finish: splits === 1 ? product.finish : STORE_PART,
        hasSums: leftSums !== null,
      }),
  };
}

/** Its tile on matrix units, and the parts of its depth: as planned, or as usual; null where it is small. */
function tilesOf(
  { matrices: usual, limits, traits }: WebGpuRuntime,
  product: Product,
  { onMatrices: planned }: Plan,
): { tile: MatrixTile; splits: number } | null {
  const tile = planned ? tileOfMatrices(usual!.unit, planned, limits) : null;
  if (tile) return { tile, splits: planned!.splits };
  const splits = matrixSplits(product, usual!, traits);
  return splits === null ? null : { tile: usual!, splits };
}

/** Starts a product; a split one in two dispatches. */
export function runProduct(runtime: WebGpuRuntime, product: Product): void {
  const { op, batches, m, n, k } = product;
  const kernel = matrixKernel(runtime, product) ?? ordinaryKernel(runtime, product);
  const { name, rows, columns, depth, inputs, directives = [] } = kernel;
  // Whole slices a split, so that only the last one can be ragged.
  const splitDepth = Math.ceil(Math.ceil(k / kernel.splits) / depth) * depth;
  const splits = Math.ceil(k / splitDepth);
  const tiles = Math.ceil(m / rows) * Math.ceil(n / columns);
  const sizes = { batches, m, n, k };
  const flops = 2 * batches * m * n * k;
  const { leftSums = null } = product;
  const summed = leftSums ? "/sums" : "";
  const key = `product/${name}${k % depth ? "/ragged" : ""}/${product.key}${summed}`;
  const sumsOut = (view: View | null): ViewBinding[] =>
    view ? [{ name: "leftSums", view, access: "write" }] : [];
  if (splits === 1) {
    runtime.dispatch({
      op,
      key,
      directives,
      source: () => kernel.source(splits),
      tiled: kernel.tiled?.(splits),
      views: [...inputs, ...product.outputs, ...sumsOut(leftSums)],
      u32: { ...sizes, ...product.uniforms },
      workgroups: tiles * batches,
      flops,
    });
    return;
  }
  const width = Math.ceil(n / 4) * 4;
  const u32 = { ...sizes, splits, splitDepth, ...product.uniforms };
  const scratch = [[splits, batches, m, width], ...leftSums ? [[splits, batches, m]] : []];
  withScratch(runtime, op, scratch, (partial, sums) => {
    runtime.dispatch({
      op,
      key: `${key}/split`,
      directives,
      source: () => kernel.source(splits),
      tiled: kernel.tiled?.(splits),
      views: [
        ...inputs,
        { name: "partial", view: partial!, access: "write", vec4: true },
        ...sumsOut(sums ?? null),
      ],
      u32,
      workgroups: tiles * batches * splits,
      flops,
    });
    runtime.dispatch({
      op,
      key: `product/finish/${product.key}${summed}`,
      source: () => finishSource(product),
      views: [
        ...product.outputs,
        { name: "partial", view: partial!, access: "read", vec4: true },
        ...sums ? [{ name: "partialSums", view: sums, access: "read" } as const] : [],
        ...sumsOut(leftSums),
      ],
      u32,
      workgroups: Math.ceil(batches * m * (width / 4) / FINISH_THREADS),
    });
  });
}
