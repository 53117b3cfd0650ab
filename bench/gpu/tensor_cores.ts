/** Products on a GPU's matrix units, where its WebGPU reaches them: Dawn's does, Deno's does not. */
import type { GpuSource } from "./adapter.ts";
import { findAdapter } from "../../tensor/webgpu/device/adapter.ts";
import type { Report, Row } from "../measure.ts";
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
const WARM_MILLISECONDS = 200;

/** Of the widest layer of DiT-XL/2 at batch 32. */
const LARGE = [8192, 4608, 1152] as const;
const TINY = [128, 128, 64] as const;
/** Subgroups of a workgroup, matrices of each of them, and the depth of a round. */
const LARGE_TILINGS: readonly MatrixTiling[] = [
  tilingOf(2, 2, 4, 2, 32),
  tilingOf(2, 2, 4, 4, 16),
  tilingOf(2, 2, 4, 4, 32),
  tilingOf(4, 2, 2, 4, 32),
  tilingOf(2, 4, 4, 2, 32),
  tilingOf(4, 2, 4, 4, 16),
  tilingOf(1, 2, 4, 4, 32),
];
const TINY_TILINGS: readonly MatrixTiling[] = [tilingOf(2, 2, 2, 2, 16)];

/**
 * Times the product of a layer, those of its gradients, and one with bias and GELU in it.
 *
 * @throws {Error} where one of them computes something else.
 */
export async function tensorCores(
  report: Report,
  { gpu: source }: GpuSource,
  { tiny }: Pick<Bench, "tiny">,
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
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
  const sizes = tiny ? TINY : LARGE;
  const kinds = (tiny ? TINY_TILINGS : LARGE_TILINGS).flatMap((tiling) =>
    [
      ["x wT", { ...tiling, transposeB: true }],
      ["g w", tiling],
      ["gT x", { ...tiling, transposeA: true }],
      ["gelu(x wT + bias)", { ...tiling, transposeB: true, gelu: true }],
    ] as [string, MatrixTiling][]
  );
  const gpu = new RawGpu(device);
  const warmer = tiny ? null : await Warmer.of(device);
  const rows: Row[] = [];
  const wrong: string[] = [];
  for (const [name, kind] of kinds) {
    const figures = await timed(gpu, unit, kind, sizes, tiny ? 1 : 20, warmer).catch((error) => ({
      note: String(error).slice(0, 200),
    }));
    const { subgroupsDown, subgroupsAcross, matricesDown, matricesAcross, depth } = kind;
    rows.push({
      product: name,
      subgroups: `${subgroupsDown}x${subgroupsAcross}`,
      "matrices of each": `${matricesDown}x${matricesAcross}`,
      depth,
      "M x N x K": sizes.join(" x "),
      ...figures,
    });
    if ("error" in figures && !(figures.error <= LARGEST_ERROR)) {
      wrong.push(`${name}: an error of ${figures.error}`);
    }
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
  warmer: Warmer | null,
): Promise<{ ms: number; "TFLOPS": number; error: number }> {
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
    warmer?.keep(WARM_MILLISECONDS);
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
    warmer?.keep(WARM_MILLISECONDS);
    const ms = await gpu.milliseconds(launch, times);
    gpu.check();
    return { ms, "TFLOPS": 2 * m * n * k / ms / 1e9, error };
  } finally {
    for (const buffer of buffers) buffer.destroy();
  }
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
