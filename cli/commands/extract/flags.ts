/** The flags of `deno task extract-features`: a row a flag, and what they make together. */
import { FEATURES_OUT } from "../../shared/defaults.ts";
import {
  DEVICE,
  DEVICE_FLAGS,
  DISTRIBUTED_FLAGS,
  GPU,
  HELP,
  imageSide,
  STRICT,
  WORKERS,
} from "../../shared/common_flags.ts";
import { UsageError } from "../../shared/errors.ts";
import { alias, choice, count, type FlagValues, text, toggle } from "../../shared/flags.ts";
import { setting, settingsFrom, type SettingsOf } from "../../shared/settings.ts";

/** What to read. */
const INPUT_FLAGS = {
  "data": setting(
    text("FOLDER", "images, a subfolder a class; without subfolders they are one class"),
    { key: "data", default: "", defaultText: "none: it has to be given" },
  ),
  "data-path": alias("data", "FOLDER", "the original's name for --data"),
  "image-size": setting(
    imageSide("side in pixels that images are cropped to, smaller ones enlarged"),
    { key: "imageSize", default: 256 },
  ),
  "vae": setting(
    text("ema|mse|PATH", "the autoencoder: a published one, a file, or a folder"),
    { key: "vae", default: "ema" },
  ),
  "num-workers": setting(WORKERS, { key: "workers", default: 4 }),
  "strict": setting(STRICT, {
    key: "strict",
    default: false,
  }),
};

/** What to write. */
const OUTPUT_FLAGS = {
  "out": setting(text("FOLDER", "where the latents go, or are continued"), {
    key: "out",
    default: FEATURES_OUT,
  }),
  "features-path": alias("out", "FOLDER", "the original's name for --out"),
  "layout": setting(
    choice(
      ["shards", "npy"],
      "shards: safetensors with a manifest; npy: the original's, a file an image",
    ),
    { key: "layout", default: "shards" },
  ),
  "kind": setting(
    choice(
      ["distribution", "sample"],
      "mean and deviation, sampled afresh each epoch, or one sample",
    ),
    { key: "kind", default: "distribution", defaultNote: "sample with --layout npy" },
  ),
  "flips": setting(toggle("latents of the mirrored images too"), {
    key: "flips",
    default: true,
    defaultNote: "off with --layout npy",
  }),
  "dtype": setting(choice(["f32", "f16"], "element type of the files"), {
    key: "dtype",
    default: "f32",
  }),
  "shard-size": setting(count("images a shard: what an interrupted run loses at most"), {
    key: "shardSize",
    default: 1024,
  }),
};

/** How to go about it. */
const WORK_FLAGS = {
  "batch-size": setting(count("images that are encoded together"), {
    key: "batchSize",
    default: 8,
  }),
  "tile": setting(
    count("encode larger images in blended tiles of so many pixels, to save memory", 8),
    { key: "tile", default: null },
  ),
  "world": setting(count("processes that fill the folder together, in shards"), {
    key: "world",
    default: 1,
  }),
  "rank": setting(count("which of them this one is", 0), { key: "rank", default: 0 }),
  "device": setting(DEVICE, { key: "device", default: "auto" }),
  "gpu": setting(GPU, { key: "gpu", default: "deno" }),
  "safe-wasm": DEVICE_FLAGS["safe-wasm"],
  "tune": DEVICE_FLAGS["tune"],
  ...DISTRIBUTED_FLAGS,
  "help": HELP,
};

/** Every flag. */
export const EXTRACT_FLAGS = { ...INPUT_FLAGS, ...OUTPUT_FLAGS, ...WORK_FLAGS };

/** The groups that the help shows. */
export const EXTRACT_GROUPS = {
  "Images": INPUT_FLAGS,
  "Latents": OUTPUT_FLAGS,
  "Work": WORK_FLAGS,
};

/** What was given on the command line. */
export type ExtractFlags = FlagValues<typeof EXTRACT_FLAGS>;

/** What is to be done. */
export type ExtractSettings = SettingsOf<typeof EXTRACT_FLAGS>;

/**
 * Fills in the defaults.
 *
 * @throws {UsageError} where flags are missing or contradict each other.
 */
export function extractSettings(flags: ExtractFlags): ExtractSettings {
  if (flags.data === undefined) throw new UsageError("expected --data FOLDER, the images");
  const settings = settingsFrom(EXTRACT_FLAGS, flags);
  const { rank, world, layout } = settings;
  if (rank >= world) {
    throw new UsageError(
      `--rank: expected ${world - 1} at most with --world ${world} but got ${rank}`,
    );
  }
  if (layout !== "npy") return settings;
  if (flags.kind === "distribution") {
    throw new UsageError("--kind: the npy layout holds samples only; take --layout shards");
  }
  if (flags.dtype === "f16") {
    throw new UsageError("--dtype: the npy layout is of f32; take --layout shards");
  }
  if (world > 1) throw new UsageError("--world: expected --layout shards with it");
  return { ...settings, kind: "sample", flips: flags.flips ?? false, shardSize: 1 };
}
