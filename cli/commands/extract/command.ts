/**
 * `deno task extract-features`: images to latents, once, so that training need not encode them
 * every epoch.
 *
 *     deno task extract-features --data photos --image-size 256
 *     deno task extract-features --data photos --image-size 64 --vae results/vae
 */
import { OutOfMemoryError } from "@dit/core/tensor";
import { openWorld, worldText } from "../../distributed/open.ts";
import { requireSharedFolder } from "../../distributed/share.ts";
import { workTogether } from "../../distributed/together.ts";
import type { World } from "../../distributed/world.ts";
import { findAutoencoder, loadAutoencoder } from "../../model/autoencoder.ts";
import { stopRequests } from "../../run/stop.ts";
import { deviceText, startDevice } from "../../shared/device.ts";
import type { PlanChoice } from "../../tuning/plans.ts";
import { CommandError, EXIT, UsageError } from "../../shared/errors.ts";
import { toCommandError } from "../../shared/failures.ts";
import { prepareFolder } from "../../shared/files.ts";
import { flagsHelp, parseFlags } from "../../shared/flags.ts";
import { allFindings, imagesText, openImages, refuseInside } from "../../shared/images.ts";
import { duration, ProgressLine, rateText } from "../../shared/progress.ts";
import { shellWord } from "../../shared/shell.ts";
import type { Encoding } from "./encode.ts";
import type { Filling } from "./filling.ts";
import { EXTRACT_FLAGS, EXTRACT_GROUPS, type ExtractSettings, extractSettings } from "./flags.ts";
import { agreedSettings, idleText, latentsText, refuseOtherLayout } from "./latent_settings.ts";
import { fillNpy } from "./npy.ts";
import { fillShards } from "./shards.ts";

const HELP = `Makes latents of images by an autoencoder, to train on.

  deno task extract-features --data photos --image-size 256
  deno task extract-features --data photos --image-size 64 --vae results/vae
  deno task train --data features

The same command continues where it was stopped, and ends at once where all is done. Several
processes share the work, and leave the same files: mpirun -n 4 deno task extract-features ...

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
  const world = await openWorld(flags);
  if (world.size > 1 && settings.world > 1) {
    throw new UsageError(
      `--world: expected it without ${world.transport}, which counts the processes itself`,
    );
  }
  try {
    return await extract(settings, world, flags);
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw toCommandError(error);
    throw new CommandError(`${error.message}. Use a smaller --batch-size, or --tile 512`, {
      cause: error,
    });
  }
}

async function extract(
  settings: ExtractSettings,
  world: World,
  { tune }: PlanChoice,
): Promise<number> {
  const { data, out, layout, imageSize, kind, flips, batchSize } = settings;
  /** Prints a line, once for all ranks. */
  const say = (text: string): void => world.rank === 0 ? console.log(text) : undefined;
  if (world.rank === 0) {
    await prepareFolder(out, "--out");
    await refuseOtherLayout(out, layout);
  }
  using line = new ProgressLine("         ");
  await using images = await openImages(data, {
    size: imageSize,
    workers: settings.workers,
    strict: settings.strict,
    cacheBytes: 0, // each is read once
    warn: (message) => line.note(message),
  });
  const path = await findAutoencoder(settings.vae, false);
  const device = await startDevice({ ...settings, tune }, world);
  const vae = await loadAutoencoder(path);
  try {
    if (settings.tile !== null) vae.tiling = { size: settings.tile };
    const latents = await agreedSettings(world, settings, { images, vae, path, device });
    say(`images   ${imagesText(images)}`);
    say(`vae      ${path}, scaling factor ${Number(latents.scalingFactor.toPrecision(5))}`);
    say(`device   ${deviceText(device)}`);
    const ranks = await worldText(world);
    if (ranks !== null) say(`ranks    ${ranks}`);
    say(`latents  ${latentsText(latents)}`);
    const idle = idleText(world.size, latents);
    if (idle !== null) say(`         ${idle}`);
    await requireSharedFolder(world, "--out", out);
    const encoding: Encoding = { vae, images, kind, flips, batchSize };
    using stop = stopRequests(world.rank === 0 ? "stopping; Ctrl-C again stops at once" : null);
    const start = performance.now();
    const part = { rank: settings.rank, world: settings.world };
    const filling = layout === "shards"
      ? await fillShards(world, { out, part }, latents, encoding)
      : await fillNpy(world, out, latents, encoding);
    const progress = new Progress(line, world.rank === 0, filling);
    let done = 0;
    const work = async (isStopped: () => boolean): Promise<void> => {
      for await (const images of filling.steps) {
        done += images;
        if (isStopped()) break;
      }
    };
    await workTogether(world, work, {
      done: () => done,
      onTotal: (total) => progress.show(total),
      stop,
    });
    const { whole } = progress;
    line.end();
    const text = await filling.finish(whole);
    if (!whole) {
      say(`stopped; continue with the same command`);
      return EXIT.interrupted;
    }
    const seconds = (performance.now() - start) / 1000;
    for (const found of await allFindings(world, images)) say(found);
    say(`written  ${out}: ${text}; ${progress.text}, ${duration(seconds)}`);
    if (settings.world === 1) say(`train on them with: deno task train --data ${shellWord(out)}`);
    return 0;
  } finally {
    vae.dispose();
  }
}

/** How far the work has come on all ranks, and how fast. */
class Progress {
  readonly #line: ProgressLine;
  readonly #start = performance.now();
  readonly #shown: boolean;
  readonly #before: number;
  readonly #total: number;
  #done = 0;

  constructor(line: ProgressLine, shown: boolean, { doneBefore, total }: Filling) {
    [this.#line, this.#shown, this.#before, this.#total] = [line, shown, doneBefore, total];
    if (!shown) return;
    if (doneBefore > 0) line.note(`${doneBefore.toLocaleString("en")} images are done already`);
    line.show(doneBefore, total);
  }

  /** Shows that `done` images of this run are done. */
  show(done: number): void {
    this.#done = done;
    if (this.#shown) this.#line.show(this.#before + done, this.#total, this.text);
  }

  /** Whether all are done. */
  get whole(): boolean {
    return this.#before + this.#done === this.#total;
  }

  /** Such as "12.3 images/s", of this run alone. */
  get text(): string {
    if (this.#done === 0) return "nothing was left to do";
    const seconds = (performance.now() - this.#start) / 1000;
    return rateText(this.#done / seconds, "images");
  }
}
