/**
 * `deno task extract-features`: images to latents, once, so that training need not encode them
 * every epoch.
 *
 *     deno task extract-features --data photos --image-size 256
 *     deno task extract-features --data photos --image-size 64 --vae results/vae
 */
import { OutOfMemoryError } from "@dit/core/tensor";
import type { AutoencoderKL } from "@dit/core/vae";
import {
  type ImageFolder,
  LatentDataset,
  type LatentSettings,
  LatentWriter,
  loadManifest,
} from "@dit/data";
import { deviceText, startDevice } from "../../shared/device.ts";
import { CommandError, EXIT, UsageError } from "../../shared/errors.ts";
import { encodeAll, type Encoding } from "./encode.ts";
import { EXTRACT_FLAGS, EXTRACT_GROUPS, type ExtractSettings, extractSettings } from "./flags.ts";
import { NpyFolder, npySettings } from "./npy.ts";
import { exists, removeTemporaries } from "../../shared/files.ts";
import { flagsHelp, parseFlags } from "../../shared/flags.ts";
import { findings, imagesText, openImages, refuseInside } from "../../shared/images.ts";
import { duration, ProgressLine } from "../../shared/progress.ts";
import {
  autoencoderDigest,
  findAutoencoder,
  fullName,
  isPublished,
  loadAutoencoder,
} from "../../model/autoencoder.ts";
import { toCommandError } from "../../shared/failures.ts";
import { type StopRequests, stopRequests } from "../../run/stop.ts";

const HELP = `Makes latents of images by an autoencoder, to train on.

  deno task extract-features --data photos --image-size 256
  deno task extract-features --data photos --image-size 64 --vae results/vae
  deno task train --data features

The same command continues where it was stopped, and ends at once where all is done.

${flagsHelp(EXTRACT_GROUPS)}`;

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args, EXTRACT_FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  const settings = extractSettings(flags);
  refuseInside("--out", settings.out, settings.data);
  try {
    return await extract(settings);
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw toCommandError(error);
    throw new CommandError(`${error.message}. Use a smaller --batch-size, or --tile 512`, {
      cause: error,
    });
  }
}

/** What both layouts are filled by. */
interface Work {
  readonly encoding: Encoding;
  readonly latents: LatentSettings;
  readonly stop: StopRequests;
}

async function extract(settings: ExtractSettings): Promise<number> {
  const { data, out, layout, imageSize } = settings;
  using line = new ProgressLine("         ");
  await using images = await openImages(data, {
    size: imageSize,
    workers: settings.workers,
    strict: settings.strict,
    cacheBytes: 0, // each is read once
    warn: (message) => line.note(message),
  });
  await refuseOtherLayout(out, layout);
  const path = await findAutoencoder(settings.vae, false);
  const device = await startDevice(settings.device);
  const vae = await loadAutoencoder(path);
  try {
    if (settings.tile !== null) vae.tiling = { size: settings.tile };
    const latents = await latentSettings(settings, images, vae, path);
    console.log(`images   ${imagesText(images)}`);
    console.log(`vae      ${path}, scaling factor ${Number(latents.scalingFactor.toPrecision(5))}`);
    console.log(`device   ${deviceText(device)}`);
    console.log(`latents  ${latentsText(latents)}`);
    const { kind, flips, batchSize } = settings;
    const encoding: Encoding = { vae, images, kind, flips, batchSize };
    using stop = stopRequests("stopping; Ctrl-C again stops at once");
    const work: Work = { encoding, latents, stop };
    const start = performance.now();
    const progress = new Progress(line);
    const text = layout === "shards"
      ? await fillShards(settings, work, progress)
      : await fillNpy(settings, work, progress);
    line.end();
    if (text === null) {
      console.log(`stopped; continue with the same command`);
      return EXIT.interrupted;
    }
    const seconds = (performance.now() - start) / 1000;
    for (const found of findings(images)) console.log(found);
    console.log(`written  ${out}: ${text}; ${progress.text}, ${duration(seconds)}`);
    if (settings.world === 1) console.log(`train on them with: deno task train --data ${out}`);
    return 0;
  } finally {
    vae.dispose();
  }
}

