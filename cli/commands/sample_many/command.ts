/**
 * `deno task sample-many`: pictures by the ten thousand for evaluation, on any number of processes,
 * as the original's sample_ddp.py makes them.
 *
 *     deno task sample-many --num-fid-samples 1000
 *     mpirun -n 8 deno task sample-many --image-size 256
 *
 * A sample's bytes depend on its number, and on neither the batch nor the processes: so whoever is
 * free can make whichever is missing, and a job that was interrupted goes on.
 */
import { basename, fromFileUrl, join, resolve } from "@std/path";
import type { Process, SamplerName } from "@dit/core/diffusion";
import { processOf, type SampleSettings, takes, usualBatchSize } from "@dit/core/pipeline";
import type { Device } from "@dit/core/tensor";
import { agree } from "../../distributed/agree.ts";
import { openWorld } from "../../distributed/open.ts";
import { inTurn } from "../../distributed/share.ts";
import { Stopped, workTogether } from "../../distributed/together.ts";
import type { World } from "../../distributed/world.ts";
import { autoencoderDigest, shortName } from "../../model/autoencoder.ts";
import { withDemo } from "../../model/demos.ts";
import { OVERRIDE_FLAGS } from "../../model/overrides.ts";
import { MODEL_FLAGS, SAMPLERS_HELP } from "../../model/sampling_flags.ts";
import {
  describeSampling,
  findWeights,
  openSampled,
  samplingAutoencoder,
  samplingSettings,
} from "../../model/sampling_setup.ts";
import { weightsDigest } from "../../model/weight_file.ts";
import { weightLines, type Weights } from "../../model/weights.ts";
import { type StopRequests, stopRequests } from "../../run/stop.ts";
import { deviceText, startDevice } from "../../shared/device.ts";
import { EXIT } from "../../shared/errors.ts";
import { toCommandError } from "../../shared/failures.ts";
import { readJson } from "../../shared/files.ts";
import { flagsHelp, parseFlags } from "../../shared/flags.ts";
import { bytesText, duration, ProgressLine } from "../../shared/progress.ts";
import { type ArchiveContent, writeArchive } from "./archive.ts";
import {
  HOW,
  SAMPLE_MANY_FLAGS,
  type SampleManyFlags,
  USUAL_VAE,
  usualCfgScale,
  WHAT,
  WHERE,
} from "./flags.ts";
import { folderName, recordText, type SampleRecord } from "./record.ts";
import { shareFolder } from "./folder.ts";
import { sampleMissing } from "./sampling.ts";
import { PartStore, PngStore, type SampleStore } from "./store.ts";
import { labelOf } from "./work.ts";

/** Says which version this is. */
const PROJECT = new URL("../../deno.json", import.meta.url);

