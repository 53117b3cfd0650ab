/** The flags of `deno task extract-features`, and what they make together. */
import { FEATURES_OUT } from "../../shared/defaults.ts";
import { DEVICES } from "../../shared/device.ts";
import { UsageError } from "../../shared/errors.ts";
import {
  choice,
  count,
  type FlagValues,
  text,
  toggle,
  withoutAliases,
} from "../../shared/flags.ts";

/** What to read. */
export const INPUT_FLAGS = {
  "data": text("FOLDER", "images, a subfolder a class; without subfolders they are one class"),
  "data-path": text("FOLDER", "the original's name for --data"),
  "image-size": count("side in pixels that images are cropped to, smaller ones enlarged; 256"),
  "vae": text("ema|mse|PATH", "the autoencoder: a published one, a file, or a folder; ema"),
  "num-workers": count("threads that decode images; 4", 0),
  "strict": toggle("stop at a damaged image instead of leaving it out; off"),
};

/** What to write. */
export const OUTPUT_FLAGS = {
  "out": text("FOLDER", "where the latents go, or go on; features"),
  "features-path": text("FOLDER", "the original's name for --out"),
  "layout": choice(
    ["shards", "npy"],
    "shards: safetensors with a manifest (the default); npy: the original's, a file an image",
  ),
  "kind": choice(
    ["distribution", "sample"],
    "mean and deviation, sampled afresh each epoch (the default), or one sample; npy: sample",
  ),
  "flips": toggle("latents of the mirrored images too; on, but off for npy"),
  "dtype": choice(["f32", "f16"], "element type of the files; f32"),
  "shard-size": count("images a shard: what a run that is ended loses at most; 1024"),
};

/** How to go about it. */
export const WORK_FLAGS = {
  "batch-size": count("images that are encoded together; 8"),
  "tile": count("encode larger images in blended tiles of so many pixels, to save memory", 8),
  "world": count("processes that fill the folder together, in shards; 1"),
  "rank": count("which of them this one is; 0", 0),
  "device": choice(DEVICES, "auto takes a GPU where there is one"),
  "safe-wasm": toggle("on a CPU, keep the bounds checks and use 128-bit kernels"),
  "help": toggle("show this"),
};

/** Every flag. */
export const EXTRACT_FLAGS = { ...INPUT_FLAGS, ...OUTPUT_FLAGS, ...WORK_FLAGS };

/** Flags that are other names of flags. */
const ALIASES = { "data-path": "data", "features-path": "out" } as const;

/** The groups that the help shows. */
export const EXTRACT_GROUPS = {
  "Images": INPUT_FLAGS,
  "Latents": OUTPUT_FLAGS,
  "Work": WORK_FLAGS,
};

/** What was given on the command line. */
export type ExtractFlags = FlagValues<typeof EXTRACT_FLAGS>;

/** What is to be done. */
export interface ExtractSettings {
  readonly data: string;
  readonly imageSize: number;
  readonly vae: string;
  readonly workers: number;
  readonly strict: boolean;
  readonly out: string;
  readonly layout: "shards" | "npy";
  readonly kind: "distribution" | "sample";
  readonly flips: boolean;
  readonly dtype: "f32" | "f16";
  readonly shardSize: number;
  readonly batchSize: number;
  readonly tile: number | null;
  readonly rank: number;
  readonly world: number;
  readonly device: typeof DEVICES[number];
}

/**
 * Fills in the defaults.
 *
 * @throws {UsageError} where flags are missing or contradict each other.
 */
export function extractSettings(given: ExtractFlags): ExtractSettings {
  const flags = withoutAliases(given, ALIASES);
  const { data, out = FEATURES_OUT } = flags;
  if (data === undefined) throw new UsageError("expected --data FOLDER, the images");
  const layout = flags.layout ?? "shards";
  const npy = layout === "npy";
  if (npy && flags.kind === "distribution") {
    throw new UsageError("--kind: the npy layout has room for one sample; take --layout shards");
  }
  if (npy && flags.dtype === "f16") {
    throw new UsageError("--dtype: the npy layout is of f32; take --layout shards");
  }
  const [rank, world] = [flags.rank ?? 0, flags.world ?? 1];
  if (rank >= world) {
    throw new UsageError(`--rank: expected ${world - 1} at most with --world ${world}`);
  }
  if (npy && world > 1) throw new UsageError("--world: expected --layout shards with it");
  return {
    data,
    imageSize: flags["image-size"] ?? 256,
    vae: flags.vae ?? "ema",
    workers: flags["num-workers"] ?? 4,
    strict: flags.strict ?? false,
    out,
    layout,
    kind: npy ? "sample" : flags.kind ?? "distribution",
    flips: flags.flips ?? !npy,
    dtype: flags.dtype ?? "f32",
    shardSize: npy ? 1 : flags["shard-size"] ?? 1024,
    batchSize: flags["batch-size"] ?? 8,
    tile: flags.tile ?? null,
    rank,
    world,
    device: flags.device ?? "auto",
  };
}
