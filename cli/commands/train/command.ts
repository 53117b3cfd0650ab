/**
 * `deno task train`: trains a class-conditional Diffusion Transformer and shows what it learns.
 *
 *     deno task train                                  digits, in minutes, on any machine
 *     deno task train --data photos                    one's own images, a subfolder a class
 *     deno task train --data features --model DiT-XL/2 as the original's train.py
 *     deno task train --resume latest
 */
import { hostTensor } from "@dit/core/io";
import { type Device, OutOfMemoryError, scope } from "@dit/core/tensor";
import type { AutoencoderKL } from "@dit/core/vae";
import { basename } from "@std/path";
import { Checkpoint, writeCheckpoint } from "../../run/checkpoint.ts";
import { findCheckpoint, latestRun, runOf } from "../../run/find.ts";
import { COMMON_CURVES, History } from "../../run/report.ts";
import { classesText, requireSameClasses, writeClasses } from "../../shared/classes.ts";
import { RESULTS } from "../../shared/defaults.ts";
import { deviceLimit, deviceText, SelfTestError, startDevice } from "../../shared/device.ts";
import { CommandError, EXIT, messageOf } from "../../shared/errors.ts";
import { memoryEstimate, stepSeconds } from "./estimates.ts";
import { flagsHelp, parseFlags } from "../../shared/flags.ts";
import { refuseInside } from "../../shared/images.ts";
import { namedData } from "../../shared/named_data.ts";
import type { ModelConfig } from "../../model/config.ts";
import { writeSamples } from "./preview.ts";
import { bytesText, duration, warnAbove } from "../../shared/progress.ts";
import { RunFolder } from "../../run/folder.ts";
import type { Metrics } from "../../run/metrics.ts";
import { ImageSampler } from "../../model/image_sampler.ts";
import { checkAutoencoder, findAutoencoder, loadAutoencoder } from "../../model/autoencoder.ts";
import { toCommandError } from "../../shared/failures.ts";
import { stopRequests } from "../../run/stop.ts";
import { openData } from "./data.ts";
import { TRAIN_FLAGS, TRAIN_GROUPS, type TrainFlags } from "./flags.ts";
import { type Run, TrainLoop } from "../../run/loop.ts";
import {
  modelConfigOf,
  resumedSettings,
  settingsOf,
  settledBy,
  totalSteps,
  type TrainSettings,
  usualImageSize,
} from "./settings.ts";
import { Training } from "./training.ts";

const HELP = `Trains a class-conditional Diffusion Transformer and shows what it learns.

  deno task train                                    digits, in minutes, on any machine
  deno task train --data photos                      one's own images, a subfolder a class
  deno task train --data features --model DiT-XL/2   as the original's train.py
  deno task train --resume latest                    goes on where the last run stopped

Classes are numbered in the order of their folders' names, character by character: "Zebra" comes
before "ant", and "class10" before "class2", unlike in a file manager; see classes.json of the run.
A folder without subfolders is one class: the model is unconditional then.

${flagsHelp(TRAIN_GROUPS)}`;

/** What the files of a run are called. */
const NAMES = { description: "config.json", pictures: "samples" } as const;

const CURVES = [
  {
    title: "Loss",
    unit: "mean squared error",
    value: ({ loss }: Metrics) => loss,
    logarithmic: true,
    smooth: true,
  },
  ...COMMON_CURVES,
];

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args, TRAIN_FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  try {
    return flags.resume === undefined ? await start(flags) : await goOn(flags, flags.resume);
  } catch (error) {
    if (error instanceof SelfTestError) {
      console.error(`${error.message}; starting again without the fast kernels`);
      return EXIT.unfit;
    }
    if (!(error instanceof OutOfMemoryError)) throw toCommandError(error);
    throw new CommandError(
      `${error.message}. Use --grad-accum, --grad-checkpoint, --mixed-precision fp16 or a ` +
        `smaller --global-batch-size`,
      { cause: error },
    );
  }
}

