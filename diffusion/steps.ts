/**
 * One step of the reverse process of Gaussian diffusion, of each kind that the original has. The
 * methods of the same names of `GaussianDiffusion` call these, and document them.
 */
import { scope, type Tensor } from "../tensor/mod.ts";
import { addcmul, exp, mul } from "../autograd/mod.ts";
import type { Model, ModelKwargs } from "./model.ts";
import { drawNoise, type NoiseOptions } from "./noise.ts";
import {
  checkStepOptions,
  type CondFn,
  type ModelOptions,
  type PredictOptions,
  type StepOptions,
  type StepResult,
} from "./process.ts";
import {
  guidedXstart,
  modelOutput,
  type ModelPrediction,
  reverseMoments,
  type ReverseParts,
  xStartOf,
} from "./reverse.ts";
import { checkEta, ddimWeights } from "./samplers/ddim.ts";
import { combine, keepAll } from "./tensors.ts";
import type { Timesteps } from "./timesteps.ts";

/** A step of DDIM. */
export interface DdimOptions<K extends object = ModelKwargs> extends StepOptions<K> {
  /** 0 (the default) is deterministic, 1 as random as DDPM. */
  eta?: number;
}

export function predictXstart<K extends object>(
  parts: ReverseParts,
  model: Model<K>,
  x: Tensor,
  t: Timesteps,
  options: StepOptions<K> = {},
): Tensor {
  using s = scope("predictXstart");
  const { condFn, modelKwargs } = options;
  const at = parts.schedule.timestepsOf("predictXstart", t, x);
  const output = modelOutput("predictXstart", parts, model, x, at, modelKwargs);
  const predXstart = xStartOf(parts, output, x, at, options);
  if (!condFn) return s.keep(predXstart);
  return s.keep(guidedXstart(parts.schedule, condFn, predXstart, x, at, modelKwargs));
}

export function pMeanVariance<K extends object>(
  parts: ReverseParts,
  model: Model<K>,
  x: Tensor,
  t: Timesteps,
  options: PredictOptions<K> = {},
): ModelPrediction {
  checkStepOptions("pMeanVariance", options);
  using s = scope("pMeanVariance");
  const at = parts.schedule.timestepsOf("pMeanVariance", t, x);
  const output = modelOutput("pMeanVariance", parts, model, x, at, options.modelKwargs);
  return keepAll(s, reverseMoments("pMeanVariance", parts, output, x, at, options));
}

export function conditionMean<K extends object>(
  parts: ReverseParts,
  condFn: CondFn<K>,
  prediction: ModelPrediction,
  x: Tensor,
  t: Timesteps,
  { modelKwargs }: ModelOptions<K> = {},
): Tensor {
  using s = scope("conditionMean");
  const at = parts.schedule.timestepsOf("conditionMean", t, x);
  const gradient = condFn(x, at.mapped(parts.schedule.timestepMap, x), modelKwargs ?? {} as K);
  return s.keep(addcmul(prediction.mean, prediction.variance, gradient));
}

export function conditionScore<K extends object>(
  parts: ReverseParts,
  condFn: CondFn<K>,
  prediction: ModelPrediction,
  x: Tensor,
  t: Timesteps,
  { modelKwargs }: ModelOptions<K> = {},
): ModelPrediction {
  using s = scope("conditionScore");
  const at = parts.schedule.timestepsOf("conditionScore", t, x);
  const { predXstart: before } = prediction;
  const predXstart = guidedXstart(parts.schedule, condFn, before, x, at, modelKwargs);
  const mean = parts.schedule.qPosteriorMean(predXstart, x, at);
  s.keep([predXstart, mean]);
  return { ...prediction, predXstart, mean };
}

export function pSample<K extends object>(
  parts: ReverseParts,
  model: Model<K>,
  x: Tensor,
  t: Timesteps,
  options: StepOptions<K> & NoiseOptions = {},
): StepResult {
  checkStepOptions("pSample", options);
  using s = scope("pSample");
  const at = parts.schedule.timestepsOf("pSample", t, x);
  const prediction = pMeanVariance(parts, model, x, at, options);
  const { logVariance, predXstart } = prediction;
  const { condFn } = options;
  const mean = condFn ? conditionMean(parts, condFn, prediction, x, at, options) : prediction.mean;
  if (at.uniform === 0) return keepAll(s, { sample: mean, predXstart });
  const noise = drawNoise("pSample", x.shape, x.device, options);
  const deviation = exp(mul(logVariance, 0.5));
  const masked = at.mayHold(0) ? mul(at.gather((i) => i === 0 ? 0 : 1, x), noise) : noise;
  return keepAll(s, { sample: addcmul(mean, deviation, masked), predXstart });
}

export function ddimSample<K extends object>(
  parts: ReverseParts,
  model: Model<K>,
  x: Tensor,
  t: Timesteps,
  options: DdimOptions<K> & NoiseOptions = {},
): StepResult {
  checkStepOptions("ddimSample", options);
  using s = scope("ddimSample");
  const { eta = 0 } = options;
  checkEta("ddimSample", eta);
  const at = parts.schedule.timestepsOf("ddimSample", t, x);
  const predXstart = predictXstart(parts, model, x, at, options);
  const eps = parts.schedule.predictEpsFromXstart(x, at, predXstart);
  const weights = (i: number) =>
    ddimWeights(parts.schedule.levelAt(i), parts.schedule.levelAt(i - 1), eta);
  const ofXstart = at.gather((i) => weights(i).xStart, x);
  const mean = combine(ofXstart, predXstart, at.gather((i) => weights(i).eps, x), eps);
  // no fresh noise at t = 0
  if (eta === 0 || at.uniform === 0) return keepAll(s, { sample: mean, predXstart });
  const noise = drawNoise("ddimSample", x.shape, x.device, options);
  const fresh = at.gather((i) => weights(i).fresh, x);
  return keepAll(s, { sample: addcmul(mean, fresh, noise), predXstart });
}

export function ddimReverseSample<K extends object>(
  parts: ReverseParts,
  model: Model<K>,
  x: Tensor,
  t: Timesteps,
  options: StepOptions<K> = {},
): StepResult {
  checkStepOptions("ddimReverseSample", options);
  using s = scope("ddimReverseSample");
  const at = parts.schedule.timestepsOf("ddimReverseSample", t, x);
  const predXstart = predictXstart(parts, model, x, at, options);
  const eps = parts.schedule.predictEpsFromXstart(x, at, predXstart);
  const signal = at.gather((i) => parts.schedule.levelAt(i + 1).alpha, x);
  const noise = at.gather((i) => parts.schedule.levelAt(i + 1).sigma, x);
  return keepAll(s, { sample: combine(signal, predXstart, noise, eps), predXstart });
}
