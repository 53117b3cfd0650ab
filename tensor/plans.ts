/** Plans of a GPU's kernels: which variants run there, measured on that very GPU. */
import { currentDevice } from "./device.ts";
import { DeviceError } from "./errors.ts";
import type { Device } from "./storage.ts";
import type { WebGpuBackend } from "./webgpu/backend.ts";
import type { TuneRow } from "./webgpu/tune/choose.ts";
import type { TuneOptions } from "./webgpu/tune/tune.ts";

/** What the kernels of a GPU are planned by: plain JSON, whose fields differ from release to release. */
export type KernelPlans = object;

/** Plans, and what they come from. */
export interface Tuned {
  /** For {@linkcode usePlans}. */
  readonly plans: KernelPlans;
  /** What was measured. */
  readonly rows: readonly TuneRow[];
  /** Classes of shapes for which no time was left. */
  readonly skipped: number;
  /** Cores of the GPU, measured where its name does not tell them; else null. */
  readonly cores: number | null;
}

function gpuOf({ name, backend }: Device): WebGpuBackend | null {
  return name === "webgpu" ? backend as WebGpuBackend : null;
}

/**
 * What the kernels of a device are planned by, as plain JSON; null on devices whose kernels have no
 * variants. Results of a GPU have the same bits only under the same plans.
 */
export function plansOf(device: Device = currentDevice()): KernelPlans | null {
  return gpuOf(device)?.runtime.plans ?? null;
}

/**
 * Has the kernels of a GPU run by plans: those that {@linkcode tune} made, or that were in use when
 * a run began. To be called before anything is computed whose bits matter.
 *
 * @param plans As {@linkcode plansOf} gives them, or read from JSON.
 * @returns The classes of shapes whose plans this GPU cannot run, which keep to the usual ones.
 * @throws {RangeError} naming the field that is not as expected.
 * @throws {DeviceError} on devices without plans.
 */
export async function usePlans(
  plans: unknown,
  device: Device = currentDevice(),
): Promise<string[]> {
  const gpu = gpuOf(device);
  if (!gpu) throw new DeviceError(`usePlans: expected the webgpu device but got ${device.name}`);
  const { fittingPlans, readPlans } = await import("./webgpu/plans.ts");
  const read = readPlans(plans);
  const hasSubgroups = Object.keys(read.rows).length > 0 && await gpu.findSubgroups() !== null;
  const { fitting, unfit } = fittingPlans(read, gpu.runtime.limits, hasSubgroups);
  gpu.runtime.plans = fitting;
  return unfit;
}

/**
 * Measures variants of a GPU's kernels, and makes plans of the fastest for {@linkcode usePlans}.
 * Nothing else should use the GPU meanwhile.
 *
 * @throws {DeviceError} on devices whose kernels have no variants.
 */
export async function tune(
  options: TuneOptions,
  device: Device = currentDevice(),
): Promise<Tuned> {
  const gpu = gpuOf(device);
  if (!gpu) throw new DeviceError(`tune: expected the webgpu device but got ${device.name}`);
  const { tuneKernels } = await import("./webgpu/tune/tune.ts");
  return await tuneKernels(gpu, options);
}