/** A new run. */
async function start(flags: TrainFlags): Promise<number> {
  const asked = settingsOf(flags);
  const device = await startDevice(flags.device ?? "auto");
  await using data = await openData(asked, {
    usualSize: usualImageSize(flags),
    warn: warnAbove,
    numClasses: flags["num-classes"],
  });
  const results = flags["results-dir"] ?? RESULTS;
  if (data.shape.kind === "images") refuseInside("--results-dir", results, asked.data);
  const config = modelConfigOf(flags, asked, data.shape);
  const settings = settledBy(data.shape, asked, flags, data.dataset.size);
  const steps = totalSteps(settings, data.dataset.size);
  checkMemory(config, settings, device);
  using training = new Training(config, settings, steps);
  const folder = await RunFolder.create(results, config.name, NAMES);
  const history = new History(CURVES);
  return await follow({ training, data, device, folder, history, steps }, flags);
}

/** A run that is continued. */
async function goOn(flags: TrainFlags, from: string): Promise<number> {
  const path = await findCheckpoint(
    from === "latest" ? await latestRun(flags["results-dir"] ?? RESULTS) : from,
  );
  using checkpoint = await Checkpoint.open(path);
  const { config, step, training: state } = checkpoint.header;
  if (state === null) {
    throw new CommandError(`${path}: these weights are to sample from; they cannot be trained on`);
  }
  const settings = resumedSettings(state.settings, flags, config);
  const device = await startDevice(flags.device ?? "auto");
  await using data = await openData(settings, {
    usualSize: config.dit.inputSize,
    warn: warnAbove,
    numClasses: config.dit.numClasses,
  });
  const { channels, side, latents } = data.shape;
  const { inChannels, inputSize } = config.dit;
  if (channels !== inChannels || side !== inputSize) {
    throw new CommandError(
      `${settings.data}: expected examples of ${inChannels}x${inputSize}x${inputSize}, as the run ` +
        `had, but got ${channels}x${side}x${side}`,
    );
  }
  if (latents?.vaeSha256 !== config.latents?.vaeSha256) {
    throw new CommandError(
      `${settings.data}: expected latents by the autoencoder that the run began with ` +
        `(${config.latents?.vae}) but its weights are others now`,
    );
  }
  requireSameClasses(settings.data, data.shape.classNames, config);
  const steps = totalSteps(settings, data.dataset.size);
  if (step >= steps) {
    console.log(`${path} has all of its ${steps} steps; give more --steps to go on`);
    return 0;
  }
  checkMemory(config, settings, device);
  using training = new Training(config, settings, steps);
  await training.load(checkpoint, state);
  const history = new History(CURVES);
  const run = await runOf(path);
  const results = flags["results-dir"] ?? RESULTS;
  const folder = run === undefined
    ? await RunFolder.create(results, config.name, NAMES)
    : await RunFolder.open(run, step, NAMES, (line) => history.add(line));
  if (run === undefined) console.log(`${path} is in no run's folder: it goes on in a new one`);
  const { position } = state;
  return await follow({ training, data, device, folder, history, steps, position }, flags);
}

/** Refuses, before anything is made, what the device cannot hold. */
function checkMemory(config: ModelConfig, settings: TrainSettings, device: Device): void {
  const bytes = memoryEstimate(config.dit, settings);
  const limit = deviceLimit(device);
  if (limit === null || bytes <= limit) return;
  throw new CommandError(
    `${config.name} with batches of ${settings.batchSize} needs about ${bytesText(bytes)} but ` +
      `${device.name} can hold ${bytesText(limit)}. Use --grad-accum, --grad-checkpoint, ` +
      `--mixed-precision fp16, or a smaller model or --global-batch-size`,
  );
}

