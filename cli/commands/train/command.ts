/**
 * `deno task train`: trains a class-conditional Diffusion Transformer and shows what it learns.
 *
 *     deno task train                                  digits, in minutes, on any machine
 *     deno task train --data photos                    one's own images, a subfolder a class
 *     deno task train --data features --model DiT-XL/2 as the original's train.py
 *     deno task train --resume latest
 */
import { switchesOf } from "@dit/core/dit";
import { type Checkpoint, type ModelConfig, processOf } from "@dit/core/pipeline";
import { type Device, OutOfMemoryError } from "@dit/core/tensor";
import type { AutoencoderKL } from "@dit/core/vae";
import { basename, dirname, join } from "@std/path";
import { checkAutoencoder, findAutoencoder, loadAutoencoder } from "../../model/autoencoder.ts";
import { openWorld } from "../../distributed/open.ts";
import { fromRankZero } from "../../distributed/share.ts";
import type { World } from "../../distributed/world.ts";
import { openCheckpoint } from "../../run/checkpoint.ts";
import { findCheckpoint, latestRun, runOf, unfinishedRun } from "../../run/find.ts";
import { RunFolder } from "../../run/folder.ts";
import { newFolder, resumedFolder, runTraining } from "../../run/run.ts";
import { loadTrainee, rememberedPlans } from "../../run/saving.ts";
import { agreeOnData, ranksText, refuseUneven } from "../../run/shares.ts";
import { classesText, requireSameClasses, writeClasses } from "../../shared/classes.ts";
import { dataKind } from "../../shared/data_kind.ts";
import { DATA, RESULTS } from "../../shared/defaults.ts";
import { deviceText, startDevice } from "../../shared/device.ts";
import { CommandError, messageOf, UsageError } from "../../shared/errors.ts";
import { toCommandError } from "../../shared/failures.ts";
import { exists, isFolder, makeFolder } from "../../shared/files.ts";
import { flagsHelp, parseFlags } from "../../shared/flags.ts";
import { cropsLines, refuseInside } from "../../shared/images.ts";
import { namedData } from "../../shared/named_data.ts";
import { bytesText, duration, warnAbove } from "../../shared/progress.ts";
import { readSettings } from "../../shared/settings.ts";
import { openData } from "./data.ts";
import { type EvaluationParts, TrainingEvaluation } from "./evaluation.ts";
import { DIT_KIND, DiTTrainee, FINAL_SAMPLES } from "./dit_trainee.ts";
import { checkMemory, memoryEstimate, shareOfBatch, stepSeconds } from "./estimates.ts";
import { TRAIN_FLAGS, TRAIN_GROUPS, type TrainFlags } from "./flags.ts";
import type { TrainData } from "./open_data.ts";
import { transferLines } from "./initial.ts";
import { openNewRun } from "./new_run.ts";
import { recipeLines, recipesHelp, withRecipe } from "./recipe.ts";
import {
  resumedSettings,
  type RunDescription,
  sameRun,
  totalSteps,
  type TrainSettings,
} from "./settings.ts";

const HELP = `Trains a class-conditional Diffusion Transformer and shows what it learns.

  deno task train                                    digits, in minutes, on any machine
  deno task train --data photos                      one's own images, a subfolder a class
  deno task train --data features --model DiT-XL/2   as the original's train.py
  deno task train --resume latest                    continues the last run where it stopped
  mpirun -n 2 deno task train                        two processes ("ranks") share every batch

Classes are numbered in the order of their folders' names, character by character: "Zebra" comes
before "ant", and "class10" before "class2", unlike in a file manager; see classes.json of the run.
A folder without subfolders is one class: the model is unconditional then.

${flagsHelp(TRAIN_GROUPS)}${recipesHelp()}`;

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args, TRAIN_FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  try {
    const world = await openWorld(flags);
    // by one rank: a folder may change between two looks, and disks show changes late
    const checkpoint = await fromRankZero(world, async () => await checkpointOf(flags) ?? null);
    return await (checkpoint === null ? start(flags, world) : resume(flags, world, checkpoint));
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw toCommandError(error);
    throw new CommandError(
      `${error.message}. Use --grad-accum, --grad-checkpoint, --mixed-precision fp16, or a ` +
        `smaller model or --global-batch-size`,
      { cause: error },
    );
  }
}

