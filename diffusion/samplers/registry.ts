/**
 * Every sampler: the step it takes, and a row of the table below that says all else of it.
 * `sample()`, the commands and their help, and previews read the table, so that a new sampler is a
 * change of this file only.
 */
import { add, addcmul, mul } from "../../autograd/mod.ts";
import type { Tensor } from "../../tensor/mod.ts";
import type { NoiseLevel, Process, Spacing, StepResult } from "../process.ts";
import { combine } from "../tensors.ts";
import { ddimWeights } from "./ddim.ts";

/** A step to take. */
export interface SamplerStep {
  /** [N, C, ...] at `from`. */
  readonly x: Tensor;
  /** The noise level of x. */
  readonly from: NoiseLevel;
  /** The noise level to go to: that of the data in the last step. */
  readonly to: NoiseLevel;
  /** The level before `from` and the x_0 predicted there; undefined in the first step. */
  readonly before: { readonly level: NoiseLevel; readonly xStart: Tensor } | undefined;
  /** Randomness, 0 to 1; 0 for samplers that have none. */
  readonly eta: number;
  /** The x_0 that the model predicts for x at a level, [N, C, ...]. */
  denoise(x: Tensor, at: NoiseLevel): Tensor;
  /** Fresh standard normal noise, [N, C, ...]. */
  noise(): Tensor;
  /** The velocity dx/dt at a level, by {@link Process.velocity}; undefined where that is missing. */
  readonly velocity: ((x: Tensor, at: NoiseLevel) => Tensor | undefined) | undefined;
  /** This step drawn from p(x_to | x_from) by {@link Process.ancestral}. */
  ancestral(): StepResult;
}

/** A sampler. */
export interface Sampler {
  /** What it is, in a few words, with its paper. */
  readonly help: string;
  /** Steps where none are asked for. */
  readonly usualSteps: number;
  /**
   * How its stops are spread where nothing is asked for; evenly in time of a flow, whose lines are
   * nearly straight, unless `isFlow`.
   */
  readonly spacing: Spacing;
  /** Fewest steps that it can take; 1 by default. */
  readonly leastSteps?: number;
  /** Whether `eta` sets how random it is. */
  readonly hasEta?: boolean;
  /** Whether its steps are drawn by {@link Process.ancestral}, which not every process has. */
  readonly isAncestral?: boolean;
  /** Whether it is made for flows, by {@link Process.velocity}, which not every process has. */
  readonly isFlow?: boolean;
  /** Takes one step; `predXstart` is the model's prediction at `from`. */
  readonly step: (step: SamplerStep) => StepResult;
}

/** DDPM draws from the reverse process itself. */
const ddpmStep: Sampler["step"] = ({ ancestral }) => ancestral();

/** Half the logarithm of the signal-to-noise ratio; infinite for the data themselves. */
const lambda = ({ alpha, sigma }: NoiseLevel): number => Math.log(alpha / sigma);

/** A step of DDIM: x = alpha x_0 + sigma eps, with the x_0 and eps that the model sees in it. */
const ddimStep: Sampler["step"] = ({ x, from, to, eta, denoise, noise }) => {
  const predXstart = denoise(x, from);
  const eps = combine(1 / from.sigma, x, -from.alpha / from.sigma, predXstart);
  const { xStart, eps: ofEps, fresh } = ddimWeights(from, to, eta);
  const mean = combine(xStart, predXstart, ofEps, eps);
  return { sample: fresh === 0 ? mean : addcmul(mean, fresh, noise()), predXstart };
};

/**
 * A step of DPM-Solver++(2M): second order with one call of the model, because it remembers the
 * prediction before (algorithm 2 there). The first and the last step are of first order, as DDIM.
 */
const dpmSolverStep: Sampler["step"] = ({ x, from, to, before, denoise }) => {
  const xStart = denoise(x, from);
  const h = lambda(to) - lambda(from);
  let d = xStart;
  if (before && to.sigma > 0) {
    const r = (lambda(from) - lambda(before.level)) / h;
    d = combine(1 + 1 / (2 * r), xStart, -1 / (2 * r), before.xStart);
  }
  const sample = combine(to.sigma / from.sigma, x, -to.alpha * Math.expm1(-h), d);
  return { sample, predXstart: xStart };
};

/** A step of Euler's method along the probability flow: DDIM's, which is straight in x_0 and eps. */
const eulerStep: Sampler["step"] = (step) => ddimStep({ ...step, eta: 0 });

/**
 * A step of Euler and Maruyama's method on the SDE of a flow that draws as much noise as there is,
 * dx = (v + sigma score) dt + sqrt(2 sigma) dW with sigma score = -eps (Ma et al., arXiv 2401.08740,
 * eq. 3 and 8); the last step is its mean.
 */
const eulerMaruyamaStep: Sampler["step"] = ({ x, from, to, denoise, noise }) => {
  const predXstart = denoise(x, from);
  const eps = combine(1 / from.sigma, x, -from.alpha / from.sigma, predXstart);
  const dt = to.t - from.t;
  const move = combine(to.alpha - from.alpha, predXstart, to.sigma - from.sigma - dt, eps);
  const mean = add(x, move);
  if (to.sigma === 0) return { sample: mean, predXstart };
  return { sample: addcmul(mean, Math.sqrt(2 * from.sigma * dt), noise()), predXstart };
};

