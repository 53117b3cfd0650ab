/** Learning rates by step, as factors of the base rate. Steps count from 0. */

/** The factor of the base learning rate at a step. */
export type Schedule = (step: number) => number;

function checkSteps(name: string, value: number, least: number): void {
  if (!Number.isFinite(value) || value < least) {
    throw new RangeError(`schedule: expected ${name} of ${least} or more but got ${value}`);
  }
}

/** Always 1. */
export function constantSchedule(): Schedule {
  return () => 1;
}

/** Rises evenly from 1 / steps to 1 over the first `steps` steps, then follows `after`. */
export function warmupSchedule(steps: number, after: Schedule = constantSchedule()): Schedule {
  checkSteps("warm-up steps", steps, 0);
  return (step) => step < steps ? (step + 1) / steps : after(step - steps);
}

/** Half a cosine from 1 to `floor` over `steps` steps, then `floor` (arXiv 1608.03983). */
export function cosineSchedule(steps: number, floor = 0): Schedule {
  checkSteps("steps", steps, 1);
  return (step) => {
    const done = Math.min(1, step / steps);
    return floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * done));
  };
}
