/** The engine's attention, of the shapes of training steps, written in all ways. */
import type { Device } from "@dit/core";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import {
  ATTENTION_KERNELS,
  AttentionArrays,
  type Heads,
} from "../../tensor/webgpu/tune/attention.ts";
import { choose } from "../../tensor/webgpu/tune/choose.ts";
import { GpuClock } from "../../tensor/webgpu/tune/clock.ts";
import type { Report, Row } from "../measure.ts";
import type { Bench } from "./clock.ts";

const MODELS: readonly (Heads & { readonly name: string })[] = [
  { name: "DiT-S/2", dtype: "f32", batch: 32, heads: 6, tokens: 256, depth: 64 },
  { name: "DiT-XL/2", dtype: "f16", batch: 32, heads: 16, tokens: 256, depth: 72 },
];
const TINY: typeof MODELS = [
  { name: "tiny", dtype: "f32", batch: 2, heads: 2, tokens: 70, depth: 16 },
];

/**
 * Times every way to write each of the kernels; of gradients, with the other kernel as usual.
 *
 * @throws {Error} where one of them computes something else than the usual one.
 */
export async function attentionPlans(
  report: Report,
  device: Device,
  { tiny, left }: Bench,
): Promise<void> {
  const backend = device.backend as WebGpuBackend;
  using clock = new GpuClock(backend);
  const rows: Row[] = [];
  const wrong: string[] = [];
  for (const model of tiny ? TINY : MODELS) {
    if (left() < 4) return report.note("attention", "no time left for all of it");
    using arrays = new AttentionArrays(backend, model);
    const subjects = [
      ...ATTENTION_KERNELS.map((kernel) => ({
        kernel,
        variants: arrays.variants(kernel).slice(0, tiny ? 1 : undefined),
      })),
      { kernel: "gradients", variants: arrays.sharing(arrays.usual) },
    ];
    for (const { kernel, variants } of subjects) {
      const found = await choose<unknown>(kernel, { shape: model.name, variants }, clock);
      for (const { variant, milliseconds, isUsual } of found.rows) {
        const isRight = Number.isFinite(milliseconds);
        if (!isRight) wrong.push(`${kernel} of ${model.name} by ${variant}`);
        const ms = isRight ? milliseconds : "wrong";
        rows.push({
          model: model.name,
          dtype: model.dtype,
          kernel,
          variant,
          ms,
          usual: isUsual ? "yes" : "",
        });
      }
    }
    report.add("attention by code", rows);
  }
  if (wrong.length > 0) throw new Error(`these compute something else: ${wrong.join("; ")}`);
}
