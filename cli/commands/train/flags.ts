/** The flags of `deno task train`: a row a flag, from which settings, defaults and help derive. */
import {
  OBJECTIVES,
  PROCESS_NAMES,
  PROCESSES,
  type ProcessOptions,
  SAMPLER_NAMES,
  TIMESTEP_SAMPLER_NAMES,
} from "@dit/core/diffusion";
import { ADAMW_BETAS } from "@dit/core/nn";
import { averagesOf, isPublished, processOf } from "@dit/core/pipeline";
import { fullName } from "../../model/autoencoder.ts";
import { EVALUATION_FEATURES } from "../../run/evaluation.ts";
import { DATA, RESULTS } from "../../shared/defaults.ts";
import { UsageError } from "../../shared/errors.ts";
import {
  CROP_CACHE,
  DEVICE_FLAGS,
  DISTRIBUTED_FLAGS,
  HELP,
  imageSide,
  MOST_CLASSES,
  MOST_TIMESTEPS,
  STRICT,
  WORKERS,
} from "../../shared/common_flags.ts";
import {
  alias,
  choice,
  count,
  type Flag,
  type FlagValues,
  real,
  text,
  toggle,
  withDefault,
} from "../../shared/flags.ts";
import { FETCHED_DATA, NAMED_DATA } from "../../shared/named_data.ts";
import { defaultsText, setting, type SettingsOf } from "../../shared/settings.ts";
import { both, MODEL_FLAGS, modelFlag, modelFlagWith } from "./flags_of_model.ts";

/** Images at least this large are trained on as latents by default, as in the paper. */
export const LATENT_FROM = 128;

/** Such as "mnist (60,000 handwritten digits)". */
const NAMES = FETCHED_DATA.map((name) => `${name} (${NAMED_DATA[name]!.help})`).join(", ");

/** Named data whose mirrored examples are others. */
const UNFLIPPED = Object.keys(NAMED_DATA).filter((name) => !NAMED_DATA[name]!.flip);

/** Whether two names may be of one autoencoder; files are compared by their weights later. */
function sameAutoencoder(a: string | null, b: string | null): boolean {
  if (a === b) return true;
  if (a === null || b === null || a === "none" || b === "none") return false;
  return fullName(a) === fullName(b) || !(isPublished(a) && isPublished(b));
}

/** What to train on. */
const DATA_FLAGS = {
  "data": setting(
    text(
      "DATA",
      `${NAMES}, or a folder: a subfolder of images a class, IDX files, CIFAR-10's batches, features`,
    ),
    { key: "data", default: DATA as string, onResume: "changeable" },
  ),
  "feature-path": alias(
    "data",
    "FOLDER",
    "the original's name for --data with a folder of features",
  ),
  "data-path": alias("data", "FOLDER", "the original's name for --data with a folder of images"),
  "image-size": setting(imageSide("side of images in pixels"), {
    key: "imageSize",
    small: 32,
    original: 256,
    awaitsData: true,
  }),
  "num-classes": modelFlag(
    count("rows of the class table", 1, MOST_CLASSES),
    ({ dit }) => dit.numClasses,
    "those of the data",
  ),
  "vae": setting(text("ema|mse|PATH|none", "what makes latents of images"), {
    key: "vae",
    default: null,
    defaultText:
      `none below ${LATENT_FROM} pixels and with --init of a model of pixels, ema otherwise; ` +
      "features say theirs",
    awaitsData: true,
    same: sameAutoencoder,
  }),
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
  "balance": setting(toggle("show all classes equally often, however many images each has"), {
    key: "balance",
    default: false,
    whenAbsent: false,
  }),
  "flip": setting(toggle("mirror every other image"), {
    key: "flip",
    default: true,
    defaultNote: `off for ${UNFLIPPED.join(", ")}`,
  }),
};

/** What the models of Gaussian diffusion predict; those of other processes, the first they can. */
const OBJECTIVE_DEFAULTS = { small: "xstart", original: "epsilon" } as const;

/** Such as "gaussian, denoising diffusion". */
const PROCESSES_TEXT = PROCESS_NAMES.map((name) => `${name}, ${PROCESSES[name].help}`).join("; ");

