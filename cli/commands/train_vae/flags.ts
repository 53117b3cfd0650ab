/** The flags of `deno task train-vae`, and what they make together. */
import { DEVICES } from "../../shared/device.ts";
import { UsageError } from "../../shared/errors.ts";
import {
  choice,
  count,
  type Flag,
  type FlagValues,
  real,
  text,
  toggle,
} from "../../shared/flags.ts";

/** A flag with a list of whole numbers as its value, such as `32,64,128`. */
function counts(help: string): Flag<number[]> {
  return {
    help,
    value: "N,N,...",
    parse(given, name) {
      const list = given.split(",").map(Number);
      if (list.every((n) => Number.isSafeInteger(n) && n >= 1)) return list;
      throw new UsageError(
        `--${name}: expected whole numbers of 1 or more, such as 32,64,128, but got "${given}"`,
      );
    },
  };
}

/** What to train on. */
export const DATA_FLAGS = {
  "data": text("FOLDER", "images, in subfolders or not: the autoencoder knows no classes"),
  "image-size": count("side in pixels that images are cropped to, smaller ones enlarged; 64"),
  "flip": toggle("mirror every other image; on"),
  "num-workers": count("threads that decode images; 4", 0),
  "strict": toggle("stop at a damaged image instead of leaving it out; off"),
};

/** What to train. */
export const MODEL_FLAGS = {
  "channels": counts("widths, finest level first; every level but one halves the image; 16,32,64"),
  "latent-channels": count("channels of the latents; 4"),
  "layers": count("residual blocks a level; 1"),
  "norm-groups": count("groups of channels that are normalised together; made of the widths"),
};

/** How to train. */
export const TRAINING_FLAGS = {
  "steps": count("optimiser steps in all; 4000"),
  "batch-size": count("images a step; 8"),
  "loss": choice(["l1", "l2"], "how pictures are compared; l1"),
  "kl-weight": real("weight of the divergence from normal latents, beside the loss; 1e-2"),
  "lr": real("learning rate, which falls to 0 as a cosine; 1e-3"),
  "warmup": count("steps in which the rate rises; 50", 0),
  "weight-decay": real("weight decay of AdamW; 0"),
  "ema-decay": real("decay of the averaged weights, which are the ones that are kept; 0.999", 0, 1),
  "grad-clip": real("limit of the gradient's norm, 0 for none; 1"),
  "grad-accum": count("parts that a batch is computed in, to save memory; 1"),
  "mixed-precision": choice(["no", "fp16"], "fp16: activations and products in half precision"),
};

/** The run itself. */
export const RUN_FLAGS = {
  "out": text("FOLDER", "where the autoencoder goes; results/vae"),
  "resume": toggle("go on with the run in --out, exactly; --steps may be more than before"),
  "seed": count("everything random follows from it; 0", 0),
  "log-every": count("steps between two lines of metrics; 20"),
  "ckpt-every": count("steps between two checkpoints and grids of reconstructions; 250"),
  "device": choice(DEVICES, "auto takes a GPU where there is one"),
  "safe-wasm": toggle("on a CPU, keep the bounds checks and use 128-bit kernels"),
  "help": toggle("show this"),
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
export interface VaeSettings {
  readonly data: string;
  readonly imageSize: number;
  readonly flip: boolean;
  readonly workers: number;
  /** Whether a damaged image is an error rather than left out. */
  readonly strict: boolean;
  /** Finest level first. */
  readonly channels: readonly number[];
  readonly latentChannels: number;
  readonly layers: number;
  readonly normGroups: number;
  readonly steps: number;
  readonly batchSize: number;
  readonly loss: "l1" | "l2";
  readonly klWeight: number;
  readonly lr: number;
  readonly warmup: number;
  readonly weightDecay: number;
  readonly emaDecay: number;
  /** 0 for none. */
  readonly gradClip: number;
  /** Parts that a batch is computed in. */
  readonly gradAccum: number;
  readonly mixedPrecision: "no" | "fp16";
  readonly seed: number;
  readonly logEvery: number;
  readonly ckptEvery: number;
}

/**
 * Settings of a new run.
 *
 * @throws {UsageError} where flags are missing or do not fit each other.
 */
export function vaeSettings(flags: VaeFlags): VaeSettings {
  if (flags.data === undefined) throw new UsageError("expected --data FOLDER, the images");
  const channels = flags.channels ?? [16, 32, 64];
  const imageSize = flags["image-size"] ?? 64;
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
  const steps = flags.steps ?? 4000;
  const [batchSize, gradAccum] = [flags["batch-size"] ?? 8, flags["grad-accum"] ?? 1];
  if (batchSize % gradAccum !== 0) {
    throw new UsageError(
      `--grad-accum: expected a number of equal parts of a batch of ${batchSize} but got ${gradAccum}`,
    );
  }
  return {
    data: flags.data,
    imageSize,
    flip: flags.flip ?? true,
    workers: flags["num-workers"] ?? 4,
    strict: flags.strict ?? false,
    channels,
    latentChannels: flags["latent-channels"] ?? 4,
    layers: flags.layers ?? 1,
    normGroups,
    steps,
    batchSize,
    loss: flags.loss ?? "l1",
    klWeight: flags["kl-weight"] ?? 1e-2,
    lr: flags.lr ?? 1e-3,
    warmup: flags.warmup ?? Math.min(50, Math.floor(steps / 10)),
    weightDecay: flags["weight-decay"] ?? 0,
    emaDecay: flags["ema-decay"] ?? 0.999,
    gradClip: flags["grad-clip"] ?? 1,
    gradAccum,
    mixedPrecision: flags["mixed-precision"] ?? "no",
    seed: flags.seed ?? 0,
    logEvery: flags["log-every"] ?? 20,
    ckptEvery: flags["ckpt-every"] ?? 250,
  };
}

/** As many groups as every level can have with four channels or more in each, 32 at most. */
function usualGroups(channels: readonly number[]): number {
  for (let groups = 32; groups > 1; groups--) {
    if (channels.every((width) => width % groups === 0 && width / groups >= 4)) return groups;
  }
  return 1;
}

/** Flags that may be given to a run that goes on. */
const CONTINUED = [
  ...["data", "steps", "num-workers", "log-every", "ckpt-every", "out", "resume", "device"],
  ...["safe-wasm", "strict"],
];

/** What checkpoints from before there was a choice stand for. */
const FORMER = { gradAccum: 1, mixedPrecision: "no", strict: false } as const;

/**
 * Settings of a run that goes on: its own, but for how long and what is written.
 *
 * @throws {UsageError} where a flag would make another run of it.
 */
export function resumedVaeSettings(before: VaeSettings, flags: VaeFlags): VaeSettings {
  const wrong = Object.keys(flags).find((name) => !CONTINUED.includes(name));
  if (wrong !== undefined) {
    throw new UsageError(
      `--${wrong} cannot be changed by --resume, which continues a run as it was`,
    );
  }
  const settings = { ...FORMER, ...before };
  return {
    ...settings,
    data: flags.data ?? before.data,
    steps: flags.steps ?? before.steps,
    workers: flags["num-workers"] ?? before.workers,
    strict: flags.strict ?? settings.strict,
    logEvery: flags["log-every"] ?? before.logEvery,
    ckptEvery: flags["ckpt-every"] ?? before.ckptEvery,
  };
}
