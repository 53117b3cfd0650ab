/**
 * Precision and recall of samples (Kynkäänniemi et al., "Improved precision and recall metric for
 * assessing generative models", arXiv:1904.06991), as the ADM suite has them: every feature with the
 * ball that reaches its third nearest neighbour in its own set makes up the set's manifold.
 */
import type { FeatureSet } from "./features.ts";
import { blockCount, productBlocks } from "./products.ts";

/** The neighbour that a ball reaches, the feature itself not counted. */
export const NEIGHBOURS = 3;

/** Shares of features that lie in the other set's manifold. */
export interface PrecisionRecall {
  /** Of samples. */
  readonly precision: number;
  /** Of reference images. */
  readonly recall: number;
}

/** Called with how much of the work is done. */
export type OnProgress = (done: number, total: number) => void;

/**
 * Precision and recall. Distances are taken in float32 of the device; the ADM suite rounds them to
 * float16 first where it can, which is a saving there and no part of the definition.
 *
 * @throws {RangeError} where a set has no more features than {@linkcode NEIGHBOURS}.
 */
export async function precisionRecall(
  reference: FeatureSet,
  samples: FeatureSet,
  { neighbours = NEIGHBOURS, onProgress = () => {} }: {
    neighbours?: number;
    onProgress?: OnProgress;
  } = {},
): Promise<PrecisionRecall> {
  for (const [what, { count }] of [["reference", reference], ["samples", samples]] as const) {
    if (count > neighbours) continue;
    throw new RangeError(
      `precision and recall: expected more than ${neighbours} images of the ${what} but got ${count}`,
    );
  }
  const total = blockCount(reference.count, reference.count, true) +
    blockCount(samples.count, samples.count, true) + blockCount(reference.count, samples.count);
  let done = 0;
  const step = () => onProgress(++done, total);
  const ofReference = await squaredRadii(reference, neighbours, step);
  const ofSamples = await squaredRadii(samples, neighbours, step);
  const [norms, sampleNorms] = [squaredNorms(reference), squaredNorms(samples)];
  const isReached = new Uint8Array(reference.count); // reference images in the samples' manifold
  const isReal = new Uint8Array(samples.count);
  for await (const block of productBlocks(reference, samples)) {
    const { row, rows, column, columns, products } = block;
    for (let i = 0, at = 0; i < rows; i++) {
      const [norm, radius] = [norms[row + i]!, ofReference[row + i]!];
      for (let j = 0; j < columns; j++, at++) {
        const distance = Math.max(0, norm + sampleNorms[column + j]! - 2 * products[at]!);
        if (distance <= radius) isReal[column + j] = 1;
        if (distance <= ofSamples[column + j]!) isReached[row + i] = 1;
      }
    }
    step();
  }
  const share = (flags: Uint8Array) => flags.reduce((n, flag) => n + flag, 0) / flags.length;
  return { precision: share(isReal), recall: share(isReached) };
}

/** Squared lengths of rows. */
export function squaredNorms({ count, width, rows }: FeatureSet): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => {
    let sum = 0;
    for (let j = i * width; j < (i + 1) * width; j++) sum += rows[j]! * rows[j]!;
    return sum;
  });
}

/** Squared distance of each feature to its k-th nearest other one. */
async function squaredRadii(set: FeatureSet, k: number, step: () => void): Promise<Float64Array> {
  const { count } = set;
  const norms = squaredNorms(set);
  // the k smallest distances of each row so far, in order
  const nearest = new Float64Array(count * k).fill(Infinity);
  const insert = (of: number, distance: number): void => {
    const first = of * k;
    let at = first + k - 1;
    if (!(distance < nearest[at]!)) return;
    for (; at > first && distance < nearest[at - 1]!; at--) nearest[at] = nearest[at - 1]!;
    nearest[at] = distance;
  };
  for await (const { row, rows, column, columns, products } of productBlocks(set, set, true)) {
    for (let i = 0; i < rows; i++) {
      // on the diagonal a pair stands twice, and each feature beside itself
      for (let j = row === column ? i + 1 : 0; j < columns; j++) {
        const squared = norms[row + i]! + norms[column + j]! - 2 * products[i * columns + j]!;
        const distance = Math.max(0, squared);
        insert(row + i, distance);
        insert(column + j, distance);
      }
    }
    step();
  }
  return Float64Array.from({ length: count }, (_, i) => nearest[i * k + k - 1]!);
}