/**
 * A step of Heun's second-order method in the time of a flow: with the mean of the velocities at both
 * ends. Two calls of the model; one where nothing says the velocity of the data, in a last step of
 * Euler's.
 */
const flowHeunStep: Sampler["step"] = (step) => {
  const { x, from, to, velocity } = step;
  const { sample: euler, predXstart } = eulerStep(step);
  const end = velocity!(euler, to);
  if (!end) return { sample: euler, predXstart };
  // (x + euler) / 2 + end dt / 2
  return { sample: combine(0.5, add(x, euler), (to.t - from.t) / 2, end), predXstart };
};

/**
 * A step of Heun's second-order method as Karras et al. use it (algorithm 1 there, deterministic): in
 * y = x / alpha and s = sigma / alpha, the probability flow is dy/ds = (y - x_0(y, s)) / s. Two calls
 * of the model, one in the last step, which is Euler's, as is a step from pure noise, where s is
 * infinite.
 */
const heunStep: Sampler["step"] = (step) => {
  const { x, from, to, denoise } = step;
  if (step.velocity) return flowHeunStep(step);
  if (from.alpha === 0) return ddimStep({ ...step, eta: 0 });
  const [s, next] = [from.sigma / from.alpha, to.sigma / to.alpha];
  const y = mul(x, 1 / from.alpha);
  const xStart = denoise(x, from);
  // y + (next - s) (y - x_0) / s
  const euler = combine(next / s, y, 1 - next / s, xStart);
  if (next === 0) return { sample: euler, predXstart: xStart };
  const slope = combine(1 / s, y, -1 / s, xStart);
  const x0Next = denoise(mul(euler, to.alpha), to);
  const slopeNext = combine(1 / next, euler, -1 / next, x0Next);
  const slopes = combine(0.5, slope, 0.5, slopeNext);
  return { sample: combine(to.alpha, y, to.alpha * (next - s), slopes), predXstart: xStart };
};

/** The name of a sampler. */
export type SamplerName = "ddpm" | "ddim" | "dpm++" | "heun" | "euler" | "euler-maruyama";

/** Every sampler by its name, in the order in which they are listed. */
export const SAMPLERS: Readonly<Record<SamplerName, Sampler>> = {
  "ddpm": {
    help: "as random as training assumes (arXiv 2006.11239)",
    usualSteps: 250,
    spacing: "time",
    leastSteps: 2, // the variance of a step is that of the posterior of a shorter one
    isAncestral: true,
    step: ddpmStep,
  },
  "ddim": {
    help: "deterministic, or random by eta (arXiv 2010.02502)",
    usualSteps: 50,
    spacing: "time",
    hasEta: true,
    step: ddimStep,
  },
  "dpm++": {
    help: "DPM-Solver++(2M), second order (arXiv 2211.01095)",
    usualSteps: 20,
    spacing: "logSnr",
    step: dpmSolverStep,
  },
  "heun": {
    help: "second order, two calls of the model a step (arXiv 2206.00364); of a flow in its time",
    usualSteps: 18,
    spacing: "karras",
    step: heunStep,
  },
  "euler": {
    help: "first order, straight along a flow (arXiv 2209.03003)",
    usualSteps: 50,
    spacing: "time",
    step: eulerStep,
  },
  "euler-maruyama": {
    help: "a flow with fresh noise in every step (arXiv 2401.08740)",
    usualSteps: 250,
    spacing: "sde",
    isFlow: true,
    step: eulerMaruyamaStep,
  },
};

/** The names of all samplers. */
export const SAMPLER_NAMES: readonly SamplerName[] = Object.keys(SAMPLERS) as SamplerName[];

/** The samplers that can be random or not, by `eta`. */
export const ETA_SAMPLERS: readonly SamplerName[] = SAMPLER_NAMES.filter((name) =>
  SAMPLERS[name].hasEta
);

/**
 * The sampler of a name.
 *
 * @throws {RangeError} where there is none.
 */
export function samplerOf(name: SamplerName): Sampler {
  if (Object.hasOwn(SAMPLERS, name)) return SAMPLERS[name];
  throw new RangeError(`sample: expected sampler ${SAMPLER_NAMES.join(", ")} but got ${name}`);
}

/** How many steps a sampler can take, both ends included. */
export interface StepRange {
  /** Fewest. */
  readonly least: number;
  /** Most. */
  readonly most: number;
  /** The sampler's usual number, as far as the process has it. */
  readonly usual: number;
}

/**
 * How many steps a sampler can take through a process.
 *
 * @throws {RangeError} where there is no such sampler, or it cannot sample that process.
 */
export function stepRange(process: Process, name: SamplerName): StepRange {
  const { leastSteps: least = 1, usualSteps, isAncestral, isFlow } = samplerOf(name);
  const needs = isAncestral && !process.ancestral
    ? "a process that knows p(x_{t-1} | x_t)"
    : isFlow && !process.velocity
    ? "a flow"
    : undefined;
  if (needs !== undefined) {
    throw new RangeError(`sample: ${name} needs ${needs} but the process is ${process.name}`);
  }
  const { maxSteps: most } = process;
  return { least, most, usual: Math.min(usualSteps, most) };
}
