/**
 * Whether a GPU's matrix units can be trusted: what they are reached by is an experiment, so products
 * are compiled and compared with float64 before any result depends on them.
 */
import { contiguousStrides } from "../shape.ts";
import type { Backend } from "../backend.ts";
import type { View } from "../view.ts";
import { MATRIX_FEATURES, type MatrixUnit } from "./device/matrices.ts";
import type { WebGpuRuntime } from "./device/runtime.ts";
import { matrixTile } from "./kernels/matrix_plan.ts";

/** Largest error of a sum of k products of numbers up to 1, in units of the square root of k. */
const LARGEST_ERROR = 1e-4;

/** The WebGPU device, as far as it is needed here. */
export type GpuBackend = Backend & { readonly runtime: WebGpuRuntime };

/** How operands lie: that of a layer, of its gradient for the input, and of that for the weights. */
const PRODUCTS = [
  { name: "x wT", transposeA: false, transposeB: true, sums: false },
  { name: "g w", transposeA: false, transposeB: false, sums: false },
  { name: "gT x", transposeA: true, transposeB: false, sums: true },
] as const;

/**
 * Has products of f16 use these matrices if they give right results.
 *
 * @returns Why they are not used; null where they are.
 */
export async function useMatrices(
  backend: GpuBackend,
  unit: MatrixUnit,
): Promise<string | null> {
  const { runtime } = backend;
  const { device, limits } = runtime;
  const missing = MATRIX_FEATURES.find((feature) => !device.features.has(feature));
  if (missing !== undefined) return `${missing} was not granted`;
  if (runtime.halfMode !== "native") return "f16 is read from packed words";
  const tile = matrixTile(unit, limits, runtime.traits);
  if (tile === null) return "no tile of them fits the limits of a workgroup";
  runtime.matrices = tile;
  const reason = await probe(backend, [tile.rows - 8, tile.columns - 8, tile.depth * 3 / 2])
    .catch(String);
  if (reason !== null) runtime.matrices = null;
  return reason;
}

/** What is wrong with the products of these sizes; null where nothing is. */
async function probe(
  backend: GpuBackend,
  [m, n, k]: readonly [number, number, number],
): Promise<string | null> {
  const { device } = backend.runtime;
  const buffers: View["buffer"][] = [];
  const array = (
    dtype: "f16" | "f32",
    shape: readonly number[],
    data?: Float16Array<ArrayBuffer>,
  ): View => {
    const length = shape.reduce((product, size) => product * size, 1);
    const buffer = backend.alloc(length * (dtype === "f16" ? 2 : 4), "init");
    buffers.push(buffer);
    if (data) backend.write(buffer, 0, data);
    return { buffer, dtype, offset: 0, shape, strides: contiguousStrides(shape) };
  };
  const flipped = ({ shape: [p, q, r, s], strides: [t, u, v, w], ...view }: View): View => ({
    ...view,
    shape: [p!, q!, s!, r!],
    strides: [t!, u!, w!, v!],
  });
  const [left, right] = [numbers(m * k, 1), numbers(k * n, 2)];
  try {
    const compute = () =>
      PRODUCTS.map(({ transposeA, transposeB, sums }) => {
        const a = array("f16", transposeA ? [1, 1, k, m] : [1, 1, m, k], left);
        const b = array("f16", transposeB ? [1, 1, n, k] : [1, 1, k, n], right);
        const out = array("f32", [1, 1, m, n]);
        const rows = sums ? array("f32", [1, 1, m]) : null;
        backend.run("matmul", {
          a: transposeA ? flipped(a) : a,
          b: transposeB ? flipped(b) : b,
          bias: null,
          activation: "none",
          pre: null,
          ...(rows ? { sums: rows } : {}),
          out,
          accumulate: false,
        }, "init");
        return { out, rows };
      });
    let results: ReturnType<typeof compute> = [];
    const error = await errorsOf(device, () => {
      results = compute();
      backend.flush();
    });
    if (error !== null) return error;
    const read = (view: View | null) =>
      view && backend.read(view.buffer, "f32", 0, view.shape.reduce((x, y) => x * y, 1));
    for (const [i, { out, rows }] of results.entries()) {
      const { name, transposeA, transposeB } = PRODUCTS[i]!;
      const [got, gotRows] = await Promise.all([read(out), read(rows)]);
      const off = errorOf(
        (row, q) => left[transposeA ? q * m + row : row * k + q]!,
        (q, column) => right[transposeB ? column * k + q : q * n + column]!,
        { m, n, k },
        got!,
        gotRows,
      );
      if (!(off <= LARGEST_ERROR * Math.sqrt(k))) {
        return `expected ${name} with errors of at most ${
          LARGEST_ERROR * Math.sqrt(k)
        } but got ${off}`;
      }
    }
    return null;
  } finally {
    for (const buffer of buffers) backend.free(buffer);
  }
}

/** The first line of what the device says against the work that `launch` hands it; null if nothing. */
export async function errorsOf(device: GPUDevice, launch: () => void): Promise<string | null> {
  const scopes = ["validation", "internal", "out-of-memory"] as const;
  for (const scope of scopes) device.pushErrorScope(scope);
  launch();
  // One scope each, the last one first.
  const errors = await Promise.all(scopes.map(() => device.popErrorScope()));
  const error = errors.find((each) => each !== null);
  return error ? error.message.trim().split("\n")[0]! : null;
}

/** The largest error of a product, and of the sums of its left operand's rows. */
function errorOf(
  a: (row: number, q: number) => number,
  b: (q: number, column: number) => number,
  { m, n, k }: { readonly m: number; readonly n: number; readonly k: number },
  got: ArrayLike<number>,
  gotRows: ArrayLike<number> | null,
): number {
  let worst = 0;
  const compare = (want: number, found: number): void => {
    const off = Math.abs(want - found);
    worst = Number.isNaN(off) ? Infinity : Math.max(worst, off);
  };
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = 0;
      for (let q = 0; q < k; q++) sum += a(row, q) * b(q, column);
      compare(sum, got[row * n + column]!);
    }
    if (!gotRows) continue;
    let sum = 0;
    for (let q = 0; q < k; q++) sum += a(row, q);
    compare(sum, gotRows[row]!);
  }
  return worst;
}

/** Numbers in [-1, 1), the same every time. */
export function numbers(count: number, seed: number): Float16Array<ArrayBuffer> {
  let state = seed;
  return Float16Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 23 - 1;
  });
}