/** The diffusion process. */
const DIFFUSION_FLAGS = {
  "process": modelFlagWith(
    choice(PROCESS_NAMES, `how images turn into noise: ${PROCESSES_TEXT}`),
    ({ diffusion }) => processOf(diffusion),
    both("gaussian"),
  ),
  "objective": {
    ...modelFlagWith(
      choice(OBJECTIVES, "what the model predicts: noise, image or velocity"),
      ({ diffusion }) => diffusion.objective,
      OBJECTIVE_DEFAULTS,
    ),
    defaultText: `${defaultsText(OBJECTIVE_DEFAULTS)}; v of a flow`,
  },
  "noise-schedule": modelFlagWith(
    choice(["linear", "squaredcos_cap_v2"], "how noise grows"),
    ({ diffusion }) => diffusion.noiseSchedule,
    both("linear"),
  ),
  "diffusion-steps": modelFlagWith(
    count("timesteps", 1, MOST_TIMESTEPS),
    ({ diffusion }) => diffusion.diffusionSteps,
    both(1000),
  ),
  "min-snr": modelFlagWith(
    real("weigh losses by min(SNR, X), arXiv 2303.09556 (5 there)", 0.001),
    ({ diffusion }) => diffusion.minSnrGamma,
    both(null),
  ),
  "time-shift": modelFlagWith(
    real("move times of a flow to the noise: sqrt(pixels / usual ones), arXiv 2403.03206", 0.01),
    ({ diffusion }) => diffusion.timeShift ?? 1,
    both(1),
  ),
  "model-guidance": setting(
    real(
      "teach the model guidance of 1 + W, so that a sample takes half as long (arXiv 2502.12154)",
    ),
    { key: "modelGuidance", default: 0, whenAbsent: 0 },
  ),
  "timestep-sampler": setting(
    choice(
      TIMESTEP_SAMPLER_NAMES,
      "times trained on; loss-second-moment is not of a flow, logit-normal only",
    ),
    { key: "timestepSampler", default: "uniform" },
  ),
  "time-mean": setting(
    real("mean of log(t / (1 - t)) of logit-normal times; below 0 is more noise", -10, 10),
    { key: "timeMean", default: 0, whenAbsent: 0 },
  ),
  "time-scale": setting(
    real("standard deviation of that", 0.01, 10),
    { key: "timeScale", default: 1, whenAbsent: 1 },
  ),
};

/** `--ema-decay`: a number, or the text of several. */
const AVERAGES: Flag<number | string> = {
  help: "decay of the averaged weights; several (0.9999,0.999) or power0.1 (arXiv 2312.02696) to " +
    "choose from with sample --weights",
  value: "X,...",
  parse(given, name) {
    try {
      const averages = averagesOf(given);
      if (averages.some(({ options }) => options.decay === 1)) {
        throw new RangeError(`expected decays below 1, which keeps what it began with, but got 1`);
      }
      const names = averages.map(({ name }) => name).join(); // the same however it is written
      return averages.length === 1 ? averages[0]!.options.decay ?? names : names;
    } catch (error) {
      throw new UsageError(`--${name}: ${(error as Error).message}`, { cause: error });
    }
  },
};

/** What to begin with, and what is trained of it. */
const INITIAL_FLAGS = {
  "init": setting(
    text(
      "WEIGHTS",
      "begin with what fits of another model's: a file, a run, DiT-XL-2-256x256, ...",
    ),
    { key: "init", default: null, whenAbsent: null },
  ),
  "freeze": setting(
    text("PATTERN,...", "weights that stay as they are, by their names: blocks.0,*.bias"),
    { key: "freeze", default: null, whenAbsent: null },
  ),
  "lr-scale": setting(
    text("PATTERN=X,...", "factors of the learning rate: blocks=0.1,y_embedder=2"),
    { key: "lrScale", default: null, whenAbsent: null },
  ),
};

/** How to train. */
const TRAINING_FLAGS = {
  "steps": setting(count("optimiser steps in all"), {
    key: "steps",
    small: 1300,
    original: null,
    onResume: "changeable",
  }),
  "epochs": setting(count("passes over the data, instead of --steps"), {
    key: "epochs",
    small: null,
    original: 1400,
    onResume: "changeable",
  }),
  "global-batch-size": setting(count("images a step"), {
    key: "batchSize",
    small: 64,
    original: 256,
  }),
  "batch-size": alias("global-batch-size", "N", "the same, shorter"),
  "lr": setting(real("learning rate"), { key: "lr", small: 1e-3, original: 1e-4 }),
  "warmup": setting(count("steps in which the rate rises", 0), {
    key: "warmup",
    small: 50,
    original: 0,
    defaultNote: "at most a tenth of the steps",
  }),
  "schedule": setting(
    choice(["constant", "cosine"], "learning rate after the warm-up; cosine falls to 0"),
    { key: "schedule", default: "constant" },
  ),
  "weight-decay": setting(real("weight decay of AdamW"), { key: "weightDecay", default: 0 }),
  "beta2": setting(
    real("decay of AdamW's squared gradients; LightningDiT has 0.95", 0, 0.999999),
    { key: "beta2", default: ADAMW_BETAS[1], whenAbsent: ADAMW_BETAS[1] },
  ),
  "ema-decay": setting(AVERAGES, {
    key: "emaDecay",
    small: 0.999,
    original: 0.9999,
  }),
  "ema-warmup": setting(toggle("start the average faster"), {
    key: "emaWarmup",
    small: true,
    original: false,
  }),
  "grad-clip": setting(real("limit of the gradient's norm, 0 for none"), {
    key: "gradClip",
    small: 1,
    original: 0,
  }),
  "grad-accum": setting(count("parts that a batch is computed in, to save memory"), {
    key: "gradAccum",
    default: 1,
  }),
  "mixed-precision": setting(
    choice(["no", "fp16"], "fp16: activations and products in half precision"),
    { key: "mixedPrecision", default: "no" },
  ),
  "grad-checkpoint": setting(toggle("compute blocks twice to save memory"), {
    key: "gradCheckpoint",
    default: false,
  }),
};

