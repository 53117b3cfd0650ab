/** How many steps a command samples in, with faults named by its flags. */
import {
  ETA_SAMPLERS,
  type Process,
  SAMPLER_NAMES,
  type SamplerName,
  type StepRange,
  stepRange,
} from "@dit/core/diffusion";
import { type ModelConfig, usualSteps } from "@dit/core/pipeline";
import { UsageError } from "../shared/errors.ts";

/** The flags of a command that choose the sampler and its steps, without the dashes. */
export interface SamplerFlags {
  readonly sampler: string;
  readonly steps: string;
}

/**
 * Steps of a sampler through the process of a model.
 *
 * @param asked The usual number where it is left out.
 * @throws {UsageError} where the sampler cannot sample that process in that many steps.
 */
export function samplingSteps(
  config: Pick<ModelConfig, "latents">,
  process: Process,
  sampler: SamplerName,
  asked: number | undefined,
  flags: SamplerFlags,
): number {
  const { least, most } = checkSampler(process, sampler, flags.sampler);
  const steps = asked ?? usualSteps(config, process, sampler);
  if (steps > most) {
    throw new UsageError(
      `--${flags.steps}: expected ${most} at most, the model's timesteps, but got ${steps}`,
    );
  }
  if (steps < least) {
    throw new UsageError(
      `--${flags.steps}: expected ${least} or more with --${flags.sampler} ${sampler} but got ${steps}`,
    );
  }
  return steps;
}

/**
 * How many steps a sampler can take through a process.
 *
 * @param flag The flag that chose the sampler, without the dashes.
 * @throws {UsageError} where the sampler cannot sample that process.
 */
export function checkSampler(process: Process, sampler: SamplerName, flag: string): StepRange {
  try {
    return stepRange(process, sampler);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const others = SAMPLER_NAMES.filter((name) => canSample(process, name)).join(", ");
    throw new UsageError(`--${flag}: ${error.message}; expected one of ${others}`, {
      cause: error,
    });
  }
}

function canSample(process: Process, sampler: SamplerName): boolean {
  try {
    stepRange(process, sampler);
    return true;
  } catch {
    return false;
  }
}

/**
 * Refuses an eta for samplers that have none.
 *
 * @throws {UsageError}
 */
export function checkHasEta(sampler: SamplerName, eta: number | undefined): void {
  if (eta === undefined || ETA_SAMPLERS.includes(sampler)) return;
  throw new UsageError(
    `--eta: expected --sampler ${ETA_SAMPLERS.join(" or ")} with it but got ${sampler}`,
  );
}

/**
 * Refuses an interval of guidance that is none of a process's times.
 *
 * @throws {UsageError}
 */
export function checkInterval(
  process: Process,
  interval: readonly [number, number] | undefined,
): void {
  if (interval === undefined) return;
  const isFlow = process.velocity !== undefined;
  const [first, last] = interval;
  const { maxSteps } = process;
  const isWhole = interval.every(Number.isInteger);
  if (isFlow ? last <= 1 : isWhole && first < maxSteps && last <= maxSteps) return;
  const expected = isFlow
    ? "two times from 0 (noise) to 1"
    : isWhole
    ? `two timesteps below ${maxSteps}`
    : "two whole timesteps";
  throw new UsageError(
    `--cfg-interval: expected ${expected}, as the process is ${process.name}, but got ${interval}`,
  );
}
