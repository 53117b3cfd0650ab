/** Which shader of a product suits this GPU and its driver best. */
import type { Device } from "@dit/core";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import type { Report, Row } from "../measure.ts";
import type { Bench } from "./clock.ts";
import { fillUniform, productError, RawGpu } from "./raw.ts";
import { tiledProduct, type Tiling, workgroupsOf } from "./tiled_product.ts";
import type { Warmer } from "../../tensor/webgpu/tune/warmer.ts";

type Sizes = readonly [m: number, n: number, k: number];

/** Of DiT-XL/2 and DiT-S/2 at batch 32; variants are compared on the first. */
const SHAPES: readonly Sizes[] = [[8192, 4608, 1152], [8192, 384, 384], [8192, 1536, 384]];
/** Beyond this error, in units of the square root of K, a result is wrong. */
const LARGEST_ERROR = { f32: 1e-5, f16: 2e-2 } as const;
/** GPU time of a measurement. */
const MILLISECONDS = 30;

/** As the engine's own large tile. */
const USUAL: Tiling = { rows: 128, columns: 64, depth: 16, threadRows: 8, threadColumns: 8 };

/** Every variant, with what is special about it. */
function variants(hasHalf: boolean): [name: string, tiling: Tiling][] {
  const best = { masked: true, unrolled: true } as const;
  const tiles: readonly [number, number, number, number, number][] = [
    [128, 64, 8, 8, 8],
    [128, 64, 32, 8, 8],
    [128, 128, 8, 8, 8],
    [128, 128, 16, 8, 8],
    [128, 128, 16, 16, 8],
    [64, 128, 16, 8, 8],
    [64, 64, 16, 8, 8],
    [64, 64, 16, 8, 4],
    [64, 64, 16, 4, 4],
    [128, 64, 16, 8, 4],
    [256, 64, 8, 16, 8],
    [32, 64, 16, 4, 4],
  ];
  const large = { ...USUAL, columns: 128 };
  return [
    ["the engine's", USUAL],
    ["masked", { ...USUAL, masked: true }],
    ["unrolled", { ...USUAL, unrolled: true }],
    ["masked, unrolled", { ...USUAL, ...best }],
    ["prefetch", { ...USUAL, prefetch: "registers" }],
    ["prefetch, masked, unrolled", { ...USUAL, ...best, prefetch: "registers" }],
    ["double, masked, unrolled", { ...USUAL, ...best, prefetch: "double" }],
    ...tiles.flatMap(([rows, columns, depth, threadRows, threadColumns]) => {
      const tiling = { rows, columns, depth, threadRows, threadColumns, ...best };
      return [
        ["masked, unrolled", tiling],
        ["prefetch, masked, unrolled", { ...tiling, prefetch: "registers" }],
      ] as [string, Tiling][];
    }),
    ...(hasHalf ? [USUAL, large] : []).flatMap((tiling) => {
      const half = { ...tiling, ...best, type: "f16" } as const;
      return [
        ["f16", half],
        ["f16, staged as f16", { ...half, staged: "f16" }],
        ["f16, staged as f16, prefetch", { ...half, staged: "f16", prefetch: "registers" }],
      ] as [string, Tiling][];
    }),
  ];
}

/**
 * Times all variants on one product and the fastest on others, while there is time.
 *
 * @throws {Error} where one of them computes something else.
 */
