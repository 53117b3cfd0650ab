/** Products on a GPU's matrix units, where its WebGPU reaches them: Dawn's does, Deno's does not. */
import type { GpuSource } from "./adapter.ts";
import { findAdapter } from "../../tensor/webgpu/device/adapter.ts";
import type { Report, Row } from "../measure.ts";
import { matrixProduct, type MatrixTiling, type MatrixUnit, tileOf } from "./matrix_product.ts";
import { fillUniform, productError, RawGpu } from "./raw.ts";

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

/** Of the widest layer of DiT-XL/2 at batch 32. */
const LARGE = { sizes: [8192, 4608, 1152], matricesDown: 4, matricesAcross: 2, depth: 32 } as const;
const TINY = { sizes: [128, 128, 64], matricesDown: 2, matricesAcross: 2, depth: 16 } as const;

/**
 * Times the product of a layer, those of its gradients, and one with bias and GELU in it.
 *
 * @throws {Error} where one of them computes something else.
 */
export async function tensorCores(
  report: Report,
  { gpu: source }: GpuSource,
  tiny: boolean,
): Promise<void> {
  const adapter = (await findAdapter(undefined, source))!;
  const { subgroupMatrixConfigs = [], subgroupMaxSize } = adapter.info as DawnInfo;
  const units = [...subgroupMatrixConfigs]
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
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
  const { sizes, ...size } = tiny ? TINY : LARGE;
  const tiling = { subgroupsDown: 2, subgroupsAcross: 2, ...size };
  const kinds: readonly [string, MatrixTiling][] = [
    ["x wT", { ...tiling, transposeB: true }],
    ["g w", tiling],
    ["gT x", { ...tiling, transposeA: true }],
    ["gelu(x wT + bias)", { ...tiling, transposeB: true, gelu: true }],
  ];
  const gpu = new RawGpu(device);
  const rows: Row[] = [];
  const wrong: string[] = [];
  for (const [name, kind] of kinds) {
    const { error, ms } = await timed(gpu, unit, kind, sizes, tiny ? 1 : 20);
    const [m, n, k] = sizes;
    rows.push({
      product: name,
      "M x N x K": sizes.join(" x "),
      ms,
      "TFLOPS": 2 * m * n * k / ms / 1e9,
      error,
    });
    if (!(error <= LARGEST_ERROR)) wrong.push(`${name}: an error of ${error}`);
    report.add("products on tensor cores", rows);
  }
  device.destroy();
  if (wrong.length > 0) throw new Error(wrong.join("; "));
}

async function timed(
  gpu: RawGpu,
  unit: MatrixUnit,
  tiling: MatrixTiling,
  sizes: readonly [number, number, number],
  times: number,
): Promise<{ error: number; ms: number }> {
  const [m, n, k] = sizes;
  const { transposeA, transposeB, gelu } = tiling;
  const a = fillUniform(new Float16Array(m * k), 1);
  const b = fillUniform(new Float16Array(n * k), 2);
  const bias = Float32Array.from({ length: n }, (_, i) => i % 7 - 3);
  const out = gpu.buffer(m * n * 4);
  const buffers = [
    gpu.upload(Uint32Array.of(m, n, k, 0), GPUBufferUsage.UNIFORM),
    gpu.upload(a),
    gpu.upload(b),
    out,
    ...(gelu ? [gpu.upload(bias)] : []),
  ];
  try {
    const [rows, columns] = tileOf(unit, tiling);
    const launch = gpu.launch(matrixProduct(unit, tiling), buffers, m / rows * (n / columns));
    await gpu.milliseconds(launch, 1); // compiles it
    gpu.check();
    const error = productError(new Float32Array(await gpu.read(out)), sizes, (i, j) => {
      let sum = 0;
      for (let q = 0; q < k; q++) {
        sum += a[transposeA ? q * m + i : i * k + q]! * b[transposeB ? j * k + q : q * n + j]!;
      }
      return gelu ? geluTanh(sum + bias[j]!) : sum;
    });
    return { error, ms: await gpu.milliseconds(launch, times) };
  } finally {
    for (const buffer of buffers) buffer.destroy();
  }
}

function geluTanh(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}
