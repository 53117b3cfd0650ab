/**
 * From flags to a model that samples, for `sample` and `sample-many`: finding the weights and the
 * autoencoder, and checking that what is asked for suits them.
 */
import type { Process, SamplerName } from "@dit/core/diffusion";
import { switchesOf } from "@dit/core/dit";
import {
  ImageSampler,
  type ModelConfig,
  processOf,
  type SampleSettings,
  takes,
  usualGuidedChannels,
} from "@dit/core/pipeline";
import { latestRun } from "../run/find.ts";
import { RESULTS } from "../shared/defaults.ts";
import { CommandError, UsageError } from "../shared/errors.ts";
import { exists } from "../shared/files.ts";
import { ProgressLine } from "../shared/progress.ts";
import {
  checkAutoencoder,
  findAutoencoder,
  loadAutoencoder,
  vaeOptionsBeside,
} from "./autoencoder.ts";
import { DEMO_NAMES, demoPath } from "./demos.ts";
import { withAutoencoder } from "./latent_shape.ts";
import { processOfFlags } from "./model_flags.ts";
import { overridesFromFlags } from "./overrides.ts";
import { obtain } from "./pretrained.ts";
import type { SamplingFlags } from "./sampling_flags.ts";
import { checkHasEta, checkInterval, samplingSteps } from "./sampling_steps.ts";
import { openWeights, type Weights } from "./weights.ts";

/** Weights of the original's sample.py. */
const PUBLISHED = { 256: "DiT-XL-2-256x256", 512: "DiT-XL-2-512x512" } as const;

/** What holds where flags are left out. */
export interface UsualSampling {
  /** The sampler through a process. */
  sampler(process: Process): SamplerName;
  /** Guidance of models that can be guided. */
  readonly cfgScale: number;
}

/**
 * The weights that the flags mean; those of `--image-size` are downloaded where they are missing.
 *
 * @throws {CommandError} where there are none.
 */
export async function findWeights(flags: SamplingFlags): Promise<string> {
  if (flags.ckpt !== undefined) return flags.ckpt;
  const size = flags["image-size"];
  if (size !== undefined) return await obtain(PUBLISHED[size]);
  if (await exists(RESULTS)) {
    try {
      return await latestRun(RESULTS);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error; // no run has a checkpoint yet
    }
  }
  const demo = demoPath(DEMO_NAMES[0]!);
  if (await exists(demo)) return demo;
  throw new CommandError(
    "expected weights to sample from but found no run in results/; train one (deno task train), " +
      "or name some with --ckpt",
  );
}

/**
 * Opens weights, with the times of a flow moved as the flags say.
 *
 * @param path As {@linkcode findWeights} gives it.
 * @throws {CommandError | UsageError} where there are none, or a flag does not suit them.
 */
export async function openSampled(path: string, flags: SamplingFlags): Promise<Weights> {
  const overrides = overridesFromFlags(flags, flags.vae);
  const weights = await openWeights(path, flags.weights, overrides);
  try {
    const config = shifted(weights, flags["time-shift"]);
    checkSize(weights, flags);
    return { ...weights, config };
  } catch (error) {
    weights[Symbol.dispose]();
    throw error;
  }
}

/**
 * The autoencoder's file; null where there is none to use.
 *
 * @throws {CommandError} where it is missing, or is not the one that the latents were made by.
 */
export async function samplingAutoencoder(
  weights: Weights,
  flags: SamplingFlags,
): Promise<string | null> {
  const { latents } = weights.config;
  if (latents === null) {
    if (flags.vae === undefined || flags.vae === "none") return null;
    throw new UsageError(`--vae: this model makes pixels and needs no autoencoder`);
  }
  if (flags.vae === "none") return null;
  const vae = flags.vae ?? weights.vaePath ?? latents.vae;
  const otherwise = ", or see the latents themselves with --vae none";
  const path = await findAutoencoder(vae, flags["image-size"] !== undefined, otherwise);
  if (flags.vae === undefined) await checkAutoencoder(path, latents);
  return path;
}

/**
 * Loads what samples.
 *
 * @param isShown Whether a line says how far it is.
 */
export async function loadImageSampler(
  weights: Weights,
  vaePath: string | null,
  dtype: "f32" | "f16",
  isShown = true,
): Promise<ImageSampler> {
  const config = vaePath === null
    ? weights.config
    : withAutoencoder(weights, vaePath, await vaeOptionsBeside(vaePath));
  const vae = vaePath === null ? null : await loadAutoencoder(vaePath, dtype);
  using line = new ProgressLine("         loading ");
  try {
    return await ImageSampler.load({ source: weights.source, config }, vae, {
      dtype,
      onProgress: (done, total) => isShown && line.show(done, total, "tensors"),
    });
  } catch (error) {
    vae?.dispose();
    throw error;
  }
}

