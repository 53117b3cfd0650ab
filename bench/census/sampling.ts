/** What guided sampling steps ask of a GPU, counted on one that does nothing, see ../census.ts. */
import {
  createDiffusion,
  createDiT,
  Generator,
  init,
  nn,
  sampleProgressive,
  scope,
  shutdown,
  tensor,
} from "@dit/core";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import { CountingGpu } from "../../tensor/webgpu/counting_gpu_test_util.ts";

/** A model that is sampled, and how many images at a time. */
export interface SamplingJob {
  readonly model: string;
  readonly images: number;
}

/** A step of it. */
export interface SamplingCensus {
  readonly dispatches: number;
  /** Of these, those that were replayed. */
  readonly replayed: number;
  /** The fastest step's time in the engine's own JavaScript. */
  readonly hostMilliseconds: number;
}

/** What is counted. */
export const SAMPLING_JOBS: readonly SamplingJob[] = [
  { model: "DiT-S/2", images: 8 },
  { model: "DiT-XL/2", images: 8 },
];

const STEPS = 20;

/** Takes steps of DDIM with guidance, of which the last one counts. */
export async function samplingCensus(
  { model: name, images }: SamplingJob,
  replay: boolean,
): Promise<SamplingCensus> {
  const gpu = new CountingGpu();
  const device = await init({ device: "webgpu", gpu, webgpu: { submitSeconds: 10, replay } });
  const { runtime } = device.backend as WebGpuBackend;
  try {
    using model = nn.withoutInit(() => createDiT(name)).eval();
    const { inChannels, inputSize, numClasses } = model.options;
    using _ = scope("labels");
    const labels = (label: number) =>
      tensor(new Array<number>(images).fill(label), [images], { dtype: "i32" });
    const shape = [images, inChannels, inputSize, inputSize];
    const steps = sampleProgressive(createDiffusion(), model, shape, {
      sampler: "ddim",
      steps: STEPS,
      clipDenoised: false,
      generator: new Generator(1),
      modelKwargs: { y: labels(1) },
      guidance: { scale: 4, nullKwargs: { y: labels(numClasses) } },
    });
    let hostMilliseconds = Infinity;
    let [before, start] = [runtime.stats, performance.now()];
    let counts = before;
    for await (const { step } of steps) {
      runtime.flush();
      const now = performance.now();
      hostMilliseconds = Math.min(hostMilliseconds, now - start);
      counts = runtime.stats;
      if (step < STEPS - 1) [before, start] = [counts, performance.now()];
    }
    return {
      dispatches: counts.dispatches - before.dispatches,
      replayed: counts.replayed - before.replayed,
      hostMilliseconds,
    };
  } finally {
    await shutdown(device);
  }
}
