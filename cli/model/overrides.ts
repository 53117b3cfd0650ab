/**
 * What people can say of weights whose file does not: a state dict has names and shapes only. What
 * a file does say is not overruled, since weights used otherwise than they were trained draw noise.
 */
import type { NoiseSchedule } from "@dit/core/diffusion";
import { UsageError } from "../shared/errors.ts";
import { choice, count, type FlagValues, text } from "../shared/flags.ts";
import { type ModelConfig, MODELS, modelSize, type Objective } from "./config.ts";

/** The flags. */
export const TOLD_FLAGS = {
  "model": text("NAME", "such as DiT-XL/2; tells the number of heads too"),
  "num-heads": count(
    "attention heads (default: the named model's of its width, or 64 channels each)",
  ),
  "num-classes": count("classes (default: rows of its table but one, which is for none)"),
  "objective": choice(["epsilon", "xstart", "v"], "what it predicts (default epsilon)"),
  "noise-schedule": choice(["linear", "squaredcos_cap_v2"], "how noise grows (default linear)"),
  "diffusion-steps": count("timesteps (default 1000)"),
} as const;

/** What is said of weights, by a person or by their file. */
export interface Told {
  /** One of `MODELS`. */
  readonly model?: string | undefined;
  /** Attention heads. */
  readonly numHeads?: number | undefined;
  /** Classes, the one for none not counted. */
  readonly numClasses?: number | undefined;
  /** What they predict. */
  readonly objective?: Objective | undefined;
  /** How noise grows. */
  readonly noiseSchedule?: NoiseSchedule | undefined;
  /** Timesteps. */
  readonly diffusionSteps?: number | undefined;
  /** Whether their channels are latents, however many there are. */
  readonly isLatent?: boolean | undefined;
}

/** The flag that says each. */
const FLAG_OF = {
  model: "model",
  numHeads: "num-heads",
  numClasses: "num-classes",
  objective: "objective",
  noiseSchedule: "noise-schedule",
  diffusionSteps: "diffusion-steps",
} as const satisfies Partial<Record<keyof Told, keyof typeof TOLD_FLAGS>>;

/**
 * What the flags say.
 *
 * @param vae `--vae`, which an autoencoder is given by: then channels are latents.
 * @throws {UsageError} where there is no model of that name.
 */
export function toldBy(flags: FlagValues<typeof TOLD_FLAGS>, vae: string | undefined): Told {
  if (flags.model !== undefined) modelSize(flags.model);
  return {
    model: flags.model,
    numHeads: flags["num-heads"],
    numClasses: flags["num-classes"],
    objective: flags.objective,
    noiseSchedule: flags["noise-schedule"],
    diffusionSteps: flags["diffusion-steps"],
    isLatent: vae !== undefined && vae !== "none",
  };
}

/**
 * Refuses what a file itself says otherwise.
 *
 * @throws {UsageError} naming the flag.
 */
export function expectAgreement(path: string, told: Told, known: Told): void {
  for (const [key, flag] of Object.entries(FLAG_OF) as [keyof typeof FLAG_OF, string][]) {
    if (told[key] === undefined || known[key] === undefined || told[key] === known[key]) continue;
    throw new UsageError(
      `--${flag}: expected ${known[key]}, which ${path} says itself, but got ${
        told[key]
      }; leave it out`,
    );
  }
}

/** What a whole configuration says. */
export function saidBy({ name, dit, diffusion }: ModelConfig): Told {
  const { numHeads, numClasses } = dit;
  const { objective, noiseSchedule, diffusionSteps } = diffusion;
  return { model: name, numHeads, numClasses, objective, noiseSchedule, diffusionSteps };
}

/**
 * Refuses weights that are not of the model they are said to be.
 *
 * @throws {UsageError} where they are not.
 */
export function expectModel(path: string, told: Told, dit: ModelConfig["dit"]): void {
  if (told.model === undefined) return;
  for (const [key, want] of Object.entries(MODELS[told.model]!) as [keyof typeof dit, number][]) {
    if (dit[key] === want) continue;
    throw new UsageError(
      `--model: ${told.model} has a ${key} of ${want} but ${path} one of ${dit[key]}; leave it out`,
    );
  }
}