const HELP = `Samples pictures by the ten thousand, as PNG files and as an archive for evaluation.

  deno task sample-many --num-fid-samples 1000   of the newest run, otherwise digits
  mpirun -n 8 deno task sample-many --image-size 256
  deno task sample-many --ckpt model.pt --image-size 256 --vae mse --balanced-labels

What was interrupted goes on when the same command is started again, on any number of processes.

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
  const flags = parseFlags(args, SAMPLE_MANY_FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  const world = await openWorld({ distributed: flags.distributed });
  try {
    return await sampleMany(world, await withDemo(flags));
  } catch (error) {
    throw toCommandError(error);
  }
}

async function sampleMany(world: World, given: SampleManyFlags): Promise<number> {
  const say = (line: string) => world.rank === 0 && console.log(line);
  const path = await inTurn(world, () => findWeights(given));
  using weights = await openSampled(path, given);
  const flags = weights.knowsLatents ? given : { ...given, vae: given.vae ?? USUAL_VAE };
  const settings = settingsOf(flags, weights);
  const vaePath = await inTurn(world, () => samplingAutoencoder(weights, flags));
  weightLines(weights).forEach(say);
  const device = await startDevice(flags, world);
  say(`device   ${deviceText(device)}`);
  if (world.transport !== null) say(`ranks    ${world.size}, ${world.transport}`);
  const record = await recordOf(flags, weights, vaePath, settings, device);
  const advice = "start all ranks with the same files and the same kind of device";
  await agree(world, "what decides the samples", record.settings, advice);
  const count = flags["num-fid-samples"] ?? WHAT["num-fid-samples"].default;
  const { group, labels } = record.settings;
  say(`samples  ${describeSampling(count, settings)}, ${labels} classes`);
  if (group !== null) {
    say(`         computed ${group} at a time: on a GPU bits depend on how many are`);
  }

  const name = folderOf(flags, weights, vaePath, settings);
  const folder = join(flags["sample-dir"] ?? WHERE["sample-dir"].default, name);
  const archive = `${folder}.npz`;
  const store = record.settings.png ? new PngStore(folder) : new PartStore(folder);
  const isThere = await shareFolder(world, { folder, archive, store, count, record });
  if (isThere === null) {
    say(`finished ${archive} has all ${count} samples already`);
    return 0;
  }
  const found = isThere.filter((is) => is).length;
  say(`folder   ${folder}${found > 0 ? `, where ${found} samples are already` : ""}`);
  const { numClasses } = weights.config.dit;
  const kind = { seed: settings.seed, numClasses, balanced: labels === "balanced" };
  const label = (number: number) => labelOf(number, kind);
  using stop = stopRequests(world.rank === 0 ? "stopping; Ctrl-C again stops at once" : null);
  const job = {
    weights,
    vaePath,
    settings,
    dtype: record.settings.dtype,
    group,
    batch: flags["per-proc-batch-size"] ?? WHERE["per-proc-batch-size"].default,
    label,
    isThere,
    store,
  };
  const content = { count, label, madeBy: recordText(record, count) };
  const isWhole = await sampleMissing(world, job, stop) &&
    await archiveSamples(world, archive, { store, content, stop });
  if (isWhole) return 0;
  say("stopped; continue with the same command");
  return EXIT.interrupted;
}

/** What an archive is written from, and what may stop it. */
interface Archiving {
  readonly store: SampleStore;
  readonly content: ArchiveContent;
  readonly stop: StopRequests;
}

/**
 * Rank 0 writes the archive of all samples while the others wait; returns whether it came to the end,
 * and was not stopped. Collective.
 */
async function archiveSamples(
  world: World,
  path: string,
  { store, content, stop }: Archiving,
): Promise<boolean> {
  using line = new ProgressLine("         archive ");
  const start = performance.now();
  const write = async (isStopped: () => boolean): Promise<void> => {
    if (world.rank > 0) return;
    await writeArchive(path, store, content, (done) => {
      line.show(done, content.count);
      if (isStopped()) throw new Stopped();
    });
    await store.clear(content.count);
  };
  const isWhole = await workTogether(world, write, { stop });
  line.end();
  if (world.rank > 0 || !isWhole) return isWhole;
  const { size } = await Deno.stat(path);
  const taken = duration((performance.now() - start) / 1000);
  console.log(
    `written  ${path} (arr_0: ${content.count} pictures, arr_1: their classes, made_by), ` +
      `${bytesText(size)}, ${taken}`,
  );
  return true;
}

function settingsOf(flags: SampleManyFlags, weights: Weights): SampleSettings {
  const usual = {
    sampler: ({ ancestral }: Process): SamplerName => ancestral ? "ddpm" : "dpm++",
    cfgScale: usualCfgScale(weights.cfgScale),
  };
  return samplingSettings(flags, weights, usual, flags["global-seed"] ?? 0);
}

async function recordOf(
  flags: SampleManyFlags,
  { config, source, path }: Weights,
  vaePath: string | null,
  settings: SampleSettings,
  device: Device,
): Promise<SampleRecord> {
  const process = processOf(config.diffusion);
  const { objective, noiseSchedule, diffusionSteps, timeShift = 1 } = config.diffusion;
  const { sampler, steps, eta, cfgScale, cfgChannels, cfgInterval = null, seed } = settings;
  return {
    settings: {
      weights: await weightsDigest(source),
      weightSet: flags.weights ?? MODEL_FLAGS.weights.default,
      model: config.name,
      numHeads: config.dit.numHeads,
      process,
      objective,
      noiseSchedule: takes(process, "noiseSchedule") ? noiseSchedule : null,
      diffusionSteps: takes(process, "diffusionSteps") ? diffusionSteps : null,
      timeShift: takes(process, "timeShift") ? timeShift : null,
      autoencoder: vaePath === null ? null : await autoencoderDigest(vaePath),
      sampler,
      steps,
      eta,
      cfgScale,
      cfgChannels,
      cfgInterval,
      internalScale: settings.internalScale ?? null,
      seed,
      labels: flags["balanced-labels"] ? "balanced" : "random",
      dtype: flags.half ? "f16" : "f32",
      device: device.name,
      group: device.backend.isBatchInvariant ? null : usualBatchSize(config),
      png: flags.png ?? true,
    },
    about: {
      weightsFile: path,
      ...(vaePath === null ? {} : { autoencoderFile: vaePath }),
      // the number of a CPU's threads decides nothing, and is not the same for any number of ranks
      ...(device.name === "webgpu" ? { adapter: device.backend.description } : {}),
      version: String((await readJson(fromFileUrl(PROJECT))).version),
      deno: Deno.version.deno,
    },
  };
}

/** The name of the folder of these samples. */
function folderOf(
  flags: SampleManyFlags,
  { config, kind, path, vaePath: own }: Weights,
  vaePath: string | null,
  { cfgScale, seed }: SampleSettings,
): string {
  const isPublished = flags.ckpt === undefined && flags["image-size"] !== undefined;
  const isFolder = kind === "diffusers" && flags.ckpt !== undefined;
  return folderName({
    model: config.name,
    ckpt: isPublished ? null : isFolder ? basename(resolve(flags.ckpt!)) : path,
    size: config.dit.inputSize * (config.latents?.downsample ?? 1),
    vae: vaePath === null ? "none" : shortName(flags.vae ?? own ?? config.latents!.vae),
    cfgScale,
    seed,
  });
}
