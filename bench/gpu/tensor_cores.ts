/** Products on a GPU's matrix units, where its WebGPU reaches them: Dawn's does, Deno's does not. */
import type { GpuSource } from "./adapter.ts";
import { findAdapter } from "../../tensor/webgpu/device/adapter.ts";
import type { Report, Row } from "../measure.ts";
import { type StagedBy, stagedBytes, stagedMatrixProduct } from "./staged_matrix_product.ts";
import { matrixProduct, type MatrixTiling, type MatrixUnit, tileOf } from "./matrix_product.ts";
import type { Bench } from "./clock.ts";
import { fillUniform, productError, RawGpu } from "./raw.ts";
import { Warmer } from "./warmer.ts";

/** What WebGPU's types do not know of Dawn. */
interface DawnInfo extends GPUAdapterInfo {
  readonly subgroupMaxSize: number;
  readonly subgroupMatrixConfigs?: Iterable<{
    readonly componentType: string;
    readonly resultComponentType: string;
    readonly M: number;
    readonly N: number;
    readonly K: number;
  }>;
}

const MATRICES = "chromium-experimental-subgroup-matrix";
/** Beyond this error, in units of the square root of K, a result of f16 operands is wrong. */
const LARGEST_ERROR = 1e-4;
/** For how long the GPU is kept busy before a product is timed. */
const WARM_MILLISECONDS = 100;

/** Of the widest layer of DiT-XL/2 at batch 32. */
const LARGE = [8192, 4608, 1152] as const;
const TINY = [128, 128, 64] as const;

/** A way to compute a product, operands straight from storage or staged in workgroup memory. */
interface Way {
  readonly tiling: MatrixTiling;
  readonly staged?: StagedBy;
}

/** Subgroups of a workgroup, matrices of each of them, and the depth of a round. */
const LARGE_WAYS: readonly Way[] = [
  { tiling: tilingOf(2, 2, 4, 4, 32) },
  { tiling: tilingOf(1, 2, 4, 4, 32) },
  { tiling: tilingOf(2, 2, 4, 4, 32), staged: "plain" },
  { tiling: tilingOf(2, 2, 4, 4, 32), staged: "prefetch" },
  { tiling: tilingOf(2, 2, 4, 4, 32), staged: "double" },
  { tiling: tilingOf(2, 2, 4, 4, 16), staged: "double" },
  { tiling: tilingOf(2, 2, 4, 4, 64), staged: "prefetch" },
  { tiling: tilingOf(2, 4, 4, 2, 32), staged: "prefetch" },
  { tiling: tilingOf(2, 4, 4, 2, 32), staged: "double" },
  { tiling: tilingOf(4, 2, 2, 4, 32), staged: "double" },
  { tiling: tilingOf(2, 4, 4, 4, 32), staged: "prefetch" },
  { tiling: tilingOf(2, 4, 4, 4, 16), staged: "double" },
  { tiling: tilingOf(1, 2, 4, 4, 32), staged: "double" },
];
const TINY_WAYS: readonly Way[] = [
  { tiling: tilingOf(2, 2, 2, 2, 16) },
  { tiling: tilingOf(2, 2, 2, 2, 16), staged: "plain" },
  { tiling: tilingOf(2, 2, 2, 4, 16), staged: "prefetch" },
  { tiling: tilingOf(2, 2, 2, 2, 32), staged: "double" },
];

/**
 * Times the product of a layer, those of its gradients, and one with bias and GELU in it.
 *
 * @throws {Error} where one of them computes something else.
 */
export async function tensorCores(
  report: Report,
  { gpu: source }: GpuSource,
  { tiny, left }: Pick<Bench, "tiny" | "left">,
): Promise<void> {
  const adapter = (await findAdapter(undefined, source))!;
  const { subgroupMatrixConfigs = [], subgroupMaxSize } = adapter.info as DawnInfo;
  const configurations = [...subgroupMatrixConfigs].map((
    { componentType, resultComponentType, M, N, K },
  ) => ({ componentType, resultComponentType, M, N, K }));
  report.note("matrices of subgroups", configurations);
  const units = configurations
    .filter((c) => c.componentType === "f16" && c.resultComponentType === "f32")
    .map(({ M, N, K }) => ({ M, N, K, subgroup: subgroupMaxSize }))
    .sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K);
  report.note("matrix units", units);
  const unit = units[0];
  if (!adapter.features.has(MATRICES as GPUFeatureName) || !unit) {
    const missing = "not reached by this WebGPU";
    console.log(`\ntensor cores: ${missing}`);
    return report.note("tensor cores", missing);
  }
  const wanted = [MATRICES, "subgroups", "shader-f16", "timestamp-query"] as GPUFeatureName[];
  const { maxBufferSize, maxStorageBufferBindingSize, maxComputeWorkgroupStorageSize } =
    adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize, maxComputeWorkgroupStorageSize },
  });
  const gpu = new RawGpu(device);
  const warmer = tiny ? null : await Warmer.of(device);
  const sizes = tiny ? TINY : LARGE;
  const rows: Row[] = [];
  const wrong: string[] = [];
  for (const [name, layout] of Object.entries(PRODUCTS)) {
    using operands = new Operands(gpu, sizes, layout);
    for (const way of tiny ? TINY_WAYS : LARGE_WAYS) {
      if (left() < 5) break;
      const { tiling, staged } = way;
      if (staged && layout.gelu) continue;
      const full = { ...tiling, ...layout };
      const bytes = staged ? stagedBytes(unit, full, staged) : 0;
      const figures = bytes > maxComputeWorkgroupStorageSize
        ? { note: `${bytes} bytes of workgroup memory` }
        : await timed(
          gpu,
          unit,
          { tiling: full, ...(staged ? { staged } : {}) },
          operands,
          tiny ? 1 : 20,
          warmer,
        )
          .catch((error) => ({ note: String(error).slice(0, 200) }));
      const { subgroupsDown, subgroupsAcross, matricesDown, matricesAcross, depth } = tiling;
      rows.push({
        product: name,
        staged: staged ?? "no",
        subgroups: `${subgroupsDown}x${subgroupsAcross}`,
        "matrices of each": `${matricesDown}x${matricesAcross}`,
        depth,
        "M x N x K": sizes.join(" x "),
        ...figures,
      });
      if ("error" in figures && !(figures.error <= LARGEST_ERROR)) {
        wrong.push(`${name}: an error of ${figures.error}`);
      }
    }
    report.add("products on tensor cores", rows);
  }
  device.destroy();
  if (wrong.length > 0) throw new Error(wrong.join("; "));
}

