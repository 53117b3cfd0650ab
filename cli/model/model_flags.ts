/** Models and processes as flags name them, refused by the names of the flags. */
import { leastSteps, type Process, PROCESSES, type ProcessName } from "@dit/core/diffusion";
import type { DiTSize } from "@dit/core/dit";
import {
  buildProcess,
  type DiffusionConfig,
  type ModelConfig,
  MODELS,
  processOf,
  takes,
} from "@dit/core/pipeline";
import { UsageError } from "../shared/errors.ts";

/**
 * The process of a configuration that flags made.
 *
 * @throws {UsageError} where there is no such process, or it cannot have that many steps.
 */
export function processOfFlags(config: ModelConfig): Process {
  const { objective, noiseSchedule, diffusionSteps } = config.diffusion;
  const process = processOf(config.diffusion);
  try {
    return buildProcess(config);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    checkSteps(config.diffusion);
    const flags = isCounted(process)
      ? `--diffusion-steps ${diffusionSteps}, --noise-schedule ${noiseSchedule}`
      : `--process ${process}`;
    throw new UsageError(`${flags}, --objective ${objective}: ${error.message}`, { cause: error });
  }
}

/**
 * Refuses a process that no sampler could use, before a model is trained for it.
 *
 * @throws {UsageError}
 */
export function checkProcess(config: ModelConfig): void {
  checkSteps(config.diffusion);
  processOfFlags(config);
}

/** Whether the times of a process are counted; there may be none of that name. */
function isCounted(process: ProcessName): boolean {
  return Object.hasOwn(PROCESSES, process) && takes(process, "diffusionSteps");
}

/** Refuses fewer timesteps than the noise schedule can have. */
function checkSteps(diffusion: DiffusionConfig): void {
  const { noiseSchedule, diffusionSteps } = diffusion;
  const least = leastSteps(noiseSchedule);
  if (!isCounted(processOf(diffusion)) || diffusionSteps >= least) return;
  throw new UsageError(
    `--diffusion-steps: expected ${least} or more with --noise-schedule ${noiseSchedule} but ` +
      `got ${diffusionSteps}`,
  );
}

/**
 * The size that a name stands for.
 *
 * @throws {UsageError} where there is no such model.
 */
export function modelSize(name: string): DiTSize {
  const size = MODELS[name];
  if (!size) throw UsageError.choice("--model", name, Object.keys(MODELS));
  return size;
}
