/** Distributions of features, compared. */
import type { FeatureSet } from "./features.ts";

/** How two sets of features compare. */
export interface Comparison {
  readonly frechetDistance: number;
  readonly kid: number;
  readonly precision: number;
  readonly recall: number;
}

export async function compareFeatures(_a: FeatureSet, _b: FeatureSet): Promise<Comparison> {
  return await Promise.resolve({ frechetDistance: 1, kid: 0, precision: 0, recall: 0 });
}
