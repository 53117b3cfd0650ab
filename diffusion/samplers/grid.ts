/** Which timesteps of Gaussian diffusion a sampler stops at. */
import type { NoiseSchedule } from "../noise_schedule.ts";
import type { Spacing } from "../process.ts";
import { spaceTimesteps } from "../respace.ts";
import { descending } from "./trajectory.ts";

/** The exponent that Karras et al. choose. */
const RHO = 7;

/** What is spread evenly, as a function of sigma = sqrt(1 / alpha-bar - 1). */
const SCALES: Partial<Record<Spacing, (sigma: number) => number>> = {
  logSnr: (sigma) => -Math.log(sigma),
  karras: (sigma) => sigma ** (1 / RHO),
};

/**
 * `steps` timesteps from T - 1 down to 0; T - 1 alone where it is one. Samplers stop only at noise
 * levels that the model was trained at, so each is the nearest one that is still below the stop
 * before.
 */
export function spacedTimesteps(
  schedule: NoiseSchedule,
  steps: number,
  spacing: Spacing,
): number[] {
  const { numTimesteps, sqrtRecipm1AlphasCumprod: sigmas } = schedule;
  if (!Number.isInteger(steps) || steps < 1 || steps > numTimesteps) {
    throw new RangeError(`sample: expected 1 to ${numTimesteps} steps but got ${steps}`);
  }
  if (steps === 1) return [numTimesteps - 1];
  if (spacing === "time") return spaceTimesteps(numTimesteps, [steps]).reverse();
  const scale = SCALES[spacing];
  if (!scale) {
    throw new RangeError(`sample: expected spacing time, logSnr or karras but got ${spacing}`);
  }
  const scaled = sigmas.map(scale);
  const [from, to] = [scaled[numTimesteps - 1]!, scaled[0]!];
  let last = numTimesteps;
  return descending(steps).map((left, step) => {
    const goal = from + (to - from) * step / (steps - 1);
    const distance = (t: number): number => Math.abs(scaled[t]! - goal);
    let t = last - 1;
    while (t > left && distance(t - 1) <= distance(t)) t--;
    return last = t;
  });
}
