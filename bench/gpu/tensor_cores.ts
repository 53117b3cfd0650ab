/**
 * Products of f16 on a GPU's matrix units, where its WebGPU reaches them: Dawn's does, Deno's does
 * not. They are the engine's own, of the widest layer of DiT-XL/2, in all tilings.
 */
import type { Device } from "@dit/core";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import { matrixSplits, SUBGROUPS } from "../../tensor/webgpu/kernels/matrix_plan.ts";
import { KINDS, LinearArrays, LinearProduct } from "../../tensor/webgpu/tune/products.ts";
import { GpuClock } from "../../tensor/webgpu/tune/clock.ts";
import type { Report, Row } from "../measure.ts";
import type { Bench } from "./clock.ts";

const LAYER = { tokens: 8192, dtype: "f16", layers: [[4608, 1152]] } as const;
const TINY = { tokens: 256, dtype: "f16", layers: [[192, 128]] } as const;

/**
 * Times the product of a layer and those of its gradients, each held to float64.
 *
 * @throws {Error} where one of them computes something else.
 */
export async function tensorCores(
  report: Report,
  device: Device,
  { tiny, left }: Bench,
): Promise<void> {
  const backend = device.backend as WebGpuBackend;
  const { matrices: usual, traits } = backend.runtime;
  if (!usual) {
    const missing = "not reached by this WebGPU, or not trusted";
    console.log(`\ntensor cores: ${missing}`);
    return report.note("tensor cores", missing);
  }
  report.note("matrix unit", { ...usual.unit });
  const layer = tiny ? TINY : LAYER;
  const [[outputs, inputs]] = layer.layers;
  using clock = new GpuClock(backend);
  using arrays = new LinearArrays(backend, layer);
  const rows: Row[] = [];
  const wrong: string[] = [];
  for (const kind of KINDS) {
    const product = new LinearProduct(arrays, kind, outputs, inputs);
    const plans = product.candidates(traits).filter((plan) => plan === null || plan.onMatrices);
    if (left() < 5) return report.note("tensor cores", "no time left for all of them");
    const errors: number[] = [];
    for (const plan of plans) errors.push(await product.error(plan));
    const launches = plans.map((plan) => (op: string) => product.run(plan, op));
    const times = await clock.time(launches);
    const { m, n, k } = product.size;
    plans.forEach((plan, i) => {
      const { matrices, depth } = plan?.onMatrices ?? usual;
      rows.push({
        product: kind,
        "M x N x K": `${m} x ${n} x ${k}`,
        subgroups: `${SUBGROUPS.down}x${SUBGROUPS.across}`,
        "matrices of each": `${matrices}x${matrices}`,
        depth,
        staged: "prefetch",
        splits: plan?.onMatrices?.splits ?? matrixSplits(product.size, usual, traits) ?? 1,
        ms: times[i]!,
        "TFLOPS": 2 * m * n * k / times[i]! / 1e9,
        error: errors[i]!,
      });
      if (!product.isRight(errors[i]!)) wrong.push(`${kind}: an error of ${errors[i]}`);
    });
    report.add("products on tensor cores", rows);
  }
  if (wrong.length > 0) throw new Error(wrong.join("; "));
}
