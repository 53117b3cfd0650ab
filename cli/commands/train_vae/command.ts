/**
 * `deno task train-vae`: trains an autoencoder (AutoencoderKL), so that latents of one's own images
 * need nothing that is downloaded.
 *
 *     deno task train-vae --data photos --image-size 64
 *     deno task extract-features --data photos --image-size 64 --vae results/vae
 */
import { OutOfMemoryError } from "@dit/core/tensor";
import type { ImageFolder, SamplerPosition } from "@dit/data";
import { join } from "@std/path";
import { DIFFUSERS_FILES } from "../../model/weight_file.ts";
import { openWorld } from "../../distributed/open.ts";
import { fromRankZero } from "../../distributed/share.ts";
import type { World } from "../../distributed/world.ts";
import { openCheckpoint } from "../../run/checkpoint.ts";
import { describeRun, findCheckpoint, listCheckpoints } from "../../run/find.ts";
import { RunFolder } from "../../run/folder.ts";
import { newFolder, type OpenedFolder, resumedFolder, runTraining } from "../../run/run.ts";
import { loadTrainee, rememberedPlans } from "../../run/saving.ts";
import { agreeOnData, ranksText, refuseUneven } from "../../run/shares.ts";
import { deviceText, startDevice } from "../../shared/device.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { toCommandError } from "../../shared/failures.ts";
import { exists, prepareFolder } from "../../shared/files.ts";
import { flagsHelp, parseFlags } from "../../shared/flags.ts";
import { cropsLines, imagesText, openImages, refuseInside } from "../../shared/images.ts";
import { warnAbove } from "../../shared/progress.ts";
import { readSettings, refuseLargeBatch } from "../../shared/settings.ts";
import {
  resumedVaeSettings,
  sameVaeRun,
  VAE_FLAGS,
  VAE_GROUPS,
  type VaeFlags,
  type VaeSettings,
  vaeSettings,
} from "./flags.ts";
import { VAE_KIND, VaeTrainee } from "./vae_trainee.ts";

const HELP = `Trains an autoencoder of images, for latents of them.

  deno task train-vae --data photos --image-size 64
  deno task extract-features --data photos --image-size 64 --vae results/vae
  deno task train-vae --resume                     continues where it was ended
  mpirun -n 2 deno task train-vae --data photos    two processes ("ranks") share every batch

${flagsHelp(VAE_GROUPS)}`;

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args, VAE_FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  try {
    const world = await openWorld(flags);
    const checkpoint = await fromRankZero(world, async () => await checkpointOf(flags) ?? null);
    return await (checkpoint === null ? start(flags, world) : resume(flags, world, checkpoint));
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw toCommandError(error);
    const advice =
      "--grad-accum, --mixed-precision fp16, or a smaller --batch-size or --image-size";
    throw new CommandError(`${error.message}. Use ${advice}`, { cause: error });
  }
}

/** The folder of a new run, and of the one that is continued unless another is named. */
function outOf({ out }: VaeFlags): string {
  return out ?? VAE_FLAGS.out.default;
}

/** The checkpoint that `--resume` names; undefined for a new run. */
async function checkpointOf(flags: VaeFlags): Promise<string | undefined> {
  const { former } = VAE_KIND.names;
  const out = outOf(flags);
  switch (flags.resume) {
    case undefined:
      return undefined;
    case "auto": {
      const path = await findCheckpoint(out, former).catch(() => undefined);
      return path !== undefined && await isOf(flags, path) ? path : undefined;
    }
    case true:
    case "latest":
      return await findCheckpoint(out, former);
    default:
      return await findCheckpoint(flags.resume, former);
  }
}

/** Whether a checkpoint is one of a run of these flags. */
async function isOf(flags: VaeFlags, path: string): Promise<boolean> {
  try {
    using checkpoint = await openCheckpoint(path, VAE_KIND);
    const { training } = checkpoint.header;
    return training !== null &&
      sameVaeRun(flags, readSettings(VAE_FLAGS, training.settings.values, path));
  } catch (error) {
    if (error instanceof CommandError) return false;
    throw error;
  }
}

/**
 * Refuses a folder for a new run that holds a run, an autoencoder, or files of others that a run
 * would write over; another one is made, if need be.
 *
 * @throws {UsageError}
 * @throws {CommandError} where nothing can be written there.
 */