/** Says what will happen, trains, and writes what there is to show. */
async function follow(
  parts: Omit<Run, "about" | "imageSampler" | "stopping">,
  flags: TrainFlags,
): Promise<number> {
  const { training, device, folder, steps } = parts;
  const about = await introduction(parts);
  using decoder = await loadDecoder(training.config, (text) => about.push(text));
  const { settings, config } = training;
  const isBlind = config.latents !== null && decoder === null;
  const imageSampler = isBlind ? null : new ImageSampler(config, training, decoder);
  for (const line of about) {
    console.log(line);
    await folder.log(line);
  }
  const summary = { settings, model: config, device: deviceText(device), steps };
  await folder.describe(summary);
  await writeClasses(folder.path, config.classNames);

  using stop = stopRequests();
  const loop = new TrainLoop({ ...parts, about, imageSampler, stopping: () => stop.requested });
  let finished: boolean;
  try {
    finished = await loop.go();
    if (finished) await keepResults(training, folder, imageSampler, flags["export-demo"]);
  } catch (error) {
    // the page must not go on loading itself; what went wrong is said by the caller
    await loop.finish(messageOf(error)).catch(() => {});
    throw error;
  }
  if (!finished) {
    await loop.finish(`stopped at step ${training.step} of ${steps}`);
    console.log(
      `stopped at step ${training.step}; go on with: deno task train --resume ${folder.path}`,
    );
    return EXIT.interrupted;
  }
  await loop.finish(`finished: ${steps.toLocaleString("en")} steps`);
  console.log(
    `finished: ${
      folder.file("report.html")
    } shows it; sample from it with: deno task sample --ckpt ${folder.path}`,
  );
  return 0;
}

/** The first lines: what, on what, for how long, with how much memory, and what else there is. */
async function introduction(
  { training, data, device, folder, steps }: Omit<Run, "about" | "imageSampler" | "stopping">,
): Promise<string[]> {
  const { settings, config, model, step } = training;
  const count = (n: number) => n.toLocaleString("en");
  const seconds = (steps - step) * await stepSeconds(device, config.dit, settings);
  const bytes = memoryEstimate(config.dit, settings);
  const classes = classesText(config);
  const begun = step > 0 ? `from step ${count(step)} to ${count(steps)}` : `${count(steps)} steps`;
  return [
    `model    ${config.name}, ${
      count(model.parameterCount())
    } parameters, predicts ${config.diffusion.objective}`,
    `data     ${basename(settings.data)}, ${data.text}`,
    ...(classes === undefined ? [] : [`classes  ${classes}`]),
    `run      ${begun} of ${settings.batchSize} images, about ${duration(seconds)}`,
    `device   ${deviceText(device)}, about ${bytesText(bytes)} of memory`,
    `results  ${folder.path}: open report.html in a browser to look on`,
    ...(namedData(settings.data)
      ? ["         your own images: deno task train --data FOLDER (a subfolder a class); --help"]
      : []),
  ];
}

/** The autoencoder of a model of latents, to make pictures with; without it there are none. */
async function loadDecoder(
  { latents }: ModelConfig,
  note: (text: string) => void,
): Promise<AutoencoderKL | null> {
  if (latents === null) return null;
  try {
    const path = await findAutoencoder(latents.vae, false);
    await checkAutoencoder(path, latents);
    return await loadAutoencoder(path);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    note(`samples  none: ${error.message}`);
    return null;
  }
}

/** What a run leaves at its end beside its checkpoints. */
async function keepResults(
  training: Training,
  folder: RunFolder,
  imageSampler: ImageSampler | null,
  demo: string | undefined,
): Promise<void> {
  const { finalSamples } = training.settings;
  if (imageSampler && finalSamples > 0) {
    await writeSamples(folder.file("samples.npz"), training, imageSampler, finalSamples);
  }
  if (demo !== undefined) await exportDemo(training, demo);
}

/** The averaged weights alone, as f16: small, and enough to sample from. */
async function exportDemo({ ema, config, step }: Training, path: string): Promise<void> {
  using _ = scope("export");
  const weights = new Map();
  for (const [name, t] of ema.stateDict()) {
    weights.set(name, hostTensor(new Float16Array(await t.data()), t.shape));
  }
  await writeCheckpoint(path, { step, config, training: null }, { ema: weights });
  console.log(`weights to sample from: ${path}`);
}
