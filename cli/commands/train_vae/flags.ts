/** The flags of `deno task train-vae`: a row a flag, and what they make together. */
import { resolve } from "@std/path";
import { VAE_OUT } from "../../shared/defaults.ts";
import {
  CROP_CACHE,
  DEVICE_FLAGS,
  DISTRIBUTED_FLAGS,
  HELP,
  imageSide,
  STRICT,
  WORKERS,
} from "../../shared/common_flags.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import {
  choice,
  count,
  counts,
  type FlagValues,
  optional,
  real,
  text,
  toggle,
  withDefault,
} from "../../shared/flags.ts";
import {
  readSettings,
  resumeSettings,
  sameSettings,
  setting,
  settingsFrom,
  type SettingsOf,
  warmupOf,
} from "../../shared/settings.ts";

/** What to train on. */
const DATA_FLAGS = {
  "data": setting(
    text("FOLDER", "images, in subfolders or not: the autoencoder knows no classes"),
    { key: "data", default: "", defaultText: "none: it has to be given", onResume: "changeable" },
  ),
  "image-size": setting(
    imageSide("side in pixels that images are cropped to, smaller ones enlarged"),
    { key: "imageSize", default: 64 },
  ),
  "flip": setting(toggle("mirror every other image"), { key: "flip", default: true }),
  "num-workers": setting(WORKERS, {
    key: "workers",
    default: 4,
    onResume: "free",
  }),
  "crop-cache": CROP_CACHE,
  "strict": setting(STRICT, {
    key: "strict",
    default: false,
    onResume: "free",
    whenAbsent: false,
  }),
};

/** What to train. */
const MODEL_FLAGS = {
  "channels": setting(
    counts("widths, finest level first; every level but one halves the image", 65536),
    {
      key: "channels",
      default: [16, 32, 64],
    },
  ),
  "latent-channels": setting(count("channels of the latents", 1, 4096), {
    key: "latentChannels",
    default: 4,
  }),
  "layers": setting(count("residual blocks a level", 1, 1000), { key: "layers", default: 1 }),
  "norm-groups": setting(count("groups of channels that are normalised together"), {
    key: "normGroups",
    default: 1,
    defaultText: "the most with four channels in each",
  }),
};

/** How to train. */
const TRAINING_FLAGS = {
  "steps": setting(count("optimiser steps in all"), {
    key: "steps",
    default: 4000,
    onResume: "changeable",
  }),
  "batch-size": setting(count("images a step"), { key: "batchSize", default: 8 }),
  "loss": setting(choice(["l1", "l2"], "how pictures are compared"), {
    key: "loss",
    default: "l1",
  }),
  "kl-weight": setting(real("weight of the divergence from normal latents, beside the loss"), {
    key: "klWeight",
    default: 1e-2,
  }),
  "lr": setting(real("learning rate, which falls to 0 as a cosine"), { key: "lr", default: 1e-3 }),
  "warmup": setting(count("steps in which the rate rises", 0), {
    key: "warmup",
    default: 50,
    defaultNote: "at most a tenth of the steps",
  }),
  "weight-decay": setting(real("weight decay of AdamW"), { key: "weightDecay", default: 0 }),
  "ema-decay": setting(real("decay of the averaged weights, which are the ones kept", 0, 1), {
    key: "emaDecay",
    default: 0.999,
  }),
  "grad-clip": setting(real("limit of the gradient's norm, 0 for none"), {
    key: "gradClip",
    default: 1,
  }),
  "grad-accum": setting(count("parts that a batch is computed in, to save memory"), {
    key: "gradAccum",
    default: 1,
    whenAbsent: 1,
  }),
  "mixed-precision": setting(
    choice(["no", "fp16"], "fp16: activations and products in half precision"),
    { key: "mixedPrecision", default: "no", whenAbsent: "no" },
  ),
};