/** The run itself. */
const RUN_FLAGS = {
  "results-dir": withDefault(text("FOLDER", "where the run's folder is made"), RESULTS),
  "resume": text(
    "RUN|latest|auto",
    "continue a run exactly: its folder, a checkpoint, the latest, or auto: one of these flags",
  ),
  "global-seed": setting(count("everything random follows from it", 0), {
    key: "seed",
    default: 0,
  }),
  "seed": alias("global-seed", "N", "the same, shorter"),
  "log-every": setting(count("steps between two lines of metrics"), {
    key: "logEvery",
    small: 20,
    original: 100,
    onResume: "free",
  }),
  "ckpt-every": setting(count("steps between two checkpoints"), {
    key: "ckptEvery",
    small: 300,
    original: 50000,
    onResume: "free",
  }),
  "keep": setting(count("checkpoints that are kept, 0 for all", 0), {
    key: "keep",
    default: 3,
    onResume: "free",
  }),
  "sample-every": setting(count("steps between two grids of samples, 0 for none", 0), {
    key: "sampleEvery",
    small: 300,
    original: 5000,
    onResume: "free",
  }),
  "sample-sampler": setting(choice(SAMPLER_NAMES, "how samples are made"), {
    key: "sampleSampler",
    default: "ddim",
    onResume: "free",
    whenAbsent: "ddim",
  }),
  "sample-steps": setting(count("steps of a sample", 1, MOST_TIMESTEPS), {
    key: "sampleSteps",
    default: 25,
    onResume: "free",
  }),
  "cfg-scale": setting(real("guidance of the samples"), {
    key: "cfgScale",
    small: 2,
    original: 4,
    onResume: "free",
  }),
  "eval-every": setting(
    count("steps between two evaluations of samples, the best of which keeps best.safetensors", 0),
    { key: "evalEvery", default: 0, onResume: "free", whenAbsent: 0 },
  ),
  "eval-samples": setting(count("samples of an evaluation, of all classes in turn", 20, 1e6), {
    key: "evalSamples",
    default: 250,
    onResume: "free",
    whenAbsent: 250,
  }),
  "eval-features": setting(
    choice(
      EVALUATION_FEATURES,
      "what samples are compared by: inception needs its weights, no classes",
    ),
    { key: "evalFeatures", default: "classifier", onResume: "free", whenAbsent: "classifier" },
  ),
  "final-samples": setting(count("samples a class in samples.npz at the end", 0, 1e5), {
    key: "finalSamples",
    small: 20,
    original: 0,
    onResume: "free",
  }),
  ...DEVICE_FLAGS,
  ...DISTRIBUTED_FLAGS,
  "export-demo": text("FILE", "at the end, write the averaged weights as f16 to sample from"),
  "help": HELP,
};

/** Every flag. */
export const TRAIN_FLAGS = {
  ...DATA_FLAGS,
  ...MODEL_FLAGS,
  ...DIFFUSION_FLAGS,
  ...INITIAL_FLAGS,
  ...TRAINING_FLAGS,
  ...RUN_FLAGS,
};

/** What the flags of the model say of its process. */
export const OPTION_FLAGS = {
  "noise-schedule": "noiseSchedule",
  "diffusion-steps": "diffusionSteps",
  "min-snr": "minSnrGamma",
  "learn-sigma": "learnSigma",
  "time-shift": "timeShift",
} as const satisfies Partial<Record<keyof typeof TRAIN_FLAGS, keyof ProcessOptions>>;

/** The groups that the help shows. */
export const TRAIN_GROUPS = {
  "Data": DATA_FLAGS,
  "Model": MODEL_FLAGS,
  "Diffusion": DIFFUSION_FLAGS,
  "Beginning": INITIAL_FLAGS,
  "Training": TRAINING_FLAGS,
  "Run": RUN_FLAGS,
};

/** What was given on the command line. */
export type TrainFlags = FlagValues<typeof TRAIN_FLAGS>;

/** All that decides a run's numbers, and how it is kept. Plain JSON, kept in its config.json. */
export type TrainSettings = SettingsOf<typeof TRAIN_FLAGS>;
