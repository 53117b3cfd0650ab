/** A set of features against that of a reference, by each of the statistics. */
import { CommandError } from "../shared/errors.ts";
import type { FeatureSet } from "./features.ts";
import { rowOf } from "./features.ts";
import { frechetDistance, type Gaussian, gaussianOf } from "./frechet.ts";
import { kernelDistance } from "./kernel_distance.ts";
import { evenly } from "./pictures.ts";
import { NEIGHBOURS, precisionRecall } from "./precision_recall.ts";

/** How samples compare with a reference. */
export interface Comparison {
  /** Of normal distributions that are fitted to both. */
  readonly frechetDistance: number;
  /** About 0 for samples that are as the reference is. */
  readonly kid: number;
  /** Share of samples that lie among the reference. */
  readonly precision: number;
  /** Share of the reference that lies among samples. */
  readonly recall: number;
}

/** Features that precision and recall take of each set: as many as samples, within these bounds. */
const AMONG = { least: 2000, most: 10_000 } as const;

/** Features of a reference, of which what all comparisons need is computed once. */
export interface ReferenceFeatures {
  readonly features: FeatureSet;
  readonly gaussian: Gaussian;
}

/** Prepares a reference. */
export function referenceFeatures(features: FeatureSet): ReferenceFeatures {
  return { features, gaussian: gaussianOf(features) };
}

/**
 * Refuses a reference of as few pictures as have no third neighbour each.
 *
 * @param name Where the pictures are from, for the message.
 * @param count How many there are, those that are held out not counted.
 * @throws {CommandError}
 */
export function requireNeighbours(name: string, count: number): void {
  if (count > NEIGHBOURS) return;
  throw new CommandError(
    `${name}: expected ${NEIGHBOURS + 1} pictures or more to compare with, as precision and ` +
      `recall look at ${NEIGHBOURS} neighbours of each, but found ${count} that are not held out`,
  );
}

/**
 * Compares samples with a reference. Of three samples or fewer, as there are held out of little data,
 * precision and recall are not known: NaN.
 *
 * @throws {RangeError} where the reference has fewer than four features, or there is one sample only.
 */
export async function compareFeatures(
  samples: FeatureSet,
  { features, gaussian }: ReferenceFeatures,
): Promise<Comparison> {
  const among = Math.min(AMONG.most, Math.max(AMONG.least, samples.count));
  return {
    frechetDistance: frechetDistance(gaussianOf(samples), gaussian),
    kid: (await kernelDistance(samples, features)).mean,
    ...samples.count > NEIGHBOURS
      ? await precisionRecall(some(features, among), some(samples, among))
      : { precision: NaN, recall: NaN },
  };
}

/** An even choice of features. */
function some(set: FeatureSet, most: number): FeatureSet {
  if (set.count <= most) return set;
  const indices = evenly(set.count, most);
  const rows = new Float32Array(most * set.width);
  indices.forEach((index, i) => rows.set(rowOf(set, index), i * set.width));
  return { count: most, width: set.width, rows };
}