/** Fills a folder shard by shard; null where it was stopped. */
async function fillShards(
  { out, rank, world }: ExtractSettings,
  { encoding, latents, stop }: Work,
  progress: Progress,
): Promise<string | null> {
  const writer = await LatentWriter.open(out, latents, { rank, world });
  if (world === 1) await removeTemporaries(out);
  const mine = writer.remaining.reduce((sum, { first, end }) => sum + end - first, 0);
  progress.begin(writer.doneBefore, writer.doneBefore + mine);
  for (const plan of writer.remaining) {
    const shard = writer.begin(plan);
    for await (const { batch, asked } of encodeAll(encoding, range(plan.first, plan.end))) {
      shard.add(batch);
      progress.add(asked);
      if (stop.requested) return null;
    }
    await shard.commit();
  }
  if (world > 1) return `the shards of process ${rank} of ${world} are complete`;
  using dataset = await LatentDataset.open(out);
  return `${dataset.size.toLocaleString("en")} latents`;
}

/** Fills a folder file by file; null where it was stopped. */
async function fillNpy(
  { out }: ExtractSettings,
  { encoding, latents, stop }: Work,
  progress: Progress,
): Promise<string | null> {
  const folder = await NpyFolder.open(out, latents);
  const { remaining } = folder;
  progress.begin(latents.count - remaining.length, latents.count);
  for await (const { batch, asked } of encodeAll(encoding, remaining)) {
    await folder.write(batch);
    progress.add(asked);
    if (stop.requested) return null;
  }
  return `${(await folder.check()).toLocaleString("en")} latents`;
}

/** How far the work has come, and how fast. */
class Progress {
  readonly #line: ProgressLine;
  #start = 0;
  #before = 0;
  #done = 0;
  #total = 0;

  constructor(line: ProgressLine) {
    this.#line = line;
  }

  /** Starts the clock; `done` images were encoded before. */
  begin(done: number, total: number): void {
    [this.#before, this.#done, this.#total, this.#start] = [done, done, total, performance.now()];
    if (done > 0) this.#line.note(`${done.toLocaleString("en")} images are done already`);
    this.#line.show(done, total);
  }

  /** Counts images. */
  add(count: number): void {
    this.#done += count;
    this.#line.show(this.#done, this.#total, this.text);
  }

  /** Such as "12.3 images/s", of this run alone. */
  get text(): string {
    if (this.#done === this.#before) return "nothing was left to do";
    const seconds = (performance.now() - this.#start) / 1000;
    return `${((this.#done - this.#before) / seconds).toPrecision(3)} images/s`;
  }
}

/** How the latents are made: stored with them, and compared when an extraction is continued. */
async function latentSettings(
  settings: ExtractSettings,
  images: ImageFolder,
  vae: AutoencoderKL,
  path: string,
): Promise<LatentSettings> {
  const { imageSize, kind, flips, dtype, shardSize, out, layout, tile } = settings;
  const { inChannels, latentChannels } = vae.options;
  if (imageSize % vae.factor !== 0) {
    throw new UsageError(
      `--image-size: expected a multiple of ${vae.factor}, the pixels of the autoencoder's ` +
        `latents, but got ${imageSize}`,
    );
  }
  if (inChannels !== images.channels) {
    throw new CommandError(
      `${path}: expected an autoencoder of colour images but it takes ${inChannels} channels`,
    );
  }
  const sha256 = await autoencoderDigest(path);
  // The same weights under another path are the same autoencoder.
  const before = layout === "shards" ? (await loadManifest(out))?.settings : await npySettings(out);
  const name = before?.vae.sha256 === sha256
    ? before.vae.name
    : isPublished(settings.vae)
    ? fullName(settings.vae)
    : path;
  const side = imageSize / vae.factor;
  return {
    vae: { name, sha256 },
    imageSize,
    latentShape: [latentChannels, side, side],
    scalingFactor: vae.scalingFactor,
    kind,
    flips,
    dtype,
    classNames: images.classNames,
    count: images.size,
    files: await images.namesDigest(),
    tile,
    shardSize,
  };
}

/** A folder has one layout. */
async function refuseOtherLayout(out: string, layout: ExtractSettings["layout"]): Promise<void> {
  if (!await exists(out)) return;
  const other = layout === "shards"
    ? await npySettings(out) && "npy"
    : await loadManifest(out) && "shards";
  if (other) {
    throw new UsageError(
      `--layout: expected ${other}, as ${out} is, but got ${layout}; take another --out`,
    );
  }
}

function latentsText(
  { latentShape, kind, flips, dtype, shardSize, count }: LatentSettings,
): string {
  const what = kind === "sample" ? "samples" : "means and deviations";
  const sides = flips ? "of images and their mirror images" : "of images";
  const shards = shardSize === 1 ? "a file each" : `${Math.ceil(count / shardSize)} shards`;
  return `${latentShape.join("x")} ${dtype}, ${what} ${sides}, ${shards}`;
}

function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, i) => first + i);
}