/** The checkpoint that `--resume` names; undefined for a new run. */
async function checkpointOf(flags: TrainFlags): Promise<string | undefined> {
  const results = resultsOf(flags);
  if (flags.resume === undefined) return undefined;
  if (flags.resume === "latest") return await findCheckpoint(await latestRun(results));
  if (flags.resume !== "auto") return await findCheckpoint(flags.resume);
  const found = await dataKind(flags.data ?? DATA);
  const hasOwnSize = found.kind === "named" && found.folder !== undefined;
  const isAsked = (run: RunDescription) => {
    const initial = flags.init === undefined ? undefined : run.config.name;
    return sameRun(withRecipe(flags, initial), run, hasOwnSize);
  };
  return await unfinishedRun(
    results,
    DIT_KIND.trainee,
    (path, hasAllSteps) => isOf(isAsked, path, hasAllSteps),
  );
}

/**
 * Whether a checkpoint is one of a run that is asked for and has something left to do; undefined for
 * one that cannot be read, which is said.
 */
async function isOf(
  isAsked: (run: RunDescription) => boolean,
  path: string,
  hasAllSteps: boolean,
): Promise<boolean | undefined> {
  let opened: Checkpoint<ModelConfig>;
  try {
    opened = await openCheckpoint(path, DIT_KIND);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    console.error(`${messageOf(error)}; --resume auto looks for an earlier one`);
    return undefined;
  }
  using checkpoint = opened;
  try {
    const { config, training } = checkpoint.header;
    if (training === null) return false;
    const settings = readSettings(TRAIN_FLAGS, training.settings.values, path);
    // one that was ended while it made its samples has all steps
    if (hasAllSteps && !await lacksSamples(path, settings)) return false;
    return isAsked({ settings, config });
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}

function resultsOf(flags: TrainFlags): string {
  return flags["results-dir"] ?? RESULTS;
}

function newRunFolder(flags: TrainFlags, { name }: ModelConfig): Promise<RunFolder> {
  return RunFolder.create(resultsOf(flags), name, DIT_KIND.names);
}

/** Where weights are exported to at the end; its folder is made now, not missed then. */
async function exportPath(
  { "export-demo": path }: TrainFlags,
  world: World,
): Promise<string | undefined> {
  if (path === undefined || world.rank > 0) return path;
  if (await isFolder(path)) {
    throw new UsageError(`--export-demo: expected a file to write but ${path} is a folder`);
  }
  await makeFolder(dirname(path));
  return path;
}

/** A new run. */
async function start(flags: TrainFlags, world: World): Promise<number> {
  const exportTo = await exportPath(flags, world);
  await using opened = await openNewRun(flags, world);
  const { device, data, config, settings, steps, initial } = opened;
  if (data.shape.kind === "images") refuseInside("--results-dir", resultsOf(flags), settings.data);
  const { decoder, note } = await loadDecoder(config, world, settings.evalEvery > 0);
  using _ = decoder;
  using evaluation = await prepareEvaluation(settings, { config, data, decoder, world });
  const { input, dataset } = data;
  const parts = { steps, input, decoder, evaluation, exportTo, world };
  using trainee = new DiTTrainee(config, settings, parts);
  const recipe = recipeLines(flags, initial?.config.name);
  const begun = initial ? transferLines(await trainee.begin(initial), config, initial) : [];
  const folder = world.rank === 0 ? await newRunFolder(flags, config) : null;
  if (folder) await writeClasses(folder.path, config.classNames);
  const summary = folder
    ? await summaryLines({ trainee, data, device, folder, steps, note, evaluation, recipe, begun })
    : [];
  return await runTraining({
    ...newFolder(DIT_KIND, folder),
    trainee,
    dataset,
    device,
    steps,
    summary,
  });
}

/** A run that is continued. */
async function resume(flags: TrainFlags, world: World, path: string): Promise<number> {
  using checkpoint = await openCheckpoint(path, DIT_KIND, "to begin with its weights, give --init");
  const { config, step, training } = checkpoint.header;
  if (training === null) {
    throw new CommandError(`${path}: these weights are to sample from; they cannot be trained on`);
  }
  const before = readSettings(TRAIN_FLAGS, training.settings.values, path);
  const settings = resumedSettings(before, flags, config);
  refuseUneven(world, "global-batch-size", settings);
  const exportTo = await exportPath(flags, world);
  const remembered = rememberedPlans(training);
  const device = await startDevice({ ...flags, remembered }, world);
  await using data = await openData(settings, {
    usualSize: config.dit.inputSize,
    warn: warnAbove,
    isShown: world.rank === 0,
    numClasses: config.dit.numClasses,
  });
  checkSameData(config, settings, data);
  const steps = totalSteps(settings, data.dataset.size);
  if (step > steps) {
    throw new UsageError(
      `--${settings.steps === null ? "epochs" : "steps"}: expected ${step} steps or more, which ` +
        `${path} has already, but got ${steps}; an earlier checkpoint can be continued instead`,
    );
  }
  if (
    step >= steps && !await fromRankZero(world, () => isWanting(path, flags, settings))
  ) {
    if (world.rank === 0) {
      console.log(`${path} has all of its ${steps} steps; give more --steps to continue`);
    }
    return 0;
  }
  checkMemory(config, settings, device, world);
  await agreeOnData(world, settings.data, data.dataset);
  const { decoder, note } = await loadDecoder(config, world, settings.evalEvery > 0);
  using _ = decoder;
  using evaluation = await prepareEvaluation(settings, { config, data, decoder, world });
  const { input, dataset } = data;
  const parts = { steps, input, decoder, evaluation, exportTo, world };
  using trainee = new DiTTrainee(config, settings, parts);
  const position = await loadTrainee(trainee, checkpoint, training);
  const opened = world.rank === 0
    ? await resumedFolder(DIT_KIND, checkpoint, () => newRunFolder(flags, config))
    : newFolder(DIT_KIND, null);
  const { folder } = opened;
  if (folder && !await exists(folder.file("classes.json"))) {
    await writeClasses(folder.path, config.classNames);
  }
  const summary = folder
    ? await summaryLines({ trainee, data, device, folder, steps, note, evaluation })
    : [];
  return await runTraining({ ...opened, trainee, dataset, device, steps, summary, position });
}

/** Refuses data that are not those that a run began with. */
function checkSameData(config: ModelConfig, { data: path }: TrainSettings, data: TrainData): void {
  const { channels, side, latents, classNames } = data.shape;
  const { inChannels, inputSize } = config.dit;
  if (channels !== inChannels || side !== inputSize) {
    throw new CommandError(
      `${path}: expected examples of ${inChannels}x${inputSize}x${inputSize}, as the run had, but ` +
        `got ${channels}x${side}x${side}`,
    );
  }
  if (latents?.vaeSha256 !== config.latents?.vaeSha256) {
    throw new CommandError(
      `${path}: expected latents by the autoencoder that the run began with ` +
        `(${config.latents?.vae}) but its weights have changed`,
    );
  }
  requireSameClasses(path, classNames, config);
}

/** Whether a run that has all of its steps lacks what it leaves at its end, or more is asked for. */
async function isWanting(
  checkpoint: string,
  flags: TrainFlags,
  settings: TrainSettings,
): Promise<boolean> {
  if (flags["export-demo"] !== undefined || flags["final-samples"] !== undefined) return true;
  return await lacksSamples(checkpoint, settings);
}

/**
 * Whether the samples for an evaluation are missing in the folder of a run. Those that are older than
 * the checkpoint are of fewer steps: a run that was continued was ended before it made its own.
 */
async function lacksSamples(
  checkpoint: string,
  { finalSamples }: TrainSettings,
): Promise<boolean> {
  if (finalSamples === 0) return false;
  const run = await runOf(checkpoint, DIT_KIND);
  if (run === undefined || !await exists(join(run, FINAL_SAMPLES))) return true;
  const [samples, weights] = await Promise.all(
    [join(run, FINAL_SAMPLES), checkpoint].map(async (path) => (await Deno.stat(path)).mtime),
  );
  return samples !== null && weights !== null && samples! < weights!;
}

/** What the first lines are made of. */
interface Summarised {
  readonly trainee: DiTTrainee;
  readonly data: TrainData;
  readonly device: Device;
  readonly folder: RunFolder;
  readonly steps: number;
  /** Why there are no samples. */
  readonly note: string | null;
  readonly evaluation: TrainingEvaluation | null;
  /** What holds because of the data. */
  readonly recipe?: readonly string[];
  /** What became of the weights it begins with. */
  readonly begun?: readonly string[];
}

/** The first lines: what, on what, for how long, with how much memory, and what else there is. */
async function summaryLines(
  { trainee, data, device, folder, steps, note, evaluation, recipe = [], begun = [] }: Summarised,
): Promise<string[]> {
  const { settings, config, model, step, world } = trainee;
  const count = (n: number) => n.toLocaleString("en");
  const share = shareOfBatch(settings, world);
  const seconds = (steps - step) * await stepSeconds(device, config.dit, share);
  const bytes = memoryEstimate(config.dit, share);
  const classes = classesText(config);
  const length = step > 0 ? `from step ${count(step)} to ${count(steps)}` : `${count(steps)} steps`;
  return [
    `model    ${config.name}, ${
      count(model.parameterCount())
    } parameters, predicts ${config.diffusion.objective}${
      processOf(config.diffusion) === "gaussian" ? "" : ` of a ${processOf(config.diffusion)}`
    }${switchesOf(config.dit).map((name) => `, ${name}`).join("")}`,
    ...begun,
    ...(trainee.frozen > 0 ? [`freeze   ${count(trainee.frozen)} of them stay as they are`] : []),
    `data     ${basename(settings.data)}, ${data.text}`,
    ...cropsLines(data.dataset),
    ...(classes === undefined ? [] : [`classes  ${classes}`]),
    `run      ${length} of ${settings.batchSize} images, about ${duration(seconds)}`,
    ...(world.size === 1 ? [] : [ranksText(world, settings.batchSize)]),
    `device   ${deviceText(device)}, about ${bytesText(bytes)} of memory`,
    `results  ${folder.path}: open report.html in a browser to watch`,
    ...(namedData(settings.data)
      ? ["         your own images: deno task train --data FOLDER (a subfolder a class); --help"]
      : []),
    ...recipe,
    ...(evaluation === null ? [] : [evaluation.text]),
    ...(note === null ? [] : [note]),
  ];
}

/** What compares samples with the data now and then; null where that is not asked for. Collective. */
async function prepareEvaluation(
  { data: path, evalEvery, evalSamples: samples, evalFeatures: features }: TrainSettings,
  parts: Pick<EvaluationParts, "config" | "data" | "decoder" | "world">,
): Promise<TrainingEvaluation | null> {
  if (evalEvery === 0) return null;
  return await TrainingEvaluation.prepare({ ...parts, samples, features }, path);
}

/**
 * The autoencoder of a model of latents, to make pictures with; without it there are none, as on
 * ranks other than 0.
 *
 * @param isNeeded Whether every rank needs it.
 * @throws {CommandError} where it is needed, and not there.
 */
async function loadDecoder(
  { latents }: ModelConfig,
  { rank }: World,
  isNeeded: boolean,
): Promise<{ decoder: AutoencoderKL | null; note: string | null }> {
  if (latents === null || rank > 0 && !isNeeded) return { decoder: null, note: null };
  try {
    const path = await findAutoencoder(latents.vae, false);
    await checkAutoencoder(path, latents);
    return { decoder: await loadAutoencoder(path), note: null };
  } catch (error) {
    if (!(error instanceof CommandError) || isNeeded) throw error;
    return { decoder: null, note: `samples  none: ${error.message}` };
  }
}
