/** The flags of `deno task sample`. */
import { ETA_SAMPLERS, SAMPLER_NAMES, SAMPLERS } from "@dit/core/diffusion";
import { type ClassLabels, resolveClasses } from "../../shared/class_names.ts";
import { SHOWN, shownClasses } from "../../shared/classes.ts";
import { DEVICE_FLAGS, HELP, WEIGHTS } from "../../shared/common_flags.ts";
import { SAMPLE_OUT } from "../../shared/defaults.ts";
import { UsageError } from "../../shared/errors.ts";
import {
  choice,
  count,
  type Flag,
  type FlagValues,
  real,
  text,
  toggle,
  withDefault,
  withDefaultText,
} from "../../shared/flags.ts";
import { OVERRIDE_FLAGS } from "../../model/overrides.ts";

/** A range of timesteps, `lo,hi`, or of times of a flow. */
function interval(help: string): Flag<readonly [number, number]> {
  return {
    help,
    value: "LO,HI",
    parse(given, name) {
      const [low = NaN, high = NaN, ...rest] = given.split(",").map((part) => +(part || NaN));
      if (rest.length === 0 && low >= 0 && high >= low && Number.isFinite(high)) return [low, high];
      throw new UsageError(
        `--${name}: expected two timesteps, the smaller first, such as 100,800, or 0.1,1 of a flow, but got "${given}"`,
      );
    },
  };
}

/** `256` or `512`. */
const imageSize: Flag<256 | 512> = {
  ...choice(
    ["256", "512"],
    "as the original's sample.py: published DiT-XL/2, downloaded if need be",
  ),
  parse(given, name) {
    if (given === "256" || given === "512") return given === "256" ? 256 : 512;
    throw UsageError.choice(`--${name}`, given, ["256", "512"]);
  },
};

/** The sampler where none is named: of a model of one's own, and of a published one. */
export const USUAL_SAMPLER = { own: "dpm++", published: "ddpm" } as const;

/** Such as `ddpm 250, ddim 50`. */
const usualSteps = SAMPLER_NAMES.map((name) => `${name} ${SAMPLERS[name].usualSteps}`).join(", ");

/** A line for each sampler. */
export const SAMPLERS_HELP: string = SAMPLER_NAMES
  .map((name) => `  ${name.padEnd(28)}${SAMPLERS[name].help}`).join("\n");

/** Samples a file or folder is made of at most: more are a typing error. */
const MOST_SAMPLES = 1e7;

/** What to sample. */
export const WHAT = {
  "ckpt": withDefaultText(
    text("PATH", "weights: a file, a run's folder, a folder of diffusers"),
    "the newest run",
  ),
  "weights": WEIGHTS,
  "image-size": imageSize,
  "vae": withDefaultText(
    text("ema|mse|PATH|none", "autoencoder; none shows latents"),
    "the checkpoint's",
  ),
  "classes": withDefaultText(
    text("LIST", "numbers or names of classes, such as 3,7"),
    "some of all",
  ),
  "n": withDefaultText(
    count("pictures; classes are gone through again and again", 1, MOST_SAMPLES),
    "one or more each",
  ),
  "seed": withDefault(count("sample k draws from stream k of this seed", 0), 0),
} as const;

/** How to sample. */
export const HOW = {
  "sampler": withDefaultText(
    choice(SAMPLER_NAMES, "how noise is taken away, as below"),
    `${USUAL_SAMPLER.own}; with --image-size ${USUAL_SAMPLER.published}`,
  ),
  "num-sampling-steps": withDefaultText(count("steps"), `by sampler: ${usualSteps}`),
  "eta": withDefault(real(`randomness of ${ETA_SAMPLERS.join(", ")}`, 0, 1), 0),
  "cfg-scale": withDefaultText(
    real("guidance; 1 is none"),
    "that of training, otherwise 4; models of pixels 2",
  ),
  "cfg-channels": withDefaultText(
    choice(["3", "all"], "channels that are guided"),
    "3 of the published models' latents, all of others",
  ),
  "cfg-interval": withDefaultText(
    interval("timesteps that are guided; of a flow, times from 0 (noise) to 1"),
    "all",
  ),
  "time-shift": withDefaultText(
    real("move the steps of a flow to the noise, or below 1 to the image", 0.01),
    "that of training",
  ),
} as const;

/** Where it runs and where pictures go. */
export const WHERE = {
  "out": withDefault(
    text("FILE.png|FILE.npz|DIR", "a grid, an archive for evaluation, or single pictures"),
    SAMPLE_OUT,
  ),
  "progressive": toggle("a grid with a row of steps for each sample"),
  "batch-size": withDefaultText(
    count("samples at a time; no picture depends on it"),
    "by model size",
  ),
  "half": toggle("weights in f16: half the memory"),
  ...DEVICE_FLAGS,
  "help": HELP,
} as const;

/** All flags. */
export const SAMPLE_FLAGS = { ...WHAT, ...HOW, ...WHERE, ...OVERRIDE_FLAGS } as const;

/** What was given. */
export type SampleFlags = FlagValues<typeof SAMPLE_FLAGS>;

/** The classes of the original's sample.py. */
export const ORIGINAL_CLASSES: readonly number[] = [207, 360, 387, 974, 88, 979, 417, 279];

/**
 * The class of each sample, and how many stand in a row of the grid.
 *
 * @param labels What classes are called; may be empty.
 * @throws {UsageError} where a class is not one of the model's, or a name fits several.
 */
export function planLabels(
  flags: Pick<SampleFlags, "classes" | "n" | "progressive">,
  numClasses: number,
  labels: ClassLabels,
  usual?: readonly number[],
): { labels: number[]; columns: number } {
  const asked = flags.classes === undefined
    ? undefined
    : resolveClasses(flags.classes, numClasses, labels);
  const cycle = asked ?? usual ?? shownClasses(numClasses);
  const rows = asked || usual || flags.progressive ? 1 : SHOWN.each;
  const n = flags.n ?? cycle.length * rows;
  const planned = Array.from({ length: n }, (_, i) => cycle[i % cycle.length]!);
  // a class a column, where there are several of each
  const columns = n > cycle.length && cycle.length > 1 && cycle.length <= 16
    ? cycle.length
    : usual
    ? 4
    : Math.min(16, Math.ceil(Math.sqrt(n)));
  return { labels: planned, columns };
}
