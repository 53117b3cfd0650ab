/** What training minimises in Gaussian diffusion, read from top to bottom. */
import { scope, type Tensor } from "../tensor/mod.ts";
import { add, detach, mul, neg, square, sub, where } from "../autograd/mod.ts";
import { bitsPerDimension, discretizedGaussianLogLikelihood, normalKl } from "./likelihood.ts";
import type { Model, ModelOutput } from "./model.ts";
import { drawNoise } from "./noise.ts";
import { PREDICTIONS } from "./predictions.ts";
import { checkStepOptions, type TrainingLosses, type TrainingOptions } from "./process.ts";
import { modelOutput, reverseMoments, type ReverseParts } from "./reverse.ts";
import { keepAll, meanFlat } from "./tensors.ts";
import type { BatchTimesteps, Timesteps } from "./timesteps.ts";

/**
 * What training minimises: the squared error of the prediction, with the variational bound for the
 * variance where that is learned (L_hybrid of arXiv 2102.09672), or the bound itself. `rescaledMse`
 * scales the bound's part by T / 1000, `rescaledKl` the bound by T, to estimate the whole sum.
 */
export type LossType = "mse" | "rescaledMse" | "kl" | "rescaledKl";

/** What the loss is made of. */
export interface LossParts extends ReverseParts {
  /** What training minimises. */
  readonly lossType: LossType;
  /** Weighs squared errors by min(SNR, this) (Hang et al., arXiv 2303.09556; 5 there). */
  readonly minSnrGamma?: number | undefined;
}

/**
 * Refuses parts that do not go together.
 *
 * @throws {RangeError} where errors are to be weighted that are not squared errors of x_0, the noise
 * or the velocity.
 */
export function checkLossParts({ minSnrGamma, objective, lossType }: LossParts): void {
  if (minSnrGamma === undefined) return;
  if (minSnrGamma > 0 && objective !== "previousX" && !isBound(lossType)) return;
  throw new RangeError(
    `minSnrGamma: expected a number above 0, a squared error and a model that predicts ` +
      `epsilon, xstart or v but got ${minSnrGamma}, ${lossType} and ${objective}`,
  );
}

/** Whether the loss is the variational bound itself. */
function isBound(lossType: LossType): boolean {
  return lossType === "kl" || lossType === "rescaledKl";
}

/** Losses of a batch for timesteps `t` (arXiv 2006.11239, algorithm 1). */
export function trainingLosses<K extends object>(
  parts: LossParts,
  model: Model<K>,
  xStart: Tensor,
  t: Timesteps,
  options: TrainingOptions<K> = {},
): TrainingLosses {
  const op = "trainingLosses";
  const { schedule, objective, lossType } = parts;
  checkStepOptions(op, options);
  using s = scope(op);
  const at = schedule.timestepsOf(op, t, xStart);
  const noise = drawNoise(op, xStart.shape, xStart.device, options);
  const xT = schedule.qSample(xStart, at, noise);
  const output = modelOutput(op, parts, model, xT, at, options.modelKwargs);
  if (isBound(lossType)) {
    const bound = boundTerm(parts, output, xStart, xT, at, false).output;
    return keepAll(s, {
      loss: lossType === "rescaledKl" ? mul(bound, schedule.numTimesteps) : bound,
    });
  }
  const target = PREDICTIONS[objective].target(schedule, { xStart, xT, noise, at });
  const mse = meanFlat(square(sub(target, output.main)));
  const weighted = minSnrWeighted(parts, mse, at, xStart);
  if (!output.variance) return keepAll(s, { loss: weighted, mse });
  // the bound teaches the variance and must not move the mean
  const frozen = { main: detach(output.main), variance: output.variance };
  const bound = boundTerm(parts, frozen, xStart, xT, at, false).output;
  const vb = lossType === "rescaledMse" ? mul(bound, schedule.numTimesteps / 1000) : bound;
  return keepAll(s, { loss: add(weighted, vb), mse, vb });
}

/** Squared errors [N] times min(SNR, gamma), in terms of what is predicted (section 3.4 there). */
function minSnrWeighted(
  { schedule, objective, minSnrGamma: gamma }: LossParts,
  mse: Tensor,
  at: BatchTimesteps,
  x: Tensor,
): Tensor {
  if (gamma === undefined) return mse;
  const { errorRatio } = PREDICTIONS[objective];
  const weight = (t: number): number => {
    const snr = schedule.snr(t);
    return Math.min(snr, gamma) / errorRatio(snr);
  };
  return mul(mse, at.gather(weight, x, 1));
}

/** A step's term of the variational bound. */
export interface BoundTerm {
  /** [N]: bits per dimension. */
  output: Tensor;
  /** [N, C, ...] */
  predXstart: Tensor;
}

/**
 * A timestep's term of the variational bound in bits per dimension: the KL divergence of
 * p(x_{t-1} | x_t) from the posterior, at t = 0 the negative log-likelihood of the decoder
 * (arXiv 2006.11239, eq. 5).
 */
export function boundTerm(
  parts: ReverseParts,
  output: ModelOutput,
  xStart: Tensor,
  xT: Tensor,
  at: BatchTimesteps,
  clipDenoised: boolean,
): BoundTerm {
  const { schedule } = parts;
  const { mean, logVariance, predXstart } = reverseMoments(
    "vbTermsBpd",
    parts,
    output,
    xT,
    at,
    { clipDenoised },
  );
  const decoder = (): Tensor => {
    const logScales = mul(logVariance, 0.5);
    return bitsPerDimension(
      neg(discretizedGaussianLogLikelihood(xStart, { means: mean, logScales })),
    );
  };
  if (at.uniform === 0) return { output: decoder(), predXstart };
  const posterior = schedule.qPosteriorMeanVariance(xStart, xT, at);
  const kl = bitsPerDimension(normalKl(posterior.mean, posterior.logVariance, mean, logVariance));
  if (!at.mayHold(0)) return { output: kl, predXstart };
  const isFirst = at.mapped(Array.from(schedule.betas, (_, t) => t === 0 ? 1 : 0), xStart);
  return { output: where(isFirst, decoder(), kl), predXstart };
}
