/** The flags of `deno task sample-many`: those of the original's sample_ddp.py, and more. */
import { DEVICE_FLAGS, DISTRIBUTED_FLAGS, HELP } from "../../shared/common_flags.ts";
import { SAMPLES } from "../../shared/defaults.ts";
import {
  count,
  type FlagValues,
  text,
  toggle,
  withDefault,
  withDefaultText,
} from "../../shared/flags.ts";
import { OVERRIDE_FLAGS } from "../../model/overrides.ts";
import { HALF, MODEL_FLAGS, samplingFlags } from "../../model/sampling_flags.ts";

/** Samples of a folder at most: more are a typing error. */
const MOST_SAMPLES = 1e7;

/** Guidance where it is not given, as in the original. */
const USUAL_CFG_SCALE = 1.5;

/**
 * Guidance where it is not given: none where a run drew its own samples without, as those of models
 * do that learn guidance, which would be guided twice.
 *
 * @param trained Guidance of the samples in training, where that is known.
 */
export function usualCfgScale(trained: number | undefined): number {
  return trained === 1 ? 1 : USUAL_CFG_SCALE;
}

/** The autoencoder of weights that do not say which is theirs, as in the original. */
export const USUAL_VAE = "ema";

/** What to sample. */
export const WHAT = {
  ...MODEL_FLAGS,
  "vae": withDefaultText(MODEL_FLAGS.vae, `the checkpoint's, otherwise ${USUAL_VAE}`),
  "num-fid-samples": withDefault(count("how many pictures", 1, MOST_SAMPLES), 50_000),
  "balanced-labels": toggle("every class equally often, by turns; otherwise drawn at random"),
  "global-seed": withDefault(
    count("sample k and its class are drawn from stream k of this seed", 0),
    0,
  ),
} as const;

/** How to sample. */
export const HOW = samplingFlags({
  sampler: "ddpm; of a flow dpm++",
  cfgScale: `${USUAL_CFG_SCALE}; 1 where a model cannot be guided, or was sampled so in training`,
});

/** Where it runs and where pictures go. */
export const WHERE = {
  "sample-dir": withDefault(
    text("DIR", "gets a folder MODEL-CKPT-size-...-seed-N with PNG files, and FOLDER.npz"),
    SAMPLES,
  ),
  "png": withDefaultText(toggle("PNG files too; --no-png writes the archive alone"), "on"),
  "per-proc-batch-size": withDefault(
    count(
      "samples at a time of each process (a GPU always takes 32, or 8 of wide models); no byte " +
        "depends on it",
      1,
      MOST_SAMPLES,
    ),
    32,
  ),
  "half": HALF,
  ...DEVICE_FLAGS,
  ...DISTRIBUTED_FLAGS,
  "help": HELP,
} as const;

/** All flags. */
export const SAMPLE_MANY_FLAGS = { ...WHAT, ...HOW, ...WHERE, ...OVERRIDE_FLAGS } as const;

/** What was given. */
export type SampleManyFlags = FlagValues<typeof SAMPLE_MANY_FLAGS>;
