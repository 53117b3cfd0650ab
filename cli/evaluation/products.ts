/** Products of all rows of one set of features with all of another, in blocks, on the device. */
import { matmul, noGrad } from "@dit/core/autograd";
import { scope, tensor } from "@dit/core/tensor";
import { type FeatureSet, sliceOf } from "./features.ts";

/** Rows of a block. */
export const BLOCK_ROWS = 2048;

/** Rows `row` on of one set with rows `column` on of another. */
export interface ProductBlock {
  readonly row: number;
  readonly rows: number;
  readonly column: number;
  readonly columns: number;
  /** [rows, columns] */
  readonly products: Float32Array;
}

/**
 * a bᵀ, block by block.
 *
 * @param half Only blocks on and above the diagonal, where a and b are the same set.
 */
export async function* productBlocks(
  a: FeatureSet,
  b: FeatureSet,
  half = false,
): AsyncGenerator<ProductBlock> {
  for (let row = 0; row < a.count; row += BLOCK_ROWS) {
    const left = sliceOf(a, row, Math.min(a.count, row + BLOCK_ROWS));
    for (let column = half ? row : 0; column < b.count; column += BLOCK_ROWS) {
      const right = sliceOf(b, column, Math.min(b.count, column + BLOCK_ROWS));
      const products = await productOf(left, right);
      yield { row, rows: left.count, column, columns: right.count, products };
    }
  }
}

/** a bᵀ of two sets that are small enough for the device, [a.count, b.count]. */
export async function productOf(a: FeatureSet, b: FeatureSet): Promise<Float32Array> {
  let read: Promise<ArrayLike<number>>;
  {
    using _ = scope();
    const x = tensor(a.rows, [a.count, a.width]);
    const y = a === b ? x : tensor(b.rows, [b.count, b.width]);
    read = noGrad(() => matmul(x, y, { transposeB: true })).data();
  }
  return await read as Float32Array;
}

/** How many blocks {@linkcode productBlocks} gives. */
export function blockCount(rows: number, columns: number, half = false): number {
  const [down, across] = [Math.ceil(rows / BLOCK_ROWS), Math.ceil(columns / BLOCK_ROWS)];
  return half ? down * (down + 1) / 2 : down * across;
}
