/**
 * Symmetric matrices in float64, row-major [n, n]: what a Fréchet distance needs of them. All of it
 * works along rows, several at a time, so that 2048x2048 takes seconds.
 */

/** A factor L [n, rank] of a positive semi-definite matrix A = L Lᵀ. */
export interface Factor {
  readonly rank: number;
  /** [n, rank], row-major. */
  readonly rows: Float64Array<ArrayBuffer>;
  /** How many elements of each row are not 0: the first ones. */
  readonly lengths: Int32Array<ArrayBuffer>;
}

/**
 * Cholesky's factor with the largest remaining diagonal element first (Higham, "Analysis of the
 * Cholesky decomposition of a semi-definite matrix", 1990), which ends where nothing remains: right
 * for singular matrices too.
 *
 * @param mostRank The rank is known not to be higher.
 */
export function pivotedCholesky(
  matrix: Float64Array,
  n: number,
  mostRank: number = n,
): Factor {
  const most = Math.max(0, Math.min(n, mostRank));
  const rows = new Float64Array(n * most);
  const lengths = new Int32Array(n).fill(most);
  const isPivot = new Uint8Array(n);
  const left = Float64Array.from({ length: n }, (_, i) => matrix[i * n + i]!);
  const least = Number.EPSILON * left.reduce((a, b) => Math.max(a, b), 0);
  let rank = 0;
  for (; rank < most; rank++) {
    let pivot = -1;
    for (let i = 0; i < n; i++) {
      if (!isPivot[i] && (pivot < 0 || left[i]! > left[pivot]!)) pivot = i;
    }
    if (pivot < 0 || !(left[pivot]! > least)) break;
    const root = Math.sqrt(left[pivot]!);
    lengths[pivot] = rank + 1;
    isPivot[pivot] = 1;
    const at = pivot * most;
    rows[at + rank] = root;
    for (let i = 0; i < n; i++) {
      if (isPivot[i]) continue; // nothing of it remains
      const value = (matrix[pivot * n + i]! - dot(rows, at, i * most, rank)) / root;
      rows[i * most + rank] = value;
      left[i]! -= value * value;
    }
  }
  if (rank === most) return { rank, rows, lengths };
  const shorter = new Float64Array(n * rank);
  for (let i = 0; i < n; i++) {
    shorter.set(rows.subarray(i * most, i * most + rank), i * rank);
    lengths[i] = Math.min(lengths[i]!, rank);
  }
  return { rank, rows: shorter, lengths };
}

function dot(x: Float64Array, a: number, b: number, length: number): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    s0 += x[a + i]! * x[b + i]!;
    s1 += x[a + i + 1]! * x[b + i + 1]!;
    s2 += x[a + i + 2]! * x[b + i + 2]!;
    s3 += x[a + i + 3]! * x[b + i + 3]!;
  }
  for (; i < length; i++) s0 += x[a + i]! * x[b + i]!;
  return s0 + s1 + (s2 + s3);
}

/** Rows of a factor whose products are added at a time, so that they stay in the cache. */
const BLOCK = 32;

/** Lᵀ A L [rank, rank] for a symmetric A [n, n]; its lower triangle only. */
export function congruence(
  matrix: Float64Array,
  n: number,
  { rank, rows, lengths }: Factor,
): Float64Array<ArrayBuffer> {
  const order = Array.from(lengths, (_, i) => i).sort((a, b) => lengths[a]! - lengths[b]!);
  const product = new Float64Array(n * rank); // A L
  for (let first = 0; first < n; first += BLOCK) {
    const block = order.slice(first, first + BLOCK);
    for (let i = 0; i < n; i++) {
      const coefficient = (k: number) => matrix[i * n + k]!;
      addRows(product, i * rank, rows, rank, block, coefficient, (k) => lengths[k]!);
    }
  }
  const out = new Float64Array(rank * rank);
  for (let first = 0; first < n; first += BLOCK) {
    const block = order.slice(first, first + BLOCK);
    const longest = lengths[block.at(-1)!]!;
    for (let i = 0; i < longest; i++) {
      const coefficient = (k: number) => rows[k * rank + i]!;
      addRows(out, i * rank, product, rank, block, coefficient, () => i + 1);
    }
  }
  return out;
}

/** Adds to a row of `out` the rows `block` of `from`, each times its coefficient, up to its length. */
function addRows(
  out: Float64Array,
  at: number,
  from: Float64Array,
  width: number,
  block: readonly number[],
  coefficient: (k: number) => number,
  lengthOf: (k: number) => number,
): void {
  let b = 0;
  for (; b + 4 <= block.length; b += 4) {
    const [k0, k1, k2, k3] = [block[b]!, block[b + 1]!, block[b + 2]!, block[b + 3]!];
    const length = lengthOf(k3); // the longest: further elements of the others are 0
    addFour(
      out,
      at,
      from,
      k0 * width,
      k1 * width,
      k2 * width,
      k3 * width,
      coefficient(k0),
      coefficient(k1),
      coefficient(k2),
      coefficient(k3),
      length,
    );
  }
  for (; b < block.length; b++) {
    const k = block[b]!;
    const [a, length] = [coefficient(k), lengthOf(k)];
    for (let j = 0; j < length; j++) out[at + j]! += a * from[k * width + j]!;
  }
}

