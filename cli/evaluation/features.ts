/** Features of images: what the statistics of evaluation are of, whichever network they come from. */

/** Features of `count` images, a row of `width` numbers each. */
export interface FeatureSet {
  readonly count: number;
  readonly width: number;
  /** [count, width], row-major. */
  readonly rows: Float32Array<ArrayBuffer>;
}

/** Number, height, width and channels of images. */
export type ImagesShape = readonly [number, number, number, number];

/** A network that features are taken from. */
export interface FeatureExtractor {
  /** Network and weights, as caches and messages tell them apart: `inception (6726825d)`. */
  readonly name: string;
  /** Numbers an image. */
  readonly width: number;
  /**
   * Features of a batch.
   *
   * @param images u8 [N, H, W, C].
   * @param shape [N, H, W, C]; C is 1 (grey) or 3.
   */
  extract(images: Uint8Array, shape: ImagesShape): Promise<FeatureSet>;
}

/** Row `index` of a set, not copied. */
export function rowOf({ width, rows }: FeatureSet, index: number): Float32Array<ArrayBuffer> {
  return rows.subarray(index * width, (index + 1) * width);
}

/** Rows `from` to `to` of a set, not copied. */
export function sliceOf({ width, rows }: FeatureSet, from: number, to: number): FeatureSet {
  return { count: to - from, width, rows: rows.subarray(from * width, to * width) };
}

/** Sets of the same width one after another. */
export function joined(sets: readonly FeatureSet[], width: number): FeatureSet {
  const count = sets.reduce((n, set) => n + set.count, 0);
  const rows = new Float32Array(count * width);
  let at = 0;
  for (const set of sets) {
    rows.set(set.rows, at);
    at += set.rows.length;
  }
  return { count, width, rows };
}
