/**
 * `deno task sample`: pictures from a model. Everything the model needs is in its checkpoint.
 *
 *     deno task sample                                   the newest run, otherwise the demo's digits
 *     deno task sample --ckpt results/003-DiT-B-4 --classes 3,7 --n 16
 *     deno task sample --image-size 256                  the original's sample.py
 */
import { fromFileUrl } from "@std/path";
import { latestRun } from "../../run/find.ts";
import { RESULTS } from "../../shared/defaults.ts";
import { deviceText, startDevice } from "../../shared/device.ts";
import type { ClassLabels } from "../../shared/class_names.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { exists, readJson } from "../../shared/files.ts";
import { flagsHelp, parseFlags } from "../../shared/flags.ts";
import { obtain } from "../../model/pretrained.ts";
import { duration, ProgressLine } from "../../shared/progress.ts";
import {
  HOW,
  ORIGINAL_CLASSES,
  planLabels,
  SAMPLE_FLAGS,
  type SampleFlags,
  SAMPLERS_HELP,
  USUAL_SAMPLER,
  WHAT,
  WHERE,
} from "./flags.ts";
import { openOutput, outputKind } from "./output.ts";
import {
  ImageSampler,
  type SampleSettings,
  usualGuidedChannels,
} from "../../model/image_sampler.ts";
import {
  checkAutoencoder,
  findAutoencoder,
  loadAutoencoder,
  vaeOptionsBeside,
} from "../../model/autoencoder.ts";
import { pretrainedPath } from "../../model/catalog.ts";
import { classLabelsOf } from "../../model/diffusers_config.ts";
import { toCommandError } from "../../shared/failures.ts";
import { withAutoencoder } from "../../model/latent_shape.ts";
import { OVERRIDE_FLAGS, overridesFromFlags } from "../../model/overrides.ts";
import { buildProcess, type ModelConfig, processOf, takes } from "../../model/config.ts";
import { checkHasEta, checkInterval, samplingSteps } from "../../model/sampling_steps.ts";
import { openWeights, weightLines, type Weights } from "../../model/weights.ts";

/** Small weights that come with the project. */
const DEMO = new URL("../../demo/mnist.safetensors", import.meta.url);
/** Weights of the original's sample.py. */
const PUBLISHED = { 256: "DiT-XL-2-256x256", 512: "DiT-XL-2-512x512" } as const;
/** Frames of a progressive strip. */
const FRAMES = 10;
/** Samples at a time, for small models and for those wider than this. */
const BATCH = { small: 32, large: 8, wide: 512 } as const;

const HELP = `Samples pictures from a model and writes them to a file.

  deno task sample                         the newest run of results/, otherwise digits
  deno task sample --ckpt results/000-DiT-Mini-4 --classes 3,7 --n 16
  deno task sample --ckpt model.pt --out pictures.npz --n 1000
  deno task sample --image-size 256        DiT-XL/2 as published (3 GB, downloaded once)

${
  flagsHelp({
    "What": WHAT,
    "How": HOW,
    "Where": WHERE,
    "Of weights in files that do not say it": OVERRIDE_FLAGS,
  })
}

Samplers:
${SAMPLERS_HELP}`;

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args, SAMPLE_FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  const out = flags.out ?? SAMPLE_FLAGS.out.default;
  const kind = outputKind(out);
  if (flags.progressive && kind !== "png") {
    throw new UsageError(`--progressive: expected --out FILE.png but got "${out}"`);
  }
  try {
    await sampleTo(out, flags);
  } catch (error) {
    throw toCommandError(error);
  }
  return 0;
}

async function sampleTo(out: string, flags: SampleFlags): Promise<void> {
  const start = performance.now();
  const overrides = overridesFromFlags(flags, flags.vae);
  using opened = await openWeights(await findWeights(flags), flags.weights, overrides);
  const weights = { ...opened, config: shifted(opened, flags["time-shift"]) };
  const { config } = weights;
  checkSize(weights, flags);
  const settings = settingsOf(flags, weights);
  const { labels, columns } = planLabels(
    flags,
    config.dit.numClasses,
    await labelsOf(weights),
    flags["image-size"] === undefined ? undefined : ORIGINAL_CLASSES,
  );
  const vaePath = await vaeOf(weights, flags);
  for (const line of weightLines(weights)) console.log(line);
  const device = await startDevice(flags.device ?? SAMPLE_FLAGS.device.default);
  using imageSampler = await load(weights, vaePath, flags.half ? "f16" : "f32");
  const size = `${imageSampler.model.parameterCount().toLocaleString("en")} parameters`;
  const process = processOf(config.diffusion);
  const kind = process === "gaussian" ? "" : `, process ${process}`;
  console.log(`model    ${config.name}, ${size}, ${config.dit.numClasses} classes${kind}`);
  console.log(`device   ${deviceText(device)}`);
  console.log(`samples  ${describe(labels.length, settings)}`);

  await using output = await openOutput(out, flags.progressive ? FRAMES : columns);
  const batch = flags["batch-size"] ??
    (config.dit.hiddenSize > BATCH.wide ? BATCH.large : BATCH.small);
  using line = new ProgressLine("         ");
  const total = Math.ceil(labels.length / batch) * settings.steps;
  for (let first = 0, done = 0; first < labels.length; first += batch, done += settings.steps) {
    const part = labels.slice(first, first + batch);
    const samples = await imageSampler.sample(first, part, settings, (taken) => {
      line.show(done + taken, total, "steps");
    });
    if (!samples.images.every(Number.isFinite)) {
      const remedy = flags.half ? "; try without --half" : "";
      throw new CommandError(
        `${weights.path}: pictures have numbers that are not finite${remedy}`,
      );
    }
    await output.write(samples, part);
  }
  line.end();
  const written = await output.finish();
  console.log(`written  ${written}, ${duration((performance.now() - start) / 1000)}`);
}