async function prepareOut(out: string): Promise<void> {
  await prepareFolder(out, "--out");
  const [checkpoint] = await listCheckpoints(out);
  const { former, description } = VAE_KIND.names;
  // what a run of ours left before its first checkpoint may go; what others have may not
  const isOurs = await describeRun(out) !== undefined;
  const taken = [
    ...(checkpoint ? [checkpoint.path] : []),
    ...[former!, ...DIFFUSERS_FILES, "config.json"].map((name) => join(out, name)),
    ...(isOurs ? [] : [description, "metrics.jsonl", "report.html"].map((name) => join(out, name))),
  ];
  for (const path of taken) {
    if (!await exists(path)) continue;
    const advice = path === checkpoint?.path || path.endsWith(former!)
      ? "continue with --resume, or "
      : "";
    throw new UsageError(
      `--out: expected a new folder but ${path} is there already; ${advice}take another`,
    );
  }
}

/** A new run. */
async function start(flags: VaeFlags, world: World): Promise<number> {
  const settings = vaeSettings(flags);
  refuseUneven(world, "batch-size", settings);
  const out = outOf(flags);
  refuseInside("--out", out, settings.data);
  const isFirst = world.rank === 0;
  if (isFirst) await prepareOut(out);
  await using images = await open(settings, world);
  const device = await startDevice(flags, world);
  using trainee = new VaeTrainee(settings, images, world);
  const opened = newFolder(VAE_KIND, isFirst ? await RunFolder.at(out, VAE_KIND.names) : null);
  return await train({ trainee, images, device, opened });
}

/** A run that is continued. */
async function resume(flags: VaeFlags, world: World, path: string): Promise<number> {
  using checkpoint = await openCheckpoint(path, VAE_KIND);
  const { step, training } = checkpoint.header;
  if (training === null) throw new CommandError(`${path}: these weights cannot be trained on`);
  const settings = resumedVaeSettings(
    readSettings(VAE_FLAGS, training.settings.values, path),
    flags,
  );
  if (step > settings.steps) {
    throw new UsageError(`--steps: expected ${step} or more, which ${path} has, already`);
  }
  refuseUneven(world, "batch-size", settings);
  await using images = await open(settings, world);
  const remembered = rememberedPlans(training);
  const device = await startDevice({ ...flags, remembered }, world);
  using trainee = new VaeTrainee(settings, images, world);
  const position = await loadTrainee(trainee, checkpoint, training);
  const out = outOf(flags);
  refuseInside("--out", out, settings.data);
  const opened = world.rank > 0 ? newFolder(VAE_KIND, null) : await resumedFolder(
    VAE_KIND,
    checkpoint,
    async () => {
      await prepareOut(out);
      return await RunFolder.at(out, VAE_KIND.names);
    },
  );
  return await train({ trainee, images, device, opened, position });
}

async function open(settings: VaeSettings, world: World): Promise<ImageFolder> {
  const { data, imageSize: size, workers, strict, cropCache, batchSize } = settings;
  const images = await openImages(data, { size, workers, strict, cropCache, warn: warnAbove });
  try {
    refuseLargeBatch("batch-size", batchSize, images.size);
    await agreeOnData(world, data, images);
    return images;
  } catch (error) {
    await images[Symbol.asyncDispose]();
    throw error;
  }
}

/** What is trained, on what, and where it goes. */
interface Parts {
  readonly trainee: VaeTrainee;
  readonly images: ImageFolder;
  readonly device: Awaited<ReturnType<typeof startDevice>>;
  readonly opened: OpenedFolder;
  readonly position?: SamplerPosition;
}

async function train({ trainee, images, device, opened, position }: Parts): Promise<number> {
  const { model, settings, step, world } = trainee;
  const { imageSize, latentChannels, steps, batchSize } = settings;
  const side = imageSize / model.factor;
  const { folder } = opened;
  const summary = folder === null ? [] : [
    `model    autoencoder, ${model.parameterCount().toLocaleString("en")} parameters`,
    `images   ${imagesText(images)}; latents ${[latentChannels, side, side].join("x")}`,
    ...cropsLines(images),
    `run      steps ${step} to ${steps} of ${batchSize} images`,
    ...(world.size === 1 ? [] : [ranksText(world, batchSize)]),
    `device   ${deviceText(device)}`,
    `results  ${folder.path}: open report.html in a browser to watch`,
  ];
  const run = { ...opened, trainee, dataset: images, device, steps, summary };
  return await runTraining(position ? { ...run, position } : run);
}
