/**
 * `deno task sample`: pictures from a model. Everything the model needs is in its checkpoint.
 *
 *     deno task sample                                   the newest run, otherwise the demo's digits
 *     deno task sample --ckpt results/003-DiT-B-4 --classes 3,7 --n 16
 *     deno task sample --image-size 256                  the original's sample.py
 */
import { type SampleSettings, usualBatchSize, usualGuidance } from "@dit/core/pipeline";
import { deviceText, startDevice } from "../../shared/device.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { flagsHelp, parseFlags } from "../../shared/flags.ts";
import { duration, ProgressLine } from "../../shared/progress.ts";
import {
  HOW,
  ORIGINAL_CLASSES,
  planLabels,
  SAMPLE_FLAGS,
  type SampleFlags,
  USUAL_SAMPLER,
  WHAT,
  WHERE,
} from "./flags.ts";
import { openOutput, outputKind } from "./output.ts";
import { classLabelsFor } from "../../model/class_labels.ts";
import { toCommandError } from "../../shared/failures.ts";
import { withDemo } from "../../model/demos.ts";
import { OVERRIDE_FLAGS } from "../../model/overrides.ts";
import { SAMPLERS_HELP } from "../../model/sampling_flags.ts";
import {
  describeSampling,
  findWeights,
  loadImageSampler,
  modelLine,
  openSampled,
  samplingAutoencoder,
  samplingSettings,
} from "../../model/sampling_setup.ts";
import { weightLines, type Weights } from "../../model/weights.ts";

/** Frames of a progressive strip. */
const FRAMES = 10;

const HELP = `Samples pictures from a model and writes them to a file.

  deno task sample                         the newest run of results/, otherwise digits
  deno task sample --demo emoji            weights that come along
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
    await sampleTo(out, await withDemo(flags));
  } catch (error) {
    throw toCommandError(error);
  }
  return 0;
}

async function sampleTo(out: string, flags: SampleFlags): Promise<void> {
  const start = performance.now();
  using weights = await openSampled(await findWeights(flags), flags);
  const { config } = weights;
  const settings = settingsOf(flags, weights);
  const { labels, columns } = planLabels(
    flags,
    config.dit.numClasses,
    await classLabelsFor(weights),
    flags["image-size"] === undefined ? undefined : ORIGINAL_CLASSES,
  );
  const vaePath = await samplingAutoencoder(weights, flags);
  for (const line of weightLines(weights)) console.log(line);
  const device = await startDevice(flags);
  using imageSampler = await loadImageSampler(weights, vaePath, flags.half ? "f16" : "f32");
  console.log(modelLine(imageSampler, weights));
  console.log(`device   ${deviceText(device)}`);
  console.log(`samples  ${describeSampling(labels.length, settings)}`);

  await using output = await openOutput(out, flags.progressive ? FRAMES : columns);
  const batch = flags["batch-size"] ?? usualBatchSize(config);
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

function settingsOf(flags: SampleFlags, weights: Weights): SampleSettings {
  const isPublished = flags["image-size"] !== undefined;
  const settings = samplingSettings(
    flags,
    weights,
    {
      sampler: ({ ancestral }) => USUAL_SAMPLER[isPublished && ancestral ? "published" : "own"],
      cfgScale: weights.cfgScale ?? usualGuidance(weights.config),
    },
    flags.seed ?? SAMPLE_FLAGS.seed.default,
  );
  return { ...settings, frames: flags.progressive ? Math.min(FRAMES, settings.steps) : 1 };
}