/** The line that says what model it is, and with which of its weights it samples. */
export function modelLine({ config, model }: ImageSampler, { average }: Weights): string {
  const size = `${model.parameterCount().toLocaleString("en")} parameters`;
  const process = processOf(config.diffusion);
  const kind = process === "gaussian" ? "" : `, process ${process}`;
  const switches = switchesOf(config.dit).map((name) => `, ${name}`).join("");
  const { numClasses } = config.dit;
  const classes = `${numClasses} ${numClasses === 1 ? "class" : "classes"}`;
  const which = average ? `, ${average}` : "";
  return `model    ${config.name}, ${size}, ${classes}${kind}${switches}${which}`;
}

/** A configuration with the times of its process shifted as asked for. */
function shifted({ path, config }: Weights, timeShift: number | undefined): ModelConfig {
  if (timeShift === undefined) return config;
  const process = processOf(config.diffusion);
  if (takes(process, "timeShift")) {
    return { ...config, diffusion: { ...config.diffusion, timeShift } };
  }
  throw new UsageError(
    `--time-shift: ${path} is of process ${process}, not of a flow; leave it out`,
  );
}

/**
 * How the flags sample: one image of each, the finished one.
 *
 * @throws {UsageError} where a flag does not suit the model.
 */
export function samplingSettings(
  flags: SamplingFlags,
  { path, config }: Pick<Weights, "path" | "config">,
  usual: UsualSampling,
  seed: number,
): SampleSettings {
  const process = processOfFlags(config);
  checkInterval(process, flags["cfg-interval"]);
  const sampler = flags.sampler ?? usual.sampler(process);
  const steps = samplingSteps(config, process, sampler, flags["num-sampling-steps"], {
    sampler: "sampler",
    steps: "num-sampling-steps",
  });
  checkHasEta(sampler, flags.eta);
  const guided = flags["cfg-scale"];
  checkCanBeGuided(flags, path, config);
  const internalScale = flags["internal-guidance"] ?? 1;
  if (internalScale !== 1 && !config.dit.earlyHead) {
    throw new UsageError(
      `--internal-guidance: ${path} has no early head, which train --early-head makes; leave it at 1`,
    );
  }
  const usualScale = config.nullClass === null ? 1 : usual.cfgScale;
  return {
    sampler,
    steps,
    eta: flags.eta ?? 0,
    cfgScale: guided ?? usualScale,
    cfgChannels: guidedChannels(flags["cfg-channels"]) ?? usualGuidedChannels(config),
    cfgInterval: flags["cfg-interval"],
    ...(internalScale === 1 ? {} : { internalScale }),
    seed,
    frames: 1,
  };
}

/** Refuses what is said of guidance for a model that cannot be guided. */
function checkCanBeGuided(flags: SamplingFlags, path: string, { nullClass }: ModelConfig): void {
  if (nullClass !== null) return;
  const without = `${path} was trained without a null class, which guidance needs`;
  if ((flags["cfg-scale"] ?? 1) !== 1) {
    throw new UsageError(`--cfg-scale: ${without}; leave it at 1`);
  }
  const other = (["cfg-interval", "cfg-channels"] as const).find((name) => flags[name]);
  if (other) throw new UsageError(`--${other}: ${without}; leave it out`);
}

function guidedChannels(given: SamplingFlags["cfg-channels"]): 3 | "all" | undefined {
  return given === "3" ? 3 : given;
}

/** Such as `8, ddpm, 250 steps, guidance 4, seed 0`. */
export function describeSampling(count: number, settings: SampleSettings): string {
  const { sampler, steps, eta, cfgScale, cfgChannels, cfgInterval, seed } = settings;
  const { internalScale = 1 } = settings;
  const guidance = cfgScale === 1
    ? "no guidance"
    : `guidance ${cfgScale}${cfgChannels === "all" ? " of all channels" : ""}` +
      (cfgInterval ? ` from t = ${cfgInterval[0]} to ${cfgInterval[1]}` : "");
  const internal = internalScale === 1 ? "" : `, internal guidance ${internalScale}`;
  const how = `${sampler}${eta > 0 ? ` (eta ${eta})` : ""}, ${steps} ${
    steps === 1 ? "step" : "steps"
  }`;
  return `${count}, ${how}, ${guidance}${internal}, seed ${seed}`;
}

/** Refuses a checkpoint that is not of the size asked for. */
function checkSize({ path, config }: Weights, flags: SamplingFlags): void {
  const asked = flags["image-size"];
  const size = config.dit.inputSize * (config.latents?.downsample ?? 1);
  if (asked !== undefined && asked !== size) {
    throw new UsageError(
      `--image-size: ${path} makes pictures of ${size}x${size}, not ${asked}x${asked}; leave it out`,
    );
  }
}
