/**
 * Settings of a model that flags give where its file does not: a state dict has names and shapes
 * only. A flag never overrules the file, since weights used otherwise than they were trained draw
 * noise.
 */
import {
  type NoiseScheduleName,
  type Objective,
  OBJECTIVES,
  PROCESS_NAMES,
  type ProcessName,
} from "@dit/core/diffusion";
import { type ModelConfig, MODELS, processOf, takes } from "@dit/core/pipeline";
import { UsageError } from "../shared/errors.ts";
import { MOST_TIMESTEPS } from "../shared/common_flags.ts";
import {
  choice,
  count,
  type FlagValues,
  text,
  withDefault,
  withDefaultText,
} from "../shared/flags.ts";
import { modelSize } from "./model_flags.ts";

/** The flags. */
export const OVERRIDE_FLAGS = {
  "model": text("NAME", "such as DiT-XL/2; sets the number of heads too"),
  "num-heads": withDefaultText(
    count("attention heads"),
    "the named model's of its width, or 64 channels each",
  ),
  "num-classes": withDefaultText(count("classes"), "rows of its table but one, which is for none"),
  "process": withDefault(choice(PROCESS_NAMES, "how images turned into noise"), "gaussian"),
  "objective": withDefaultText(
    choice(OBJECTIVES, "what it predicts"),
    "epsilon, or v of a flow",
  ),
  "noise-schedule": withDefault(
    choice(["linear", "squaredcos_cap_v2"], "how noise grows"),
    "linear",
  ),
  "diffusion-steps": withDefault(count("timesteps", 1, MOST_TIMESTEPS), 1000),
} as const;

/** Settings of a model, as given by flags or as stated by its file; undefined where they are not. */
export interface ModelOverrides {
  /** One of `MODELS`. */
  readonly model?: string | undefined;
  /** Attention heads. */
  readonly numHeads?: number | undefined;
  /** Classes, the one for none not counted. */
  readonly numClasses?: number | undefined;
  /** How images turned into noise. */
  readonly process?: ProcessName | undefined;
  /** What they predict. */
  readonly objective?: Objective | undefined;
  /** How noise grows. */
  readonly noiseSchedule?: NoiseScheduleName | undefined;
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
  process: "process",
  objective: "objective",
  noiseSchedule: "noise-schedule",
  diffusionSteps: "diffusion-steps",
} as const satisfies Partial<Record<keyof ModelOverrides, keyof typeof OVERRIDE_FLAGS>>;

/**
 * The settings that flags give.
 *
 * @param vae The value of `--vae`: where it names an autoencoder, channels are latents.
 * @throws {UsageError} where there is no model of that name.
 */
export function overridesFromFlags(
  flags: FlagValues<typeof OVERRIDE_FLAGS>,
  vae: string | undefined,
): ModelOverrides {
  if (flags.model !== undefined) modelSize(flags.model);
  return {
    model: flags.model,
    numHeads: flags["num-heads"],
    numClasses: flags["num-classes"],
    process: flags.process,
    objective: flags.objective,
    noiseSchedule: flags["noise-schedule"],
    diffusionSteps: flags["diffusion-steps"],
    isLatent: vae !== undefined && vae !== "none",
  };
}

/**
 * Refuses a flag that contradicts the file.
 *
 * @throws {UsageError} naming the flag.
 */
export function checkOverrides(
  path: string,
  overrides: ModelOverrides,
  known: ModelOverrides,
): void {
  const process = overrides.process ?? known.process;
  for (const [key, flag] of Object.entries(FLAG_OF) as [keyof typeof FLAG_OF, string][]) {
    const isOfProcess = key === "noiseSchedule" || key === "diffusionSteps";
    if (isOfProcess && overrides[key] !== undefined && process && !takes(process, key)) {
      throw new UsageError(
        `--${flag}: ${path} is of process ${process}, which has no such setting; leave it out`,
      );
    }
    if (overrides[key] === undefined || known[key] === undefined || overrides[key] === known[key]) {
      continue;
    }
    throw new UsageError(
      `--${flag}: expected ${known[key]}, which ${path} says itself, but got ${
        overrides[key]
      }; leave it out`,
    );
  }
}

/** The settings that a whole configuration states. */
export function describeConfig({ name, dit, diffusion }: ModelConfig): ModelOverrides {
  const { numHeads, numClasses } = dit;
  const { objective, noiseSchedule, diffusionSteps } = diffusion;
  return {
    model: name,
    numHeads,
    numClasses,
    process: processOf(diffusion),
    objective,
    noiseSchedule,
    diffusionSteps,
  };
}

/**
 * Refuses weights whose shapes are not those of the model that `--model` names.
 *
 * @throws {UsageError} naming the size that differs.
 */
export function checkModelSize(
  path: string,
  overrides: ModelOverrides,
  dit: ModelConfig["dit"],
): void {
  if (overrides.model === undefined) return;
  for (
    const [key, want] of Object.entries(MODELS[overrides.model]!) as [keyof typeof dit, number][]
  ) {
    if (dit[key] === want) continue;
    throw new UsageError(
      `--model: ${overrides.model} has a ${key} of ${want} but ${path} one of ${
        dit[key]
      }; leave it out`,
    );
  }
}