/** The run itself. */
const RUN_FLAGS = {
  "out": withDefault(text("FOLDER", "where the autoencoder goes"), VAE_OUT),
  "resume": optional(
    text(
      "RUN|latest|auto",
      "continue the run named, or that of --out, exactly; auto: if there is one",
    ),
  ),
  "seed": setting(count("everything random follows from it", 0), { key: "seed", default: 0 }),
  "log-every": setting(count("steps between two lines of metrics"), {
    key: "logEvery",
    default: 20,
    onResume: "free",
  }),
  "ckpt-every": setting(count("steps between two checkpoints"), {
    key: "ckptEvery",
    default: 250,
    onResume: "free",
  }),
  "keep": setting(count("checkpoints that are kept, 0 for all", 0), {
    key: "keep",
    default: 3,
    onResume: "free",
    whenAbsent: 3,
  }),
  "sample-every": setting(count("steps between two grids of reconstructions, 0 for none", 0), {
    key: "sampleEvery",
    default: 250,
    onResume: "free",
    whenAbsent: 250,
  }),
  ...DEVICE_FLAGS,
  ...DISTRIBUTED_FLAGS,
  "help": HELP,
};

/** Every flag. */
export const VAE_FLAGS = { ...DATA_FLAGS, ...MODEL_FLAGS, ...TRAINING_FLAGS, ...RUN_FLAGS };

/** The groups that the help shows. */
export const VAE_GROUPS = {
  "Data": DATA_FLAGS,
  "Model": MODEL_FLAGS,
  "Training": TRAINING_FLAGS,
  "Run": RUN_FLAGS,
};

/** What was given on the command line. */
export type VaeFlags = FlagValues<typeof VAE_FLAGS>;

/** All that decides a run's numbers, and how it is kept. Plain JSON, kept in its checkpoint. */
export type VaeSettings = SettingsOf<typeof VAE_FLAGS>;

/**
 * Settings of a new run.
 *
 * @throws {UsageError} where flags are missing or do not fit each other.
 */
export function vaeSettings(flags: VaeFlags): VaeSettings {
  if (flags.data === undefined) throw new UsageError("expected --data FOLDER, the images");
  const usual = settingsFrom(VAE_FLAGS, flags);
  const { channels, imageSize, steps, batchSize, gradAccum } = usual;
  const normGroups = flags["norm-groups"] ?? usualGroups(channels);
  const wrong = channels.find((width) => width % normGroups !== 0);
  if (wrong !== undefined) {
    throw new UsageError(
      `--norm-groups: expected a divisor of all --channels but got ${normGroups} and ${wrong}`,
    );
  }
  const factor = 2 ** (channels.length - 1);
  if (imageSize % factor !== 0) {
    throw new UsageError(
      `--image-size: expected a multiple of ${factor}, with ${channels.length} levels of ` +
        `--channels, but got ${imageSize}`,
    );
  }
  if (batchSize % gradAccum !== 0) {
    throw new UsageError(
      `--grad-accum: expected a number of equal parts of a batch of ${batchSize} but got ${gradAccum}`,
    );
  }
  return { ...usual, normGroups, warmup: warmupOf(flags.warmup, usual.warmup, steps) };
}

/** As many groups as every level can have with four channels or more in each, 32 at most. */
function usualGroups(channels: readonly number[]): number {
  for (let groups = 32; groups > 1; groups--) {
    if (channels.every((width) => width % groups === 0 && width / groups >= 4)) return groups;
  }
  return 1;
}

/**
 * Settings of a resumed run: its own, except its length and what is written.
 *
 * @throws {UsageError} where a flag would make another run of it.
 */
export function resumedVaeSettings(before: VaeSettings, flags: VaeFlags): VaeSettings {
  return resumeSettings(VAE_FLAGS, before, flags);
}

/** Whether flags, without any others, describe a run: what `--resume auto` looks for. */
export function sameVaeRun(flags: VaeFlags, stored: VaeSettings): boolean {
  try {
    const absolute = (run: VaeSettings) => ({ ...run, data: resolve(run.data) });
    const settings = readSettings(VAE_FLAGS, stored);
    return sameSettings(VAE_FLAGS, absolute(vaeSettings(flags)), absolute(settings));
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}
