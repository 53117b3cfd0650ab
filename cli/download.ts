/** `deno task download`: published weights into `pretrained_models/`. */
import { CommandError, UsageError } from "./errors.ts";
import { flagsHelp, parseFlags, text, toggle } from "./flags.ts";
import { isThere, obtain, sizeText } from "./pretrained.ts";
import {
  MIRROR_VARIABLE,
  PRETRAINED,
  PRETRAINED_FOLDER,
  type PretrainedName,
  pretrainedName,
  pretrainedPath,
} from "./sources/catalog.ts";

const FLAGS = {
  "dir": text("DIR", `the folder that files go to (default ${PRETRAINED_FOLDER})`),
  "help": toggle("this"),
} as const;

const HELP = `Downloads published weights. What has arrived is kept and continued next time.

  deno task download                       what there is
  deno task download DiT-XL-2-256x256 sd-vae-ft-mse

${flagsHelp({ "Flags": FLAGS })}

Proxies are those of HTTPS_PROXY and NO_PROXY. ${MIRROR_VARIABLE} is the address of a folder to download
from instead of the makers' sites; files are named there as in ${PRETRAINED_FOLDER}.`;

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const [given, rest] = splitNames(args);
  const { dir = PRETRAINED_FOLDER, help } = parseFlags(rest, FLAGS);
  if (help) {
    console.log(HELP);
    return 0;
  }
  const names = given.map((name) => {
    try {
      return pretrainedName(name);
    } catch (error) {
      if (error instanceof CommandError) throw new UsageError(error.message, { cause: error });
      throw error;
    }
  });
  if (names.length === 0) await list(dir);
  for (const name of new Set(names)) {
    const was = await isThere(pretrainedPath(name, dir));
    const path = await obtain(name, dir, true);
    console.log(was ? `${path} is there already` : `${path} is there, whole and checked`);
  }
  return 0;
}

/** Names stand before, between or after flags. */
function splitNames(args: readonly string[]): [names: string[], flags: string[]] {
  const names: string[] = [];
  const flags: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (!arg.startsWith("-")) names.push(arg);
    else flags.push(...(arg === "--dir" ? args.slice(i, ++i + 1) : [arg]));
  }
  return [names, flags];
}

async function list(folder: string): Promise<void> {
  const rows = Object.entries(PRETRAINED);
  const wide = Math.max(...rows.map(([name]) => name.length));
  for (const [name, { about, bytes, exact }] of rows) {
    const here = await isThere(pretrainedPath(name as PretrainedName, folder)) ? "  (there)" : "";
    console.log(`${name.padEnd(wide)}  ${sizeText(bytes, exact).padStart(13)}  ${about}${here}`);
  }
}
