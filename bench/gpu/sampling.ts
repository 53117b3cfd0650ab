/** Guided sampling steps on a GPU. */
import {
  cast,
  createDiffusion,
  createDiT,
  type Device,
  DiT,
  Generator,
  nn,
  sample,
  scope,
  type Tensor,
  tensor,
} from "@dit/core";
import type { ModelFunction } from "@dit/core/diffusion";
import { inItsPrecision } from "@dit/core/pipeline";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import type { Report, Row } from "../measure.ts";
import type { Bench } from "./clock.ts";
import type { Warmer } from "../../tensor/webgpu/tune/warmer.ts";
import { fill } from "../models.ts";

interface SamplingJob {
  readonly name: string;
  readonly images: number;
  readonly dtype: "f32" | "f16";
}

const JOBS: readonly SamplingJob[] = [
  { name: "DiT-S/2", images: 8, dtype: "f32" },
  { name: "DiT-XL/2", images: 8, dtype: "f32" },
  { name: "DiT-XL/2", images: 8, dtype: "f16" },
];
const TINY: readonly SamplingJob[] = [{ name: "tiny", images: 1, dtype: "f32" }];

const TINY_MODEL = {
  inputSize: 8,
  patchSize: 4,
  hiddenSize: 32,
  depth: 1,
  numHeads: 2,
  numClasses: 10,
} as const;

/** Steps that are timed; each costs the same. */
const STEPS = 20;

/** Samples from fresh weights, which takes as long as from trained ones. */
export async function sampling(
  report: Report,
  device: Device,
  { tiny, left, warmer }: Bench,
): Promise<void> {
  const rows: Row[] = [];
  for (const job of tiny ? TINY : JOBS) {
    const { name, images, dtype } = job;
    const figures = left() < 8
      ? { note: "no time left" }
      : await timed(device, job, tiny ? 2 : STEPS, warmer);
    rows.push({ model: name, images, weights: dtype, ...figures });
    report.add("guided sampling", rows);
  }
}

async function timed(
  device: Device,
  job: SamplingJob,
  steps: number,
  warmer: Warmer | null,
): Promise<Row> {
  const { name, images, dtype } = job;
  using model = modelOf(name, dtype).eval();
  const { inChannels, inputSize, numClasses } = model.options;
  const process = createDiffusion();
  using _ = scope("sampling");
  const labels = (label: number) =>
    tensor(Array.from({ length: images }, () => label), [images], { dtype: "i32" });
  const draw = async (steps: number): Promise<number> => {
    using _ = scope("samples");
    const start = performance.now();
    const call: ModelFunction<{ y: Tensor }> = (x, t, { y }) =>
      inItsPrecision(model, () => cast(model.forward(x, t, y), "f32"));
    await sample(process, call, [images, inChannels, inputSize, inputSize], {
      sampler: "ddim",
      steps,
      clipDenoised: false,
      generator: new Generator(1),
      modelKwargs: { y: labels(1) },
      guidance: { scale: 4, nullKwargs: { y: labels(numClasses) } },
    });
    await (device.backend as WebGpuBackend).sync();
    return performance.now() - start;
  };
  await draw(1); // compiles the kernels
  await draw(1);
  await warmer?.warm();
  const milliseconds = await draw(steps) / steps;
  return { steps, "ms a step": milliseconds, "images/s at 250 steps": images / milliseconds * 4 };
}

function modelOf(name: string, dtype: "f32" | "f16"): DiT {
  const make = () => name === "tiny" ? new DiT(TINY_MODEL) : createDiT(name);
  return fill(nn.withoutInit(make, { dtype }));
}
