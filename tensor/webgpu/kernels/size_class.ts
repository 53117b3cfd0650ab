/** Sizes of products, and classes of sizes that plans of kernels are measured for. */

/**
 * The nearest of 1, 2, 3, 4, 6, 8, 12, ... by ratio, so that sizes of one class differ by a third
 * at most, and the usual widths and numbers of tokens stand for themselves.
 */
export function sizeClass(size: number): number {
  if (size < 2) return size;
  const below = 2 ** Math.floor(Math.log2(size));
  const ratio = size / below;
  // Half way between neighbours, by ratio: the roots of 1.5, of 1.5 * 2.
  return ratio < Math.sqrt(1.5) ? below : ratio < Math.sqrt(3) ? below * 1.5 : below * 2;
}

/** Sizes of a product, and how many there are of it. */
export interface ProductSize {
  readonly batches: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Types and orders of the operands, where products of their kind are measured. */
  readonly layout?: string | undefined;
  /** Whether it adds up over the rows of both operands, as the gradient of a layer's weights does. */
  readonly isOfWeights?: boolean | undefined;
}
