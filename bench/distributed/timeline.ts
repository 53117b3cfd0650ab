/**
 * When, in a training step, buckets of gradients are full: counted, in operations, on the engine itself
 * and at full size, with a device that computes nothing.
 */
import { init, shutdown } from "@dit/core";
import type { Backend, DeviceBuffer } from "@dit/core/tensor";
import { ALONE } from "../../cli/distributed/world.ts";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import { CountingGpu } from "../../tensor/webgpu/counting_gpu_test_util.ts";
import { batchFor, type Job, traineeOf } from "../gpu/jobs.ts";
import type { StepTimes } from "./simulate.ts";

/**
 * The buckets of a step, in their order: operations (of products, attention and convolutions) until
 * each is full, since the one before it or the beginning of the step, and its elements.
 */
export type Timeline = readonly { readonly flops: number; readonly elements: number }[];

/** Counts a step of a rank. */
export async function countTimeline(job: Job, bucketBytes: number): Promise<Timeline> {
  const device = await init({ device: "webgpu", gpu: new CountingGpu() });
  const { runtime } = device.backend as WebGpuBackend;
  const found: { flops: number; elements: number }[] = [];
  let flops = 0;
  const world = {
    ...ALONE,
    size: 2,
    allReduce: ({ length }: { length: number }) => {
      runtime.settle(); // as reading the gradients does
      found.push({ flops, elements: length });
      flops = 0;
      return Promise.resolve();
    },
  };
  // Gradients that the host sees are handed over at once.
  const view = (_: DeviceBuffer, __: number, length: number) => ({ length }) as Float32Array;
  (device.backend as Backend).hostView = view;
  try {
    using trainee = traineeOf(job, { world, bucketBytes });
    runtime.onDispatch = (dispatch) => flops += dispatch.flops ?? 0;
    await trainee.takeStep(batchFor(trainee, job.batch));
    return found;
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
  timeline: Timeline,
  { passes, optimizer }: MeasuredStep,
  elementBytes = 4,
): StepTimes {
  const all = timeline.reduce((sum, { flops }) => sum + flops, 0);
  return {
    passes: timeline.map(({ flops, elements }) => ({
      seconds: passes * flops / all,
      bytes: elements * elementBytes,
    })),
    optimizer,
  };
}
