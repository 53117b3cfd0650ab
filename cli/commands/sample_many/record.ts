/**
 * What samples were made by: the name of their folder, `made_by.json` in it, and the text `made_by`
 * of their archive. A folder goes on only with what it began with.
 */
import { shown } from "@dit/data";
import { basename } from "@std/path";
import { CommandError } from "../../shared/errors.ts";

/** What decides every byte of a sample; plain JSON, null for what does not apply. */
export interface RecordedSettings {
  /** SHA-256 of the weights, whatever file they are in. */
  readonly weights: string;
  /** `ema` or `model`, of a checkpoint that has both. */
  readonly weightSet: string;
  /** Such as `DiT-XL/2`. */
  readonly model: string;
  readonly numHeads: number;
  /** How images became noise in training, and what the model predicts. */
  readonly process: string;
  readonly objective: string;
  readonly noiseSchedule: string | null;
  readonly diffusionSteps: number | null;
  readonly timeShift: number | null;
  /** SHA-256 of the autoencoder; null for pixels, and for latents that are shown themselves. */
  readonly autoencoder: string | null;
  readonly sampler: string;
  readonly steps: number;
  readonly eta: number;
  readonly cfgScale: number;
  readonly cfgChannels: 3 | "all";
  readonly cfgInterval: readonly [number, number] | null;
  /** Null where there is none. */
  readonly internalScale: number | null;
  readonly seed: number;
  readonly labels: "random" | "balanced";
  readonly dtype: "f32" | "f16";
  readonly device: string;
  /** Samples that are always computed together; null where no bit depends on that. */
  readonly group: number | null;
  /** Whether each sample is a PNG file too. */
  readonly png: boolean;
}

/** Where each setting comes from, for messages. */
const SOURCES: Readonly<Record<keyof RecordedSettings, string>> = {
  weights: "the SHA-256 of the weights (--ckpt)",
  weightSet: "--weights",
  model: "--model",
  numHeads: "--num-heads",
  process: "--process",
  objective: "--objective",
  noiseSchedule: "--noise-schedule",
  diffusionSteps: "--diffusion-steps",
  timeShift: "--time-shift",
  autoencoder: "the SHA-256 of the autoencoder (--vae)",
  sampler: "--sampler",
  steps: "--num-sampling-steps",
  eta: "--eta",
  cfgScale: "--cfg-scale",
  cfgChannels: "--cfg-channels",
  cfgInterval: "--cfg-interval",
  internalScale: "--internal-guidance",
  seed: "--global-seed",
  labels: "--balanced-labels",
  dtype: "--half",
  device: "--device",
  group: "the number of samples that are computed together",
  png: "--png",
};

/** All that is written down. */
export interface SampleRecord {
  readonly settings: RecordedSettings;
  /** Files, device and versions, which may differ where bytes do not. */
  readonly about: Readonly<Record<string, string>>;
}

/** A record as `made_by.json` and the archive have it. */
export function recordText({ settings, about }: SampleRecord, images?: number): string {
  const counted = images === undefined ? {} : { images };
  return JSON.stringify({ ...counted, ...settings, ...about }, null, 2) + "\n";
}

/**
 * Refuses samples that were made otherwise.
 *
 * @param text A record, as {@linkcode recordText} gives it.
 * @param path Where it is, for messages.
 * @throws {CommandError} naming each setting that differs.
 */
export function requireSameRecord(text: string, settings: RecordedSettings, path: string): void {
  let stored: Record<string, unknown>;
  try {
    stored = Object(JSON.parse(text));
  } catch (error) {
    throw new CommandError(
      `${path}: expected what samples were made by, as JSON, but found something else; move them ` +
        "away with it, or give another --sample-dir",
      { cause: error },
    );
  }
  if (stored["weights"] === undefined) {
    throw new CommandError(
      `${path}: expected what sample-many wrote but it does not say what its samples were made by; ` +
        "move it away, or give another --sample-dir",
    );
  }
  const differing = (Object.keys(SOURCES) as (keyof RecordedSettings)[])
    .filter((key) => JSON.stringify(stored[key] ?? null) !== JSON.stringify(settings[key]))
    .map((key) =>
      `${SOURCES[key]} was ${settingText(stored[key])} and is ${settingText(settings[key])}`
    );
  if (differing.length === 0) return;
  throw new CommandError(
    `${path}: expected samples that were made in the same way but ${differing.join(", ")}; ` +
      "give the same flags, or another --sample-dir",
  );
}

function settingText(value: unknown): string {
  if (value === null || value === undefined) return "none";
  if (typeof value === "boolean") return value ? "on" : "off";
  const text = shown(String(value));
  return /^[0-9a-f]{64}$/.test(text) ? `${text.slice(0, 12)}...` : text;
}

/** What the name of a folder is made of. */
export interface FolderParts {
  readonly model: string;
  /** The file of weights; null for the published ones. */
  readonly ckpt: string | null;
  /** Side of the images in pixels. */
  readonly size: number;
  /** `ema`, `mse`, a file, or `none`. */
  readonly vae: string;
  readonly cfgScale: number;
  readonly seed: number;
}

/** The name of a folder, as sample_ddp.py forms it: `DiT-XL-2-pretrained-size-256-vae-ema-...`. */
export function folderName({ model, ckpt, size, vae, cfgScale, seed }: FolderParts): string {
  // Python writes a whole number that may have a fraction as 4.0
  const scale = Number.isInteger(cfgScale) ? `${cfgScale}.0` : String(cfgScale);
  const weights = ckpt === null ? "pretrained" : nameOf(ckpt);
  return [
    model.replaceAll("/", "-"),
    weights,
    `size-${size}`,
    `vae-${nameOf(vae)}`,
    `cfg-${scale}`,
    `seed-${seed}`,
  ].join("-");
}

/** A file's name without its folders and the ending of a file of weights. */
function nameOf(path: string): string {
  return basename(path).replace(/\.(pt|pth|ckpt|bin|safetensors|index\.json)$/, "");
}
