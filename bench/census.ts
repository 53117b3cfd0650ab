/**
 * What training steps ask of a GPU, counted exactly, at full size and without one: the engine runs
 * on a device that does nothing (see tensor/webgpu/counting_gpu_test_util.ts).
 */
import { init, memory, resetPeak, shutdown } from "@dit/core";
import { DTYPE_BYTES } from "@dit/core/tensor";
import type { WebGpuBackend } from "../tensor/webgpu/backend.ts";
import { CountingGpu } from "../tensor/webgpu/counting_gpu_test_util.ts";
import type { View } from "../tensor/view.ts";
import type { Dispatch } from "../tensor/webgpu/device/dispatch.ts";
import type { ViewBinding } from "../tensor/webgpu/shader/accessors.ts";
import type { MatrixUnit } from "../tensor/webgpu/device/matrices.ts";
import { matrixTile } from "../tensor/webgpu/kernels/matrix_plan.ts";
import { batchFor, type Job, titleOf, traineeOf } from "./gpu/jobs.ts";
import type { Report, Row } from "./measure.ts";
import { SAMPLING_JOBS, samplingCensus } from "./census/sampling.ts";

/** It runs no WebAssembly. */
export const tiered = false;

/** What one step asks for. */
export interface Census {
  readonly dispatches: number;
  readonly submits: number;
  /** Bind groups that no step before had made. */
  readonly bindGroups: number;
  /** Shaders that no step before had compiled. */
  readonly pipelines: number;
  /** Copies between buffers. */
  readonly copies: number;
  /** Writes from the host, uniforms included. */
  readonly writes: number;
  readonly writtenBytes: number;
  /** Distinct bytes that launches read and write, each launch on its own. */
  readonly touchedBytes: number;
  /** As far as launches tell: of products, attention and convolutions. */
  readonly flops: number;
  /** The most that tensors hold at once. */
  readonly peakBytes: number;
  /** Taken from the system, pools included. */
  readonly reservedBytes: number;
  /** Launches and bytes by kernel, the most bytes first. */
  readonly kernels: readonly KernelCount[];
  /** The fastest step's time in the engine's own JavaScript; what a GPU's driver takes is not in it. */
  readonly hostMilliseconds: number;
}

/** Launches of one kernel by one op. */
export interface KernelCount {
  readonly op: string;
  readonly kernel: string;
  dispatches: number;
  touchedBytes: number;
  flops: number;
}

/** The runs that are counted. */
export const CENSUS_JOBS = {
  mini: { model: "DiT-Mini/4", batch: 64, precision: "f32", checkpointing: false },
  small: { model: "DiT-S/2", batch: 32, precision: "f32", checkpointing: false },
  large: { model: "DiT-XL/2", batch: 32, precision: "fp16", checkpointing: true },
} as const satisfies Record<string, Job>;

/**
 * How much is submitted at once, in seconds of the slow GPU that `Pace` assumes: what one of about
 * 10 TFLOPS is handed at once when its speed has been measured. Nothing here waits for the GPU, so
 * nothing is measured, and the counts are the same every time.
 */
const SUBMIT_SECONDS = 10;

/** Steps after which nothing is made any more that is kept: bind groups, buffers, pipelines, records. */
const WARM_STEPS = { made: 3, replayed: 5 };

/**
 * Takes steps of a run on a device that does nothing.
 *
 * @param replay Whether the model's work is replayed. What lies between its inputs and results is
 * not among tensors then.
 * @param unit The matrix units that the GPU has, which are taken on trust.
 */
export async function census(
  job: Job,
  timedSteps = 3,
  replay = false,
  unit: MatrixUnit | null = null,
): Promise<Census> {
  const gpu = new CountingGpu();
  const device = await init({
    device: "webgpu",
    gpu,
    webgpu: { submitSeconds: SUBMIT_SECONDS, replay },
  });
  const { runtime } = device.backend as WebGpuBackend;
  runtime.matrices = unit && matrixTile(unit, runtime.limits, runtime.traits);
  runtime.attentionMatrices = unit;
  try {
    using trainee = traineeOf(job);
    const batch = batchFor(trainee, job.batch);
    const step = async () => {
      await trainee.takeStep(batch);
      runtime.flush();
    };
    for (let i = 0; i < WARM_STEPS[replay ? "replayed" : "made"]; i++) await step();
    resetPeak(device);
    gpu.reset();
    const kernels = new Map<string, KernelCount>();
    runtime.onDispatch = (d) => count(kernels, d);
    await step();
    runtime.onDispatch = null;
    const counts = { ...gpu.counts };
    const { peakBytes, reservedBytes } = memory(device);
    const rows = [...kernels.values()].sort((a, b) => b.touchedBytes - a.touchedBytes);
    let hostMilliseconds = Infinity;
    for (let i = 0; i < timedSteps; i++) {
      const start = performance.now();
      await step();
      hostMilliseconds = Math.min(hostMilliseconds, performance.now() - start);
    }
    return {
      dispatches: counts.dispatches,
      submits: counts.submits,
      bindGroups: counts.bindGroups,
      pipelines: counts.pipelines,
      copies: counts.copies,
      writes: counts.writes,
      writtenBytes: counts.writtenBytes,
      touchedBytes: sum(rows, (row) => row.touchedBytes),
      flops: sum(rows, (row) => row.flops),
      peakBytes,
      reservedBytes,
      kernels: rows,
      hostMilliseconds,
    };
  } finally {
    await shutdown(device);
  }
}

