/**
 * When, in the backward pass of a DiT, buckets of gradients are full: counted, in operations, on the
 * engine itself and at full size, with a device that computes nothing.
 */
import {
  AdamW,
  backward,
  createDiT,
  Generator,
  init,
  mean,
  nn,
  randn,
  scope,
  shutdown,
  square,
  tensor,
} from "@dit/core";
import type { Backend, DeviceBuffer } from "@dit/core/tensor";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import { CountingGpu } from "../../tensor/webgpu/counting_gpu_test_util.ts";
import type { StepTimes } from "./simulate.ts";

/** A step in operations (of products, attention and convolutions). */
export interface Timeline {
  /** Of the forward pass. */
  readonly forward: number;
  /** Until each bucket is full, since the one before it, with the elements of the bucket. */
  readonly backward: readonly { readonly flops: number; readonly elements: number }[];
}

/** What is counted. */
export interface TimelineJob {
  readonly model: string;
  readonly batch: number;
  /** Whether blocks are computed again in the backward pass. */
  readonly checkpointing: boolean;
  /** Bytes of a bucket, of f32. */
  readonly bucketBytes: number;
  /** Size of the latents; 32 unless given. */
  readonly inputSize?: number;
}

/** Counts a forward and a backward pass. */
export async function countTimeline(job: TimelineJob): Promise<Timeline> {
  const device = await init({ device: "webgpu", webgpu: { gpu: new CountingGpu() } });
  const { runtime } = device.backend as WebGpuBackend;
  try {
    using _ = scope("timeline");
    const inputSize = job.inputSize ?? 32;
    using model = nn.withoutInit(() => createDiT(job.model, { inputSize }));
    model.gradientCheckpointing = job.checkpointing;
    using optimizer = new AdamW(model.namedParameters());
    const generator = new Generator(1);
    const x = randn([job.batch, 4, inputSize, inputSize], { generator });
    const labels = tensor(new Int32Array(job.batch));
    let flops = 0;
    runtime.onDispatch = (dispatch) => flops += dispatch.flops ?? 0;
    const found: { flops: number; elements: number }[] = [];
    const reduce = ({ length }: { length: number }) => {
      found.push({ flops, elements: length });
      flops = 0;
      return Promise.resolve();
    };
    // Gradients that the host sees are handed over at once.
    const view = (_: DeviceBuffer, __: number, length: number) => ({ length }) as Float32Array;
    (device.backend as Backend).hostView = view;
    const buckets = new nn.GradientBuckets(optimizer, reduce, { bytes: job.bucketBytes });
    const loss = mean(square(model.forward(x, labels, labels)));
    const forward = flops;
    flops = 0;
    backward(loss, undefined, { onGradient: buckets.begin() });
    return { forward, backward: found };
  } finally {
    await shutdown(device);
  }
}

/** What a step takes where it was measured, in seconds. */
export interface MeasuredStep {
  /** Forward and backward pass together. */
  readonly passes: number;
  /** All that follows the gradients. */
  readonly optimizer: number;
}

/**
 * A measured step, its passes spread over their operations.
 *
 * @param elementBytes Bytes in which an element of a gradient is sent; 4 unless given.
 */
export function spread(
  { forward, backward }: Timeline,
  { passes, optimizer }: MeasuredStep,
  elementBytes = 4,
): StepTimes {
  const all = backward.reduce((sum, { flops }) => sum + flops, forward);
  return {
    forward: passes * forward / all,
    backward: backward.map(({ flops, elements }) => ({
      seconds: passes * flops / all,
      bytes: elements * elementBytes,
    })),
    optimizer,
  };
}
