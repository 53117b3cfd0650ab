/** Diffusion processes by the original's flags. */
import { checkOptionNames } from "../tensor/mod.ts";
import { GaussianDiffusion } from "./gaussian_diffusion.ts";
import type { LossType } from "./losses.ts";
import { type Objective, OBJECTIVES } from "./predictions.ts";
import type { Respacing } from "./respace.ts";
import type { VarType } from "./reverse.ts";
import { getNamedBetaSchedule, type NoiseScheduleName } from "./schedules.ts";

/** Settings of {@link createDiffusion}. */
export interface DiffusionOptions {
  /** Which timesteps to visit; all of them where it is left out or empty. */
  timestepRespacing?: Respacing | null;
  /** How noise grows; `linear` by default. */
  noiseSchedule?: NoiseScheduleName;
  /** Trains by the variational bound itself; false by default. */
  useKl?: boolean;
  /** A fixed variance is beta-tilde rather than beta; false by default. */
  sigmaSmall?: boolean;
  /** The original's way to say `objective: "xstart"`; false by default. */
  predictXstart?: boolean;
  /** The model predicts the variance too, in as many channels again; true by default. */
  learnSigma?: boolean;
  /** Scales the bound's part of the loss by T / 1000; false by default. */
  rescaleLearnedSigmas?: boolean;
  /** Timesteps that the model is trained with; 1000 by default. */
  diffusionSteps?: number;
  /** What the model predicts; the noise, `epsilon`, by default. */
  objective?: Objective;
  /** Weighs squared errors by min(SNR, this), arXiv 2303.09556; off by default. */
  minSnrGamma?: number;
}

const OPTIONS: Readonly<Record<keyof DiffusionOptions, true>> = {
  timestepRespacing: true,
  noiseSchedule: true,
  useKl: true,
  sigmaSmall: true,
  predictXstart: true,
  learnSigma: true,
  rescaleLearnedSigmas: true,
  diffusionSteps: true,
  objective: true,
  minSnrGamma: true,
};

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
 * @throws {TypeError} where there is no such setting.
 * @throws {RangeError} where a setting is out of range or two do not go together.
 */
export function createDiffusion(options: DiffusionOptions = {}): GaussianDiffusion {
  checkOptionNames("createDiffusion", options, OPTIONS);
  const { noiseSchedule = "linear", diffusionSteps = 1000, timestepRespacing } = options;
  const { predictXstart = false, objective, minSnrGamma } = options;
  if (predictXstart && objective) {
    throw new RangeError(`createDiffusion: expected predictXstart or objective but got both`);
  }
  if (objective !== undefined && !OBJECTIVES.includes(objective)) {
    throw new RangeError(
      `createDiffusion: expected objective ${OBJECTIVES.join(", ")} but got ${objective}`,
    );
  }
  const whole = new GaussianDiffusion({
    betas: getNamedBetaSchedule(noiseSchedule, diffusionSteps),
    objective: objective ?? (predictXstart ? "xstart" : "epsilon"),
    varType: varTypeOf(options),
    lossType: lossTypeOf(options),
    minSnrGamma,
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