function sum<T>(list: readonly T[], value: (each: T) => number): number {
  return list.reduce((total, each) => total + value(each), 0);
}

/** Adds a launch to the counts. */
function count(kernels: Map<string, KernelCount>, { op, key, views, flops = 0 }: Dispatch): void {
  const kernel = familyOf(key);
  const name = `${op} ${kernel}`;
  let row = kernels.get(name);
  if (!row) kernels.set(name, row = { op, kernel, dispatches: 0, touchedBytes: 0, flops: 0 });
  row.dispatches++;
  row.flops += flops;
  row.touchedBytes += touchedBytesOf(views);
}

/** Bytes of a launch: what two of its parts read counts once, and what is read and written twice. */
export function touchedBytesOf(views: readonly ViewBinding[]): number {
  const seen = new Set<string>();
  let bytes = 0;
  for (const { view, access } of views) {
    const { key, count } = elementsOf(view);
    if (access === "read" && seen.has(key)) continue;
    seen.add(key);
    bytes += count * DTYPE_BYTES[view.dtype] * (access === "readwrite" ? 2 : 1);
  }
  return bytes;
}

const buffers = new WeakMap<object, number>();
let bufferCount = 0;

/** How many elements a view has, one that repeats counted once, and which: in any order. */
function elementsOf({ buffer, dtype, offset, shape, strides }: View): {
  count: number;
  key: string;
} {
  let number = buffers.get(buffer);
  if (number === undefined) buffers.set(buffer, number = bufferCount++);
  const steps = shape.map((size, i) => ({ size, stride: strides[i]! }))
    .filter(({ size, stride }) => size > 1 && stride > 0)
    .sort((a, b) => a.stride - b.stride);
  const text = steps.map(({ size, stride }) => `${size}x${stride}`).join();
  return {
    count: steps.reduce((count, { size }) => count * size, 1),
    key: `${number} ${dtype} ${offset} ${text}`,
  };
}

/** The kernel of a dispatch without its variant. */
export function familyOf(key: string): string {
  return /^([^ /]*\/matrices|[^ /]*)/.exec(key)![0];
}

/** Runs the suite. */
export async function run(report: Report): Promise<void> {
  for (const job of Object.values(CENSUS_JOBS)) {
    const { kernels, ...counts } = await census(job, 20);
    const { hostMilliseconds } = await census(job, 20, true);
    report.add(`a step of ${titleOf(job)}`, [
      { ...rowOf(counts), "host with replay, ms": hostMilliseconds },
    ]);
    report.add(
      `kernels of ${titleOf(job)}`,
      kernels.map(({ op, kernel, dispatches, touchedBytes, flops }) => ({
        op,
        kernel,
        dispatches,
        "GB touched": touchedBytes / 1e9,
        "GFLOP": flops / 1e9,
      })),
    );
  }
  const rows: Row[] = [];
  for (const job of SAMPLING_JOBS) {
    const [made, replayed] = [await samplingCensus(job, false), await samplingCensus(job, true)];
    rows.push({
      ...job,
      "dispatches": made.dispatches,
      "host, ms": made.hostMilliseconds,
      "host with replay, ms": replayed.hostMilliseconds,
    });
    report.add("a guided sampling step", rows);
  }
}

function rowOf({ hostMilliseconds, ...counts }: Omit<Census, "kernels">): Row {
  return {
    "dispatches": counts.dispatches,
    "submits": counts.submits,
    "new bind groups": counts.bindGroups,
    "copies": counts.copies,
    "writes": counts.writes,
    "MB written": counts.writtenBytes / 1e6,
    "GB touched": counts.touchedBytes / 1e9,
    "GFLOP": counts.flops / 1e9,
    "peak of tensors, GB": counts.peakBytes / 1e9,
    "reserved, GB": counts.reservedBytes / 1e9,
    "host, ms": hostMilliseconds,
  };
}