/** How the operands of a product lie, and what follows it. */
type Layout = Pick<MatrixTiling, "transposeA" | "transposeB" | "gelu">;

/** The product of a layer, those of its gradients, and one with bias and GELU in it. */
const PRODUCTS: Readonly<Record<string, Layout>> = {
  "x wT": { transposeB: true },
  "g w": {},
  "gT x": { transposeA: true },
  "gelu(x wT + bias)": { transposeB: true, gelu: true },
};

/** Arrays of one product, on the host and on the GPU. */
class Operands implements Disposable {
  readonly a: Float16Array<ArrayBuffer>;
  readonly b: Float16Array<ArrayBuffer>;
  readonly bias: Float32Array<ArrayBuffer>;
  readonly out: GPUBuffer;
  readonly buffers: readonly GPUBuffer[];

  constructor(
    gpu: RawGpu,
    readonly sizes: readonly [number, number, number],
    readonly layout: Layout,
  ) {
    const [m, n, k] = sizes;
    this.a = fillUniform(new Float16Array(m * k), 1);
    this.b = fillUniform(new Float16Array(n * k), 2);
    this.bias = Float32Array.from({ length: n }, (_, i) => i % 7 - 3);
    this.out = gpu.buffer(m * n * 4);
    this.buffers = [
      gpu.upload(Uint32Array.of(m, n, k, 0), GPUBufferUsage.UNIFORM),
      gpu.upload(this.a),
      gpu.upload(this.b),
      this.out,
      ...(layout.gelu ? [gpu.upload(this.bias)] : []),
    ];
  }

  /** Element [i, j] of the product, in float64. */
  want(i: number, j: number): number {
    const { a, b, bias, layout: { transposeA, transposeB, gelu } } = this;
    const [m, n, k] = this.sizes;
    let sum = 0;
    for (let q = 0; q < k; q++) {
      sum += a[transposeA ? q * m + i : i * k + q]! * b[transposeB ? j * k + q : q * n + j]!;
    }
    return gelu ? geluTanh(sum + bias[j]!) : sum;
  }

  [Symbol.dispose](): void {
    for (const buffer of this.buffers) buffer.destroy();
  }
}

async function timed(
  gpu: RawGpu,
  unit: MatrixUnit,
  { tiling, staged }: Way,
  operands: Operands,
  times: number,
  warmer: Warmer | null,
): Promise<{ ms: number; "TFLOPS": number; error: number }> {
  const { sizes, buffers, out } = operands;
  const [m, n, k] = sizes;
  const [rows, columns] = tileOf(unit, tiling);
  const code = staged ? stagedMatrixProduct(unit, tiling, staged) : matrixProduct(unit, tiling);
  gpu.clear(out);
  warmer?.keep(WARM_MILLISECONDS);
  const launch = gpu.launch(code, buffers, m / rows * (n / columns));
  await gpu.milliseconds(launch, 1); // compiles it
  gpu.check();
  let error = 0;
  for (const first of [0, m - rows]) {
    const got = new Float32Array(await gpu.read(out, first * n * 4, rows * n * 4));
    const want = (i: number, j: number): number => operands.want(first + i, j);
    error = Math.max(error, productError(got, [rows, n, k], want));
  }
  warmer?.keep(WARM_MILLISECONDS);
  const ms = await gpu.milliseconds(launch, times);
  gpu.check();
  return { ms, "TFLOPS": 2 * m * n * k / ms / 1e9, error };
}

function tilingOf(
  subgroupsDown: number,
  subgroupsAcross: number,
  matricesDown: number,
  matricesAcross: number,
  depth: number,
): MatrixTiling {
  return { subgroupsDown, subgroupsAcross, matricesDown, matricesAcross, depth };
}

function geluTanh(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}
