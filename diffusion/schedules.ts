/**
 * Noise schedules: how much noise each step of the forward process adds. All of them are computed
 * in float64 in NumPy's order of operations, so that they agree with the original bit for bit
 * where the platform's cosine does.
 */

/** Schedules that a model is trained with, scaled to any number of steps. */
export type NoiseScheduleName = "linear" | "squaredcos_cap_v2";

/** Schedules between two given betas. */
export type BetaSchedule = "quad" | "linear" | "warmup10" | "warmup50" | "const" | "jsd";

/** Ends and length of a {@link BetaSchedule}. */
export interface BetaRange {
  /** Variance that the first step adds. */
  betaStart: number;
  /** Variance that the last step adds. */
  betaEnd: number;
  /** Number of steps. */
  numDiffusionTimesteps: number;
}

/** `count` numbers from `start` to `stop`, both included, with NumPy's rounding. */
function linspace(start: number, stop: number, count: number): Float64Array {
  const step = count > 1 ? (stop - start) / (count - 1) : 0;
  const out = Float64Array.from({ length: count }, (_, i) => i * step + start);
  if (count > 1) out[count - 1] = stop;
  return out;
}

function checkCount(op: string, count: number): void {
  if (!Number.isInteger(count) || count < 1) {
    throw new RangeError(`${op}: expected 1 or more steps but got ${count}`);
  }
}

/** Rises from the start to the end over the first `fraction` of the steps, then stays there. */
function warmup({ betaStart, betaEnd, numDiffusionTimesteps }: BetaRange, fraction: number) {
  const betas = new Float64Array(numDiffusionTimesteps).fill(betaEnd);
  betas.set(linspace(betaStart, betaEnd, Math.trunc(numDiffusionTimesteps * fraction)));
  return betas;
}

/**
 * Betas of the schedule `name` between two ends.
 *
 * @throws {RangeError} where the name is not one of them.
 */
export function getBetaSchedule(name: BetaSchedule, range: BetaRange): Float64Array {
  const { betaStart, betaEnd, numDiffusionTimesteps: count } = range;
  checkCount("getBetaSchedule", count);
  switch (name) {
    case "quad":
      return linspace(Math.sqrt(betaStart), Math.sqrt(betaEnd), count).map((x) => x * x);
    case "linear":
      return linspace(betaStart, betaEnd, count);
    case "warmup10":
      return warmup(range, 0.1);
    case "warmup50":
      return warmup(range, 0.5);
    case "const":
      return new Float64Array(count).fill(betaEnd);
    case "jsd": // 1/T, 1/(T-1), ..., 1
      return linspace(count, 1, count).map((x) => 1 / x);
    default:
      name satisfies never;
      throw new RangeError(
        `getBetaSchedule: expected quad, linear, warmup10, warmup50, const or jsd but got ${name}`,
      );
  }
}

/**
 * Betas of a schedule that means the same for any number of steps: `linear` is that of Ho et al.
 * (arXiv 2006.11239, 1e-4 to 0.02 in 1000 steps), `squaredcos_cap_v2` that of Nichol & Dhariwal
 * (arXiv 2102.09672, eq. 17).
 *
 * @throws {RangeError} where the name is not one of them.
 */
export function getNamedBetaSchedule(name: NoiseScheduleName, steps: number): Float64Array {
  switch (name) {
    case "linear": {
      const scale = 1000 / steps;
      return getBetaSchedule("linear", {
        betaStart: scale * 0.0001,
        betaEnd: scale * 0.02,
        numDiffusionTimesteps: steps,
      });
    }
    case "squaredcos_cap_v2":
      return betasForAlphaBar(steps, (t) => Math.cos((t + 0.008) / 1.008 * Math.PI / 2) ** 2);
    default:
      name satisfies never;
      throw new RangeError(
        `getNamedBetaSchedule: expected linear or squaredcos_cap_v2 but got ${name}`,
      );
  }
}

/**
 * Fewest steps of a named schedule that can be trained and sampled: more than one, and none of them
 * loses the whole signal, as the last of a linear schedule of 20 steps does.
 */
export function leastSteps(name: NoiseScheduleName): number {
  return name === "linear" ? 21 : 2;
}

/**
 * Betas whose running product of 1 - beta follows `alphaBar`, a function on [0, 1] that falls from
 * 1 towards 0.
 *
 * @param maxBeta Upper limit, which keeps the last steps from being singular.
 */
export function betasForAlphaBar(
  steps: number,
  alphaBar: (t: number) => number,
  maxBeta = 0.999,
): Float64Array {
  checkCount("betasForAlphaBar", steps);
  return Float64Array.from({ length: steps }, (_, i) => {
    return Math.min(1 - alphaBar((i + 1) / steps) / alphaBar(i / steps), maxBeta);
  });
}