function addFour(
  out: Float64Array,
  at: number,
  from: Float64Array,
  r0: number,
  r1: number,
  r2: number,
  r3: number,
  a0: number,
  a1: number,
  a2: number,
  a3: number,
  length: number,
): void {
  for (let j = 0; j < length; j++) {
    out[at + j]! += a0 * from[r0 + j]! + a1 * from[r1 + j]! + a2 * from[r2 + j]! +
      a3 * from[r3 + j]!;
  }
}

/**
 * Eigenvalues of a symmetric matrix, in no order: Householder's reduction to three diagonals, then
 * implicit QL (Golub & Van Loan, "Matrix Computations", 8.3). Only the lower triangle is read; the
 * matrix is overwritten.
 */
export function symmetricEigenvalues(matrix: Float64Array, n: number): Float64Array<ArrayBuffer> {
  const { diagonal, beside } = tridiagonal(matrix, n);
  return tridiagonalEigenvalues(diagonal, beside);
}

interface Tridiagonal {
  readonly diagonal: Float64Array<ArrayBuffer>;
  /** Element i lies between rows i and i + 1; the last is 0. */
  readonly beside: Float64Array<ArrayBuffer>;
}

/**
 * Each step needs A v for a new v and then takes v wᵀ + w vᵀ off A. The subtraction waits for the
 * next step's product, so that the matrix, which no cache holds, is passed over once a step.
 */
function tridiagonal(a: Float64Array, n: number): Tridiagonal {
  const diagonal = new Float64Array(n);
  const beside = new Float64Array(n);
  let v = new Float64Array(n), w = new Float64Array(n); // of the step before: 0 at first
  let next = new Float64Array(n), product = new Float64Array(n);
  for (let k = n - 1; k >= 0; k--) {
    const row = k * n;
    // row k, brought up to date
    for (let j = 0; j <= k; j++) a[row + j]! -= v[k]! * w[j]! + w[k]! * v[j]!;
    diagonal[k] = a[row + k]!;
    if (k === 0) break;
    let [scale, rest] = [0, 0];
    for (let j = 0; j < k; j++) scale = Math.max(scale, Math.abs(a[row + j]!));
    for (let j = 0; j < k && scale > 0; j++) {
      next[j] = a[row + j]! / scale;
      rest += next[j]! * next[j]!;
    }
    if (scale === 0) next.fill(0, 0, k);
    next[k] = 0;
    const last = next[k - 1]!;
    const norm = last >= 0 ? -Math.sqrt(rest) : Math.sqrt(rest);
    beside[k - 1] = norm * scale;
    const half = rest - last * norm; // v v / 2
    next[k - 1] = last - norm;
    updateAndMultiply(a, n, k, v, w, next, product);
    let along = 0;
    for (let j = 0; j < k; j++) {
      product[j] = half === 0 ? 0 : product[j]! / half;
      along += product[j]! * next[j]!;
    }
    const share = half === 0 ? 0 : along / (2 * half);
    for (let j = 0; j < k; j++) product[j]! -= share * next[j]!;
    product[k] = 0;
    [v, next] = [next, v];
    [w, product] = [product, w];
  }
  return { diagonal, beside };
}

/** Takes v wᵀ + w vᵀ off the first `k` rows (lower triangle), and sets `product` to theirs with x. */
function updateAndMultiply(
  a: Float64Array,
  n: number,
  k: number,
  v: Float64Array,
  w: Float64Array,
  x: Float64Array,
  product: Float64Array,
): void {
  product.fill(0, 0, k);
  for (let i = 0; i < k; i++) {
    const row = i * n;
    const [vi, wi, xi] = [v[i]!, w[i]!, x[i]!];
    let sum = 0;
    for (let j = 0; j < i; j++) {
      const value = a[row + j]! - (vi * w[j]! + wi * v[j]!);
      a[row + j] = value;
      sum += value * x[j]!;
      product[j]! += value * xi;
    }
    const value = a[row + i]! - 2 * vi * wi;
    a[row + i] = value;
    product[i]! += sum + value * xi;
  }
}

/** Rounds of QL for one eigenvalue at most; three are usual. */
const MOST_ROUNDS = 60;

function tridiagonalEigenvalues(
  d: Float64Array<ArrayBuffer>,
  e: Float64Array,
): Float64Array<ArrayBuffer> {
  const n = d.length;
  for (let l = 0; l < n; l++) {
    for (let round = 0;; round++) {
      let m = l;
      for (; m < n - 1; m++) {
        const size = Math.abs(d[m]!) + Math.abs(d[m + 1]!);
        if (Math.abs(e[m]!) <= Number.EPSILON * size) break;
      }
      if (m === l) break;
      if (round === MOST_ROUNDS) throw new Error("eigenvalues: QL does not converge");
      let g = (d[l + 1]! - d[l]!) / (2 * e[l]!);
      let r = Math.hypot(g, 1);
      g = d[m]! - d[l]! + e[l]! / (g + (g >= 0 ? r : -r));
      let [s, c, p] = [1, 1, 0];
      let i = m - 1;
      for (; i >= l; i--) {
        const f = s * e[i]!;
        const b = c * e[i]!;
        r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1]! -= p;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1]! - p;
        r = (d[i]! - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
      }
      if (r === 0 && i >= l) continue;
      d[l]! -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
  return d;
}
