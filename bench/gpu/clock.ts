/** How long things take a GPU, and the host that drives it. */
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import type { ProfileRow } from "../../tensor/webgpu/device/profiler.ts";
import type { Warmer } from "../../tensor/webgpu/tune/warmer.ts";

/** What a section of the kit works with. */
export interface Bench {
  /** Whether in miniature. */
  readonly tiny: boolean;
  /** Seconds that are left. */
  readonly left: () => number;
  /** Where figures count; null in miniature. */
  readonly warmer: Warmer | null;
}

/** Whether the GPU keeps time. */
export function keepsTime({ runtime }: WebGpuBackend): boolean {
  return runtime.device.features.has("timestamp-query");
}

/**
 * Milliseconds that `run` takes the GPU, between launches not counted where it keeps time itself;
 * else from the first submit to the end of the last.
 */
export async function gpuMilliseconds(
  backend: WebGpuBackend,
  run: () => void,
  times: number,
  warmer: Warmer | null,
): Promise<number> {
  // Compiles the kernels, and shows how fast the GPU is: until then launches are cut into parts.
  for (let i = 0; i < 2; i++) {
    run();
    await backend.sync();
  }
  const repeat = () => {
    for (let i = 0; i < times; i++) run();
  };
  await warmer?.warm();
  if (keepsTime(backend)) return sum(await backend.runtime.profile(repeat)) / times;
  return (await wallMilliseconds(backend, repeat)).all / times;
}

/** GPU time of all rows. */
export function sum(rows: readonly ProfileRow[]): number {
  return rows.reduce((total, { milliseconds }) => total + milliseconds, 0);
}

/** What the host takes to record `run`, and what all of it takes until the GPU is done. */
export async function wallMilliseconds(
  backend: WebGpuBackend,
  run: () => void,
): Promise<{ host: number; all: number }> {
  await backend.sync();
  const start = performance.now();
  run();
  const host = performance.now() - start;
  await backend.sync();
  return { host, all: performance.now() - start };
}

/** The middle one. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
