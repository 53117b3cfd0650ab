/** Mean and covariance of features, and the Fréchet distance between two of them. */
import type { FeatureSet } from "./features.ts";
import { congruence, pivotedCholesky, symmetricEigenvalues } from "./symmetric.ts";

/** A normal distribution, as it is fitted to features. */
export interface Gaussian {
  /** Of how many samples; null where a file does not say. */
  readonly count: number | null;
  /** [D] */
  readonly mean: Float64Array<ArrayBuffer>;
  /** [D, D], unbiased (divided by N - 1), as `numpy.cov` has it. */
  readonly covariance: Float64Array<ArrayBuffer>;
}

/** Rows of the matrix whose sums are added at a time, so that they stay in the cache. */
const TILE = 32;

/**
 * Mean and covariance of features that come in parts, in float64. Features are counted from the
 * first part's mean, so that squares do not cancel.
 */
export class GaussianSums {
  /** Numbers of a sample. */
  readonly width: number;
  #count = 0;
  #shift: Float64Array | undefined;
  readonly #sum: Float64Array;
  /** Sums of products, the upper triangle. */
  readonly #products: Float64Array;

  /** Of features of so many numbers. */
  constructor(width: number) {
    this.width = width;
    this.#sum = new Float64Array(width);
    this.#products = new Float64Array(width * width);
  }

  /** How many samples it has. */
  get count(): number {
    return this.#count;
  }

  /** Adds samples: their features, [count, width]. */
  add({ count, width, rows }: FeatureSet): void {
    if (width !== this.width) {
      throw new RangeError(`GaussianSums: expected features of ${this.width} but got ${width}`);
    }
    if (count === 0) return;
    this.#shift ??= meanOf(rows, count, width);
    const apart = new Float64Array(count * width);
    for (let i = 0, at = 0; i < count; i++) {
      for (let j = 0; j < width; j++, at++) {
        apart[at] = rows[at]! - this.#shift[j]!;
        this.#sum[j]! += apart[at]!;
      }
    }
    addProducts(this.#products, apart, count, width);
    this.#count += count;
  }

  /**
   * Mean and covariance of all samples.
   *
   * @throws {RangeError} where there are fewer than two.
   */
  gaussian(): Gaussian {
    const count = this.#count;
    if (count < 2) {
      throw new RangeError(`covariance: expected two samples or more but got ${count}`);
    }
    const { width } = this;
    const mean = this.#sum.map((sum, j) => this.#shift![j]! + sum / count);
    const covariance = new Float64Array(width * width);
    for (let i = 0; i < width; i++) {
      for (let j = i; j < width; j++) {
        const product = this.#products[i * width + j]! - this.#sum[i]! * this.#sum[j]! / count;
        covariance[i * width + j] = covariance[j * width + i] = product / (count - 1);
      }
    }
    return { count, mean, covariance };
  }
}

function meanOf(rows: Float32Array, count: number, width: number): Float64Array {
  const mean = new Float64Array(width);
  for (let i = 0, at = 0; i < count; i++) for (let j = 0; j < width; j++) mean[j]! += rows[at++]!;
  return mean.map((sum) => sum / count);
}

/**
 * Adds xᵀ x of x [count, width] to the upper triangle of `sums`: four samples for two rows of sums at
 * a time, as many as there are registers for.
 */
function addProducts(sums: Float64Array, x: Float64Array, count: number, width: number): void {
  for (let first = 0; first < width; first += TILE) {
    const end = Math.min(first + TILE, width);
    for (let n = 0; n < count; n += 4) {
      // rows beyond the last are read as the last, times 0
      const at = (i: number) => Math.min(n + i, count - 1) * width;
      const is = (i: number) => n + i < count ? 1 : 0;
      const [r0, r1, r2, r3] = [at(0), at(1), at(2), at(3)];
      const [k1, k2, k3] = [is(1), is(2), is(3)];
      for (let i = first; i < end; i += 2) {
        const [a0, a1, a2, a3] = [x[r0 + i]!, x[r1 + i]! * k1, x[r2 + i]! * k2, x[r3 + i]! * k3];
        const upper = i * width;
        sums[upper + i]! += a0 * a0 + a1 * a1 + a2 * a2 + a3 * a3;
        if (i + 1 === width) continue;
        const b0 = x[r0 + i + 1]!, b1 = x[r1 + i + 1]! * k1;
        const b2 = x[r2 + i + 1]! * k2, b3 = x[r3 + i + 1]! * k3;
        const lower = upper + width;
        for (let j = i + 1; j < width; j++) {
          const x0 = x[r0 + j]!, x1 = x[r1 + j]!, x2 = x[r2 + j]!, x3 = x[r3 + j]!;
          sums[upper + j]! += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3;
          sums[lower + j]! += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3;
        }
      }
    }
  }
}

/** The distribution of a whole set of features. */
export function gaussianOf(set: FeatureSet): Gaussian {
  const sums = new GaussianSums(set.width);
  sums.add(set);
  return sums.gaussian();
}

/**
 * |m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Dowson & Landau 1982): of features of Inception, the
 * FID (Heusel et al., arXiv:1706.08500).
 *
 * The root's trace is the sum of the roots of the eigenvalues of Lᵀ S2 L, where S1 = L Lᵀ. That
 * matrix is symmetric, so no eigenvalue is complex, and a singular S1 only makes L narrower: nothing
 * has to be added to a diagonal, as the ADM suite adds 1e-6 where SciPy's `sqrtm` of S1 S2 fails.
 */
export function frechetDistance(a: Gaussian, b: Gaussian): number {
  const n = a.mean.length;
  if (b.mean.length !== n) {
    throw new RangeError(
      `frechetDistance: expected features of one width but got ${n} and ${b.mean.length}`,
    );
  }
  // the factor is taken of the one of lower rank
  const rankOf = ({ count }: Gaussian) => count === null ? n : Math.min(n, count - 1);
  const [first, second] = rankOf(a) <= rankOf(b) ? [a, b] : [b, a];
  const factor = pivotedCholesky(first.covariance, n, rankOf(first));
  const inner = congruence(second.covariance, n, factor);
  const roots = symmetricEigenvalues(inner, factor.rank)
    .reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0);
  let [apart, traces] = [0, 0];
  for (let i = 0; i < n; i++) {
    apart += (a.mean[i]! - b.mean[i]!) ** 2;
    traces += a.covariance[i * n + i]! + b.covariance[i * n + i]!;
  }
  return apart + traces - 2 * roots;
}
