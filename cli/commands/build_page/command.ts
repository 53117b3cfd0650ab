/**
 * `deno task build-page`: the studio's page as static files, for any web server or host of files.
 *
 *     deno task build-page site                      the demo's model, and digits to train on
 *     deno task build-page site --ckpt results/003-DiT-Mini-4 --data none
 */
import { writeAtomically } from "@dit/core/io";
import { ADDRESSES, bundleModule, PAGE_FILES, type Site } from "@dit/web";
import { basename, dirname, join } from "@std/path";
import { withDemo } from "../../model/demos.ts";
import { MODEL_FLAGS } from "../../model/sampling_flags.ts";
import { OVERRIDE_FLAGS } from "../../model/overrides.ts";
import { HELP as HELP_FLAG } from "../../shared/common_flags.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { toCommandError } from "../../shared/failures.ts";
import { exists, makeFolder, prepareFolder, writeWhole } from "../../shared/files.ts";
import {
  flagsHelp,
  type FlagValues,
  parseFlags,
  splitPositional,
  withDefaultText,
} from "../../shared/flags.ts";
import { bytesText, ProgressLine } from "../../shared/progress.ts";
import { shellWord } from "../../shared/shell.ts";
import { TRAIN_FLAGS } from "../train/flags.ts";
import { idOf, isWithin } from "../serve/folders.ts";
import type { ServedFile } from "../serve/http/ranges.ts";
import { Models, type ServedModel } from "../serve/models.ts";
import { autoencoderFile, weightsFile } from "../serve/weights_of.ts";
import { TRAINING_NAMES, trainingFiles } from "./training_files.ts";

const { ckpt, demo, weights, vae } = MODEL_FLAGS;
const { data } = TRAIN_FLAGS;

const FLAGS = {
  "ckpt": withDefaultText(ckpt, "the demo's"),
  "demo": demo,
  "weights": weights,
  "vae": vae,
  "data": {
    ...data,
    help: `what the page trains a small model on: ${data.help}; none leaves it out`,
  },
  "help": HELP_FLAG,
} as const;
const ALL_FLAGS = { ...FLAGS, ...OVERRIDE_FLAGS } as const;

const HELP =
  `Writes the studio's page as static files: it samples in the visitor's browser, and trains there.

  deno task build-page site                    the demo's model, and digits to train on
  deno task build-page site --ckpt results/003-DiT-Mini-4
  deno task build-page site --data photos      what it trains on: a subfolder of images a class

Any web server or host of files will do, under any path: no server of this project's is needed, nor
settings of another one. Opened as file://, without a server, browsers load none of it. The page's
modules are bundled by esbuild, which Deno takes from npm the first time.

${flagsHelp({ "Flags": FLAGS, "Of weights in files that do not say it": OVERRIDE_FLAGS })}`;

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const [places, rest] = splitPositional(args, ALL_FLAGS);
  const flags = parseFlags(rest, ALL_FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  const [folder, ...others] = places;
  if (folder === undefined || folder === "" || others.length > 0) {
    throw new UsageError(
      `expected one folder to write to, such as "site", but got ${places.length || "none"}`,
    );
  }
  try {
    await build(folder, await withDemo(flags));
  } catch (error) {
    throw toCommandError(error);
  }
  return 0;
}

async function build(folder: string, flags: FlagValues<typeof ALL_FLAGS>): Promise<void> {
  await prepareSite(folder);
  const model = await findModel(flags);
  const autoencoder = await autoencoderFile(model); // refused here, before anything is removed
  for (const path of [model.path, model.vaePath ?? model.path]) {
    if (!await isWithin(path, folder)) continue;
    throw new CommandError(`${path}: expected weights outside of ${folder}, which is written anew`);
  }
  console.log(`model    ${model.info.title}, ${bytesText(model.info.bytes)}`);
  const name = flags.data ?? FLAGS.data.defaults.small;
  const training = name === "none" ? null : await trainingFiles(name);
  if (training) console.log(`training ${training.plan.title}, ${bytesText(training.plan.bytes)}`);

  await removeFormer(folder);
  const { id } = model.info;
  const site: Site = { hasServer: false, trainingData: training ? training.name : null };
  await writeFile(folder, ADDRESSES.site, json(site));
  await writeFile(folder, ADDRESSES.models, json({ models: [model.info] }));
  await writeServed(folder, ADDRESSES.weights(id), await weightsFile(model));
  if (autoencoder) await writeServed(folder, ADDRESSES.autoencoder(id), autoencoder);
  if (training) {
    await writeFile(folder, training.name, json(training.plan));
    await writeFile(folder, training.plan.data, training.images);
  }
  console.log("page     bundled by esbuild, from npm the first time");
  using line = new ProgressLine("         writing ");
  for (const [i, { name, source, isBundled }] of PAGE_FILES.entries()) {
    line.show(i, PAGE_FILES.length, "files");
    await writeFile(
      folder,
      name,
      isBundled ? await bundleModule(source) : await Deno.readFile(source),
    );
  }
  line.end();
  console.log(
    `written  ${folder}: put it on any web server, or try it with: npx -y serve ${
      shellWord(folder)
    }`,
  );
}

/** Makes the folder, unless it is there, and refuses one that holds something else. */
async function prepareSite(folder: string): Promise<void> {
  await prepareFolder(folder);
  for await (const _ of Deno.readDir(folder)) {
    if (await isPage(folder)) return;
    throw new CommandError(
      `${folder}: expected a new folder, an empty one or one that this command wrote, but found ` +
        "other files in it",
    );
  }
}

/** Whether a folder holds a page that was built before. */
async function isPage(folder: string): Promise<boolean> {
  try {
    const site: unknown = JSON.parse(await Deno.readTextFile(join(folder, ADDRESSES.site)));
    return typeof (site as Partial<Site> | null)?.hasServer === "boolean";
  } catch { // there is none, or it is of something else
    return false;
  }
}

/**
 * Removes weights and training images of a page that was built before: they may be of another model,
 * and of pictures that are no longer to be given to visitors.
 */
async function removeFormer(folder: string): Promise<void> {
  const models = dirname(dirname(ADDRESSES.weights("any")));
  for (const name of [models, ...Object.values(TRAINING_NAMES)]) {
    const path = join(folder, name);
    if (await exists(path)) await Deno.remove(path, { recursive: true });
  }
}

async function findModel(flags: FlagValues<typeof ALL_FLAGS>): Promise<ServedModel> {
  const { ckpt, data: _, demo: _demo, ...sampling } = flags;
  const models = new Models({ results: null, ckpt, flags: sampling });
  await models.checkCkpt();
  const id = ckpt === undefined ? "demo" : idOf("ckpt", basename(ckpt));
  const model = await models.find(id);
  if (model === undefined) {
    const reason = await models.reasonOf(id) ?? "cannot be read";
    throw new CommandError(`${ckpt ?? "the demo's weights"}: ${reason}`);
  }
  if (model.info.isLatent && model.vaePath === null) {
    throw new CommandError(
      `${ckpt}: this model makes latents, and its autoencoder is not here; name it with --vae`,
    );
  }
  return model;
}

function json(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`);
}

async function writeFile(
  folder: string,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const path = join(folder, name);
  await makeFolder(dirname(path));
  await writeWhole(path, bytes);
}

async function writeServed(folder: string, name: string, file: ServedFile): Promise<void> {
  const path = join(folder, name);
  await makeFolder(dirname(path));
  await writeAtomically(path, async (sink) => {
    let at = 0;
    for await (const part of file.read(0, file.size)) {
      await sink.writeAt(at, part);
      at += part.length;
    }
  });
}
