/** `deno task download`: published weights into `pretrained_models/`, pictures to train on. */
import { makeEmoji3DFolder, makeEmojiFolder } from "@dit/data";
import { join } from "@std/path";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { exists } from "../../shared/files.ts";
import { HELP as HELP_FLAG } from "../../shared/common_flags.ts";
import {
  count,
  flagsHelp,
  parseFlags,
  splitPositional,
  text,
  withDefault,
  withDefaultText,
} from "../../shared/flags.ts";
import { obtain, sizeText } from "../../model/pretrained.ts";
import { namedData } from "../../shared/named_data.ts";
import { ProgressLine } from "../../shared/progress.ts";
import { shellWord } from "../../shared/shell.ts";
import {
  isPictures,
  MIRROR_VARIABLE,
  PICTURES,
  type PicturesName,
  PRETRAINED,
  PRETRAINED_FOLDER,
  type PretrainedName,
  pretrainedName,
  pretrainedPath,
} from "../../model/catalog.ts";
import { checkInceptionFile } from "../../evaluation/inception_extractor.ts";
import { toCommandError } from "../../shared/failures.ts";

const FLAGS = {
  "dir": withDefaultText(
    text("DIR", "where to put it"),
    `${PRETRAINED_FOLDER} for weights, here for pictures`,
  ),
  "size": withDefault(count("side of the pictures in pixels", 1, 256), 64),
  "classes": withDefaultText(text("NAME,...", "classes of the pictures"), "all"),
  "help": HELP_FLAG,
} as const;

const HELP = `Downloads published weights. What has arrived is kept and continued next time.

  deno task download                       what there is
  deno task download DiT-XL-2-256x256 sd-vae-ft-mse
  deno task download emoji-3d              a folder of pictures to train on, for practice

${flagsHelp({ "Flags": FLAGS })}

Proxies are those of HTTPS_PROXY and NO_PROXY. ${MIRROR_VARIABLE} is the address of a folder to download
from instead of the makers' sites; files are named there as in ${PRETRAINED_FOLDER}.`;

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const [given, rest] = splitPositional(args, FLAGS);
  const { dir, size, classes, help } = parseFlags(rest, FLAGS);
  if (help) {
    console.log(HELP);
    return 0;
  }
  const names = given.filter((name) => !isPictures(name)).map((name) => {
    try {
      return pretrainedName(name);
    } catch (error) {
      if (error instanceof CommandError) throw new UsageError(error.message, { cause: error });
      throw error;
    }
  });
  const forPictures = Object.entries({ size, classes }).find(([, value]) => value !== undefined);
  const pictures = given.filter(isPictures);
  if (forPictures && pictures.length === 0) {
    const known = Object.keys(PICTURES).join(", ");
    throw new UsageError(`--${forPictures[0]}: expected pictures to download (${known}) with it`);
  }
  if (given.length === 0) await list(dir);
  for (const name of new Set(names)) {
    const was = await exists(pretrainedPath(name, dir));
    const path = await obtain(name, dir, true);
    if (name === "inception") await checkInceptionFile(path);
    console.log(was ? `${path} is there already` : `${path} is there, whole and checked`);
  }
  for (const name of new Set(pictures)) {
    await makePictures(
      name,
      join(dir ?? ".", name),
      size,
      classes?.split(",").map((name) => name.trim()),
    );
  }
  return 0;
}

const MAKERS = {
  "emoji": makeEmojiFolder,
  "emoji-3d": makeEmoji3DFolder,
} satisfies Record<PicturesName, unknown>;

/** Makes a folder of pictures, of npm packages. */
async function makePictures(
  name: PicturesName,
  folder: string,
  size: number = FLAGS.size.default,
  classes?: readonly string[],
): Promise<void> {
  using line = new ProgressLine("         ");
  const counts = await MAKERS[name](folder, {
    size,
    ...(classes ? { classes } : {}),
    onProgress: (done, total) => line.show(done, total, "pictures"),
  }).catch((error) => {
    throw toCommandError(error);
  });
  line.end();
  const all = [...counts.values()].reduce((a, b) => a + b);
  const sorted = [...counts].sort(([a], [b]) => a < b ? -1 : 1);
  console.log(`${folder}: ${all.toLocaleString("en")} pictures of ${size}x${size}`);
  console.log(`  ${sorted.map(([name, n]) => `${name} ${n}`).join(", ")}`);
  const data = namedData(folder) ? `./${folder}` : folder; // the folder, not the data of that name
  console.log(`train on them with: deno task train --data ${shellWord(data)}`);
}

async function list(folder = PRETRAINED_FOLDER): Promise<void> {
  const rows = Object.entries(PRETRAINED);
  const wide = Math.max(...rows.map(([name]) => name.length));
  for (const [name, known] of rows) {
    const here = await exists(pretrainedPath(name as PretrainedName, folder)) ? "  (there)" : "";
    console.log(`${name.padEnd(wide)}  ${sizeText(known).padStart(13)}  ${known.about}${here}`);
  }
  for (const [name, { about, size }] of Object.entries(PICTURES)) {
    console.log(`${name.padEnd(wide)}  ${size.padStart(13)}  ${about}; over npm`);
  }
}