/** The weights that the flags mean; those of `--image-size` are downloaded where they are missing. */
async function findWeights(flags: SampleFlags): Promise<string> {
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
  if (await exists(fromFileUrl(DEMO))) return fromFileUrl(DEMO);
  throw new CommandError(
    "expected weights to sample from but found no run in results/; train one (deno task train), " +
      "or name some with --ckpt",
  );
}

/** The autoencoder's file; null where there is none to use. */
async function vaeOf(weights: Weights, flags: SampleFlags): Promise<string | null> {
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

async function load(
  weights: Weights,
  vaePath: string | null,
  dtype: "f32" | "f16",
): Promise<ImageSampler> {
  const config = vaePath === null
    ? weights.config
    : withAutoencoder(weights, vaePath, await vaeOptionsBeside(vaePath));
  const vae = vaePath === null ? null : await loadAutoencoder(vaePath, dtype);
  using line = new ProgressLine("         loading ");
  try {
    return await ImageSampler.load({ source: weights.source, config }, vae, {
      dtype,
      onProgress: (done, total) => line.show(done, total, "tensors"),
    });
  } catch (error) {
    vae?.dispose();
    throw error;
  }
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

function settingsOf(
  flags: SampleFlags,
  weights: Pick<Weights, "path" | "config" | "cfgScale">,
): SampleSettings {
  const { path, config } = weights;
  const process = buildProcess(config);
  checkInterval(process, flags["cfg-interval"]);
  const isPublished = flags["image-size"] !== undefined && process.ancestral !== undefined;
  const sampler = flags.sampler ?? USUAL_SAMPLER[isPublished ? "published" : "own"];
  const steps = samplingSteps(process, sampler, flags["num-sampling-steps"], {
    sampler: "sampler",
    steps: "num-sampling-steps",
  });
  checkHasEta(sampler, flags.eta);
  const guided = flags["cfg-scale"];
  if (config.nullClass === null && guided !== undefined && guided !== 1) {
    throw new UsageError(
      `--cfg-scale: ${path} was trained without a null class, which guidance needs; leave it at 1`,
    );
  }
  const usualScale = config.nullClass === null ? 1 : weights.cfgScale ?? (config.latents ? 4 : 2);
  return {
    sampler,
    steps,
    eta: flags.eta ?? SAMPLE_FLAGS.eta.default,
    cfgScale: guided ?? usualScale,
    cfgChannels: guidedChannels(flags["cfg-channels"]) ?? usualGuidedChannels(config),
    cfgInterval: flags["cfg-interval"],
    seed: flags.seed ?? SAMPLE_FLAGS.seed.default,
    frames: flags.progressive ? Math.min(FRAMES, steps) : 1,
  };
}

function guidedChannels(given: SampleFlags["cfg-channels"]): 3 | "all" | undefined {
  return given === "3" ? 3 : given;
}

function describe(count: number, settings: SampleSettings): string {
  const { sampler, steps, eta, cfgScale, cfgChannels, cfgInterval, seed } = settings;
  const guidance = cfgScale === 1
    ? "no guidance"
    : `guidance ${cfgScale}${cfgChannels === "all" ? " of all channels" : ""}` +
      (cfgInterval ? ` from t = ${cfgInterval[0]} to ${cfgInterval[1]}` : "");
  const how = `${sampler}${eta > 0 ? ` (eta ${eta})` : ""}, ${steps} ${
    steps === 1 ? "step" : "steps"
  }`;
  return `${count}, ${how}, ${guidance}, seed ${seed}`;
}

/** Refuses a checkpoint that is not of the size asked for. */
function checkSize({ path, config }: Weights, flags: SampleFlags): void {
  const asked = flags["image-size"];
  const size = config.dit.inputSize * (config.latents?.downsample ?? 1);
  if (asked !== undefined && asked !== size) {
    throw new UsageError(
      `--image-size: ${path} makes pictures of ${size}x${size}, not ${asked}x${asked}; leave it out`,
    );
  }
}

/** What classes are called: by the weights, or ImageNet's where they were downloaded. */
async function labelsOf({ config, classLabels }: Weights): Promise<ClassLabels> {
  const path = pretrainedPath("imagenet-classes");
  if (classLabels.length > 0 || config.dit.numClasses !== 1000 || !await exists(path)) {
    return classLabels;
  }
  const labels = classLabelsOf((await readJson(path))["id2label"]);
  if (labels.length > 0) return labels;
  throw new CommandError(`${path}: expected id2label in it but found none; download it again`);
}
