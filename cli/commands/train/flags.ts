/** The flags of `deno task train`. */
import { DEVICES } from "../../shared/device.ts";
import { choice, count, type FlagValues, real, text, toggle } from "../../shared/flags.ts";

/** What to train on. */
export const DATA_FLAGS = {
  "data": text(
    "DATA",
    "mnist (the default), a folder with a subfolder of images a class, or of features",
  ),
  "feature-path": text("FOLDER", "the original's name for --data with a folder of features"),
  "data-path": text("FOLDER", "the original's name for --data with a folder of images"),
  "image-size": count("side of images in pixels; 32, or 256 with one of the paper's models"),
  "num-classes": count("classes that the model has room for; those of the data"),
  "vae": text(
    "ema|mse|PATH|none",
    "what makes latents of images; none below 128 pixels, from there on ema; features say theirs",
  ),
  "num-workers": count("threads that decode images; 4", 0),
  "strict": toggle("stop at a damaged image instead of leaving it out; off"),
  "flip": toggle("mirror every other image; on but for mnist"),
};

/** What to train. */
export const MODEL_FLAGS = {
  "model": text(
    "NAME",
    "DiT-Mini/4 (the default), DiT-{XS,Mini}/{2,4,8}, or DiT-{S,B,L,XL}/{2,4,8} as the paper's",
  ),
  "hidden-size": count("width of a token, instead of the model's"),
  "depth": count("number of blocks, instead of the model's"),
  "num-heads": count("attention heads, instead of the model's"),
  "patch-size": count("pixels (or latents) a side of a token, instead of the model's"),
  "mlp-ratio": real("width of the MLP over that of a token; 4", 0.01),
  "class-dropout": real(
    "share of labels that are dropped, for guidance; 0.1, or 0 with one class",
    0,
    1,
  ),
  "learn-sigma": toggle("learn the variance too; on for the paper's models"),
};

/** The diffusion process. */
export const DIFFUSION_FLAGS = {
  "objective": choice(
    ["epsilon", "xstart", "v"],
    "what the model predicts; xstart, or epsilon for the paper's models",
  ),
  "noise-schedule": choice(["linear", "squaredcos_cap_v2"], "how noise grows; linear"),
  "diffusion-steps": count("timesteps; 1000"),
  "min-snr": real("weigh losses by min(SNR, X), arXiv 2303.09556 (5 there); off", 0.001),
  "timestep-sampler": choice(
    ["uniform", "loss-second-moment"],
    "which timesteps are trained on; uniform",
  ),
};

/** How to train. */
export const TRAINING_FLAGS = {
  "steps": count("optimiser steps in all; 1300, or what --epochs makes"),
  "epochs": count("passes over the data, instead of --steps; 1400 for the paper's models"),
  "global-batch-size": count("images a step; 64, or 256 for the paper's models"),
  "batch-size": count("the same, shorter"),
  "lr": real("learning rate; 1e-3, or 1e-4 for the paper's models"),
  "warmup": count("steps in which the rate rises; 50, or 0 for the paper's models", 0),
  "schedule": choice(
    ["constant", "cosine"],
    "how the rate goes on: constant, or cosine, which falls to 0",
  ),
  "weight-decay": real("weight decay of AdamW; 0"),
  "ema-decay": real("decay of the averaged weights; 0.999, or 0.9999 for the paper's", 0, 1),
  "ema-warmup": toggle("start the average faster; on but for the paper's models"),
  "grad-clip": real("limit of the gradient's norm, 0 for none; 1, or 0 for the paper's"),
  "grad-accum": count("parts that a batch is computed in, to save memory; 1"),
  "mixed-precision": choice(["no", "fp16"], "fp16: activations and products in half precision"),
  "grad-checkpoint": toggle("compute blocks twice to save memory; off"),
};

/** The run itself. */
export const RUN_FLAGS = {
  "results-dir": text("FOLDER", "where the run's folder is made; results"),
  "resume": text("RUN|latest", "continue a run (its folder, a checkpoint, or latest) exactly"),
  "global-seed": count("everything random follows from it; 0", 0),
  "seed": count("the same, shorter", 0),
  "log-every": count("steps between two lines of metrics; 20, or 100 for the paper's models"),
  "ckpt-every": count("steps between two checkpoints; 300, or 50000 for the paper's models"),
  "keep": count("checkpoints that are kept, 0 for all; 3", 0),
  "sample-every": count("steps between two grids of samples, 0 for none; 300, or 5000", 0),
  "sample-steps": count("DDIM steps of a sample; 25"),
  "cfg-scale": real("guidance of the samples; 2, or 4 for the paper's models"),
  "final-samples": count("samples a class in samples.npz at the end; 20, or 0 for the paper's", 0),
  "device": choice(DEVICES, "auto takes a GPU where there is one"),
  "safe-wasm": toggle("on a CPU, keep the bounds checks and use 128-bit kernels"),
  "export-demo": text("FILE", "at the end, write the averaged weights as f16 to sample from"),
  "help": toggle("show this"),
};

/** Every flag. */
export const TRAIN_FLAGS = {
  ...DATA_FLAGS,
  ...MODEL_FLAGS,
  ...DIFFUSION_FLAGS,
  ...TRAINING_FLAGS,
  ...RUN_FLAGS,
};

/** Flags that are other names of flags. */
export const TRAIN_ALIASES = {
  "feature-path": "data",
  "data-path": "data",
  "batch-size": "global-batch-size",
  "seed": "global-seed",
} as const;

/** The groups that the help shows. */
export const TRAIN_GROUPS = {
  "Data": DATA_FLAGS,
  "Model": MODEL_FLAGS,
  "Diffusion": DIFFUSION_FLAGS,
  "Training": TRAINING_FLAGS,
  "Run": RUN_FLAGS,
};

/** What was given on the command line. */
export type TrainFlags = FlagValues<typeof TRAIN_FLAGS>;
