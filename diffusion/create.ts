/** Diffusion processes by the original's flags. */
import type { LossType } from "./losses.ts";
import { GaussianDiffusion } from "./gaussian_diffusion.ts";
import type { Respacing } from "./respace.ts";
import type { MeanType, VarType } from "./reverse_process.ts";
import { getNamedBetaSchedule, type NoiseSchedule } from "./schedules.ts";

/** Settings of {@link createDiffusion}. */
export interface DiffusionOptions {
  /** Which timesteps to visit; all of them where it is left out or empty. */
  timestepRespacing?: Respacing | null;
  /** How noise grows; `linear` by default. */
  noiseSchedule?: NoiseSchedule;
  /** Trains by the variational bound itself; false by default. */
  useKl?: boolean;
  /** A fixed variance is beta-tilde rather than beta; false by default. */
  sigmaSmall?: boolean;
  /** The model predicts x_0 rather than the noise; false by default. */
  predictXstart?: boolean;
  /** The model predicts the variance too, in as many channels again; true by default. */
  learnSigma?: boolean;
  /** Scales the bound's part of the loss by T / 1000; false by default. */
  rescaleLearnedSigmas?: boolean;
  /** Timesteps that the model is trained with; 1000 by default. */
  diffusionSteps?: number;
  /** What the model predicts, beyond the original's choice: the velocity of arXiv 2202.00512. */
  objective?: "v";
  /** Weighs squared errors by min(SNR, this), arXiv 2303.09556; off by default. */
  minSnrGamma?: number;
}

/**
 * A diffusion process by the original's flags, with its defaults.
 *
 * @example
 * ```ts
 * import { createDiffusion } from "@dit/core/diffusion";
 *
 * const training = createDiffusion({});
 * const sampling = createDiffusion({ timestepRespacing: "250" });
 * ```
 *
 * @throws {RangeError} where a setting is out of range or two do not go together.
 */
export function createDiffusion(options: DiffusionOptions = {}): GaussianDiffusion {
  const { noiseSchedule = "linear", diffusionSteps = 1000, timestepRespacing } = options;
  const { predictXstart = false, objective, minSnrGamma } = options;
  if (predictXstart && objective) {
    throw new RangeError(`createDiffusion: expected predictXstart or objective but got both`);
  }
  const meanType: MeanType = objective ?? (predictXstart ? "xStart" : "epsilon");
  const whole = new GaussianDiffusion({
    betas: getNamedBetaSchedule(noiseSchedule, diffusionSteps),
    meanType,
    varType: varTypeOf(options),
    lossType: lossTypeOf(options),
    ...(minSnrGamma === undefined ? {} : { minSnrGamma }),
  });
  const all = !timestepRespacing || timestepRespacing.length === 0;
  // also where nothing is left out, as in the original: the same betas to the last bit
  return whole.respaced(all ? [diffusionSteps] : timestepRespacing);
}

function varTypeOf({ learnSigma = true, sigmaSmall = false }: DiffusionOptions): VarType {
  if (learnSigma) return "learnedRange";
  return sigmaSmall ? "fixedSmall" : "fixedLarge";
}

function lossTypeOf({ useKl = false, rescaleLearnedSigmas = false }: DiffusionOptions): LossType {
  if (useKl) return "rescaledKl";
  return rescaleLearnedSigmas ? "rescaledMse" : "mse";
}
