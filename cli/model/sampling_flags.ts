/** The flags that say what is sampled from and how, which `sample` and `sample-many` share. */
import { ETA_SAMPLERS, SAMPLER_NAMES, SAMPLERS } from "@dit/core/diffusion";
import { MOST_TIMESTEPS, WEIGHTS } from "../shared/common_flags.ts";
import { UsageError } from "../shared/errors.ts";
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
} from "../shared/flags.ts";
import { DEMO_FLAG } from "./demos.ts";
import type { OVERRIDE_FLAGS } from "./overrides.ts";

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

/** Such as `ddpm 250, ddim 50`. */
const usualSteps = SAMPLER_NAMES.map((name) => `${name} ${SAMPLERS[name].usualSteps}`).join(", ");

/** A line for each sampler. */
export const SAMPLERS_HELP: string = SAMPLER_NAMES
  .map((name) => `  ${name.padEnd(28)}${SAMPLERS[name].help}`).join("\n");

/** What to sample from. */
export const MODEL_FLAGS = {
  "ckpt": withDefaultText(
    text("PATH", "weights: a file, a run's folder, a folder of diffusers"),
    "the newest run",
  ),
  "demo": DEMO_FLAG,
  "weights": WEIGHTS,
  "image-size": imageSize,
  "vae": withDefaultText(
    text("ema|mse|PATH|none", "autoencoder; none shows latents"),
    "the checkpoint's",
  ),
} as const;

/**
 * How to sample.
 *
 * @param usual What the help says of the defaults of a command.
 */
export function samplingFlags(usual: { sampler: string; cfgScale: string }) {
  return {
    "sampler": withDefaultText(
      choice(SAMPLER_NAMES, "how noise is taken away, as below"),
      usual.sampler,
    ),
    "num-sampling-steps": withDefaultText(
      count("steps", 1, MOST_TIMESTEPS),
      `by sampler: ${usualSteps}, of pixels 10`,
    ),
    "eta": withDefault(real(`randomness of ${ETA_SAMPLERS.join(", ")}`, 0, 1), 0),
    "cfg-scale": withDefaultText(real("guidance; 1 is none"), usual.cfgScale),
    "cfg-channels": withDefaultText(
      choice(["3", "all"], "channels that are guided"),
      "3 of the published models' latents, all of others",
    ),
    "cfg-interval": withDefaultText(
      interval("timesteps that are guided; of a flow, times from 0 (noise) to 1"),
      "all",
    ),
    "internal-guidance": withDefault(
      real("guidance away from the early head of models that have one; 1 is none"),
      1,
    ),
    "time-shift": withDefaultText(
      real("move the steps of a flow to the noise, or below 1 to the image", 0.01),
      "that of training",
    ),
  } as const;
}

/** `--half`. */
export const HALF: Flag<boolean> = toggle(
  "weights in f16: half the memory (with --gpu dawn on a card with matrix units, it computes in f16 too)",
);

/** What was given of the flags that both commands have. */
export type SamplingFlags = FlagValues<
  & typeof MODEL_FLAGS
  & ReturnType<typeof samplingFlags>
  & { readonly half: typeof HALF }
  & typeof OVERRIDE_FLAGS
>;