export async function sweep(
  report: Report,
  device: Device,
  { tiny, left, warmer }: Bench,
): Promise<void> {
  const gpu = new RawGpu((device.backend as WebGpuBackend).runtime.device);
  const all = variants(gpu.device.features.has("shader-f16"));
  const rows: Row[] = [];
  const wrong: string[] = [];
  const measure = async (list: readonly [string, Tiling][], sizes: Sizes) => {
    using operands = new Operands(gpu, sizes);
    const rates: [rate: number, name: string, tiling: Tiling][] = [];
    for (const [name, tiling] of list) {
      if (left() < 5) break;
      const figures = await timed(gpu, tiling, operands, warmer).catch((error) => ({
        note: String(error).slice(0, 200),
      }));
      rows.push({ variant: name, ...describe(tiling), "M x N x K": sizes.join(" x "), ...figures });
      if ("note" in figures) continue;
      rates.push([figures["TFLOPS"], name, tiling]);
      const { error } = figures;
      if (!(error <= LARGEST_ERROR[tiling.type ?? "f32"])) {
        wrong.push(`${name}: an error of ${error}`);
      }
    }
    report.add("products by variant", rows);
    return rates.sort(([a], [b]) => b - a).map(([, ...variant]) => variant);
  };
  if (tiny) {
    await measure([all[0]!, all[3]!, all[6]!], [136, 72, 32]);
  } else {
    const [first, ...others] = SHAPES;
    const fastest = (await measure(all, first!)).filter(([, { type }]) => type !== "f16");
    for (const sizes of others) await measure(fastest.slice(0, 4), sizes);
  }
  if (wrong.length > 0) throw new Error(wrong.join("; "));
}

function describe({ rows, columns, depth, threadRows, threadColumns }: Tiling): Row {
  return { tile: `${rows}x${columns}x${depth}`, "of a thread": `${threadRows}x${threadColumns}` };
}

/** Arrays of one product, in both types, made when they are asked for. */
class Operands implements Disposable {
  readonly uniforms: GPUBuffer;
  readonly #made = new Map<"f32" | "f16", ReturnType<Operands["make"]>>();

  constructor(readonly gpu: RawGpu, readonly sizes: Sizes) {
    this.uniforms = gpu.upload(Uint32Array.of(...sizes, 0), GPUBufferUsage.UNIFORM);
  }

  of(type: "f32" | "f16"): ReturnType<Operands["make"]> {
    let made = this.#made.get(type);
    if (!made) this.#made.set(type, made = this.make(type));
    return made;
  }

  make(type: "f32" | "f16") {
    const [m, n, k] = this.sizes;
    const ArrayType = type === "f16" ? Float16Array : Float32Array;
    const [a, b] = [fillUniform(new ArrayType(m * k), 1), fillUniform(new ArrayType(n * k), 2)];
    const out = this.gpu.buffer(m * n * ArrayType.BYTES_PER_ELEMENT);
    const buffers = [this.uniforms, this.gpu.upload(a), this.gpu.upload(b), out] as const;
    return { a, b, buffers, out, read: async () => new ArrayType(await this.gpu.read(out)) };
  }

  [Symbol.dispose](): void {
    for (const { buffers } of this.#made.values()) {
      for (const buffer of buffers.slice(1)) buffer.destroy();
    }
    this.uniforms.destroy();
  }
}

async function timed(
  gpu: RawGpu,
  tiling: Tiling,
  operands: Operands,
  warmer: Warmer | null,
): Promise<{ "TFLOPS": number; ms: number; error: number; "first launch, ms": number }> {
  const { sizes } = operands;
  const [m, n, k] = sizes;
  const { a, b, buffers, read } = operands.of(tiling.type ?? "f32");
  const start = performance.now();
  const launch = gpu.launch(tiledProduct(tiling), buffers, workgroupsOf(tiling, m, n));
  const once = await gpu.milliseconds(launch, 1);
  const first = performance.now() - start;
  gpu.check();
  const error = productError(await read(), sizes, (i, j) => {
    let sum = 0;
    for (let q = 0; q < k; q++) sum += a[i * k + q]! * b[j * k + q]!;
    return sum;
  });
  const times = Math.max(1, Math.min(50, Math.round(MILLISECONDS / once)));
  await warmer?.warm();
  const ms = await gpu.milliseconds(launch, times);
  gpu.check();
  return { "TFLOPS": 2 * m * n * k / ms / 1e9, ms, error, "first launch, ms": first };
}
