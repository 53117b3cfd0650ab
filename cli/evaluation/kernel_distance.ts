/**
 * The kernel distance (KID; Bińkowski et al., "Demystifying MMD GANs", arXiv:1801.01401): the squared
 * maximum mean discrepancy under (x · y / D + 1)³, unbiased, so that few samples are enough.
 */
import { Generator } from "@dit/core/tensor";
import type { FeatureSet } from "./features.ts";
import { rowOf } from "./features.ts";
import type { OnProgress } from "./precision_recall.ts";
import { productOf } from "./products.ts";

/** How the distance is averaged. */
export interface KernelDistanceOptions {
  /** Subsets that it is the mean over; 100 as usual. */
  readonly subsets?: number;
  /** Features of each, without repetition: 1000 as usual, or all where there are fewer. */
  readonly subsetSize?: number;
  /** Which subsets are drawn. */
  readonly seed?: number;
  readonly onProgress?: OnProgress;
}

/** Mean over subsets, and the standard deviation of one of them. */
export interface KernelDistance {
  readonly mean: number;
  /** 0 where both sets are used whole. */
  readonly deviation: number;
}

/**
 * The distance of two sets; negative values are noise round 0.
 *
 * @throws {RangeError} where a set has fewer than two features, or they differ in width.
 */
export async function kernelDistance(
  a: FeatureSet,
  b: FeatureSet,
  options: KernelDistanceOptions = {},
): Promise<KernelDistance> {
  const { subsets = 100, subsetSize = 1000, seed = 0, onProgress = () => {} } = options;
  const least = Math.min(a.count, b.count);
  if (a.width !== b.width || least < 2) {
    throw new RangeError(
      `kernelDistance: expected two features or more, of one width, but got ${a.count} of ${a.width} ` +
        `and ${b.count} of ${b.width}`,
    );
  }
  if (a.count <= subsetSize && b.count <= subsetSize) {
    const mean = await squaredDiscrepancy(a, b);
    onProgress(1, 1);
    return { mean, deviation: 0 };
  }
  const size = Math.min(subsetSize, least);
  const generator = new Generator(seed);
  const values: number[] = [];
  for (let i = 0; i < subsets; i++) {
    const [some, others] = [subset(a, size, generator), subset(b, size, generator)];
    values.push(await squaredDiscrepancy(some, others));
    onProgress(i + 1, subsets);
  }
  const mean = values.reduce((sum, v) => sum + v, 0) / subsets;
  const squares = values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / Math.max(1, subsets - 1)) };
}

/** `size` features, each once, in random order (the start of a Fisher-Yates shuffle). */
function subset(set: FeatureSet, size: number, generator: Generator): FeatureSet {
  const { count, width } = set;
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  const rows = new Float32Array(size * width);
  for (let i = 0; i < size; i++) {
    const j = i + generator.nextBelow(count - i);
    [order[i], order[j]] = [order[j]!, order[i]!];
    rows.set(rowOf(set, order[i]!), i * width);
  }
  return { count: size, width, rows };
}

/** The unbiased estimate from all pairs of both sets. */
async function squaredDiscrepancy(a: FeatureSet, b: FeatureSet): Promise<number> {
  return await meanKernel(a, a) + await meanKernel(b, b) - 2 * await meanKernel(a, b);
}

/** Mean of the kernel over pairs; a feature is not paired with itself. */
async function meanKernel(a: FeatureSet, b: FeatureSet): Promise<number> {
  const products = await productOf(a, b);
  let sum = 0;
  for (let i = 0, at = 0; i < a.count; i++) {
    for (let j = 0; j < b.count; j++, at++) {
      if (a === b && i === j) continue;
      const base = products[at]! / a.width + 1;
      sum += base * base * base;
    }
  }
  return sum / (a.count * (a === b ? a.count - 1 : b.count));
}
