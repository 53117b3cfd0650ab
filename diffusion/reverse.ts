/** What a model's output says of x_0 and of p(x_{t-1} | x_t), in Gaussian diffusion. */
import type { Tensor } from "../tensor/mod.ts";
import { add, addcmul, clamp, exp, mul } from "../autograd/mod.ts";
import { callModel, type Model, type ModelOutput, splitOutput } from "./model.ts";
import type { GaussianMoments, NoiseSchedule } from "./noise_schedule.ts";
import { type AnyObjective, PREDICTIONS } from "./predictions.ts";
import type { CondFn, XstartOptions } from "./process.ts";
import type { BatchTimesteps } from "./timesteps.ts";

/**
 * The variance of p(x_{t-1} | x_t): beta-tilde_t or beta_t (the two choices of arXiv 2006.11239,
 * section 3.2), or learned as a place between their logarithms (arXiv 2102.09672, eq. 15).
 * `learned` is the same as `learnedRange`, as in the original.
 */
export type VarType = "fixedSmall" | "fixedLarge" | "learnedRange" | "learned";

/** What the reverse process is made of. */
export interface ReverseParts {
  /** Noise levels and q. */
  readonly schedule: NoiseSchedule;
  /** What the model predicts. */
  readonly objective: AnyObjective;
  /** Where the variance comes from. */
  readonly varType: VarType;
}

/** p(x_{t-1} | x_t) and the x_0 it stands on. */
export interface ModelPrediction extends GaussianMoments {
  /** [N, C, ...] */
  predXstart: Tensor;
}

/** Whether a model's output has channels for the variance. */
export function isLearned(varType: VarType): boolean {
  return varType === "learned" || varType === "learnedRange";
}

/** Calls the model on x_t and takes its output apart. */
export function modelOutput<K extends object>(
  op: string,
  { schedule: { timestepMap }, varType }: ReverseParts,
  model: Model<K>,
  xT: Tensor,
  at: BatchTimesteps,
  kwargs: K | undefined,
): ModelOutput {
  const t = at.mapped(timestepMap, xT);
  const modelTimes = at.host?.map((i) => timestepMap[i]!);
  const out = callModel(model, xT, t, kwargs ?? {} as K, modelTimes);
  return splitOutput(op, out, xT.shape, isLearned(varType));
}

/** The x_0 that the main part of a model's output means, changed and clipped as asked for. */
export function xStartOf(
  { schedule, objective }: ReverseParts,
  { main }: ModelOutput,
  xT: Tensor,
  at: BatchTimesteps,
  { denoisedFn, clipDenoised = true }: XstartOptions,
): Tensor {
  let xStart = PREDICTIONS[objective].toXstart(schedule, xT, at, main);
  if (denoisedFn) xStart = denoisedFn(xStart);
  return clipDenoised ? clamp(xStart, -1, 1) : xStart;
}

/** p(x_{t-1} | x_t) that a model's output means. */
export function reverseMoments(
  op: string,
  parts: ReverseParts,
  output: ModelOutput,
  xT: Tensor,
  at: BatchTimesteps,
  options: XstartOptions,
): ModelPrediction {
  parts.schedule.checkHasVariance(op);
  const predXstart = xStartOf(parts, output, xT, at, options);
  const mean = parts.schedule.qPosteriorMean(predXstart, xT, at);
  return { mean, predXstart, ...varianceOf(parts, output.variance, xT, at) };
}

function varianceOf(
  { schedule, varType }: ReverseParts,
  learned: Tensor | undefined,
  xT: Tensor,
  at: BatchTimesteps,
): { variance: Tensor; logVariance: Tensor } {
  const { betas, posteriorVariance, posteriorLogVarianceClipped: smallLog } = schedule;
  if (learned) { // from -1 (beta-tilde) to 1 (beta), between the logarithms
    const middle = at.gather((t) => (Math.log(betas[t]!) + smallLog[t]!) / 2, xT);
    const half = at.gather((t) => (Math.log(betas[t]!) - smallLog[t]!) / 2, xT);
    const logVariance = add(mul(learned, half), middle);
    return { variance: exp(logVariance), logVariance };
  }
  if (varType === "fixedSmall") {
    return { variance: at.expand(posteriorVariance, xT), logVariance: at.expand(smallLog, xT) };
  }
  // beta_t, but beta-tilde at the first step, which gives a better decoder likelihood
  const large = (t: number): number => t === 0 ? posteriorVariance[1]! : betas[t]!;
  return {
    variance: at.expand(large, xT),
    logVariance: at.expand((t) => Math.log(large(t)), xT),
  };
}

/**
 * A predicted x_0 moved by a classifier's gradient: eps - sqrt(1 - alpha-bar) gradient (algorithm 2
 * of Dhariwal & Nichol, arXiv 2105.05233).
 */
export function guidedXstart<K extends object>(
  schedule: NoiseSchedule,
  condFn: CondFn<K>,
  predXstart: Tensor,
  xT: Tensor,
  at: BatchTimesteps,
  kwargs: K | undefined,
): Tensor {
  const gradient = condFn(xT, at.mapped(schedule.timestepMap, xT), kwargs ?? {} as K);
  const eps = schedule.predictEpsFromXstart(xT, at, predXstart);
  const size = at.gather((t) => -schedule.sqrtOneMinusAlphasCumprod[t]!, xT);
  return schedule.predictXstartFromEps(xT, at, addcmul(eps, gradient, size));
}
