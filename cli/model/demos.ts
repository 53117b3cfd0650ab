/** Weights that come with the project, to sample from without training: a row each. */
import { fromFileUrl, join } from "@std/path";
import { CommandError, UsageError } from "../shared/errors.ts";
import { exists } from "../shared/files.ts";
import { choice, type Flag } from "../shared/flags.ts";

/** Weights in `cli/demo/`. */
export interface Demo {
  /** What they draw. */
  readonly about: string;
  /** The command that makes them, but for `--export-demo`. */
  readonly madeBy: string;
}

/** The demos by name; a file is called as its demo. */
export const DEMOS = {
  "mnist": { about: "handwritten digits", madeBy: "deno task train" },
  "emoji": { about: "emoji in four styles", madeBy: "deno task train --data emoji" },
} as const satisfies Record<string, Demo>;

/** A name of {@link DEMOS}. */
export type DemoName = keyof typeof DEMOS;

/** Every name, the one that is sampled from where there is no run first. */
export const DEMO_NAMES = Object.keys(DEMOS) as DemoName[];

/** Where they are. */
const FOLDER = fromFileUrl(new URL("../demo", import.meta.url));

/** The file of a demo. */
export function demoPath(name: DemoName, folder: string = FOLDER): string {
  return join(folder, `${name}.safetensors`);
}

/** `--demo`. */
export const DEMO_FLAG: Flag<DemoName> = choice(
  DEMO_NAMES,
  `weights that come along: ${
    DEMO_NAMES.map((name) => `${name}, ${DEMOS[name].about}`).join("; ")
  }`,
);

/** What decides which weights are meant. */
interface Meant {
  readonly demo?: DemoName;
  readonly ckpt?: string;
  readonly "image-size"?: unknown;
}

/**
 * Flags as if the file of `--demo` had been given; as they are without it.
 *
 * @param folder Where the files are.
 * @throws {UsageError} where other weights are given too.
 * @throws {CommandError} where the file is missing.
 */
export async function withDemo<Flags extends Meant>(
  given: Flags,
  folder?: string,
): Promise<Flags> {
  const { demo } = given;
  if (demo === undefined) return given;
  const other = (["ckpt", "image-size"] as const).find((name) => given[name] !== undefined);
  if (other !== undefined) {
    throw new UsageError(`expected --demo or --${other} but got both, which name weights`);
  }
  const ckpt = demoPath(demo, folder);
  const { madeBy }: Demo = DEMOS[demo];
  if (await exists(ckpt)) return { ...given, ckpt };
  throw new CommandError(
    `--demo ${demo}: expected its weights in ${ckpt} but found nothing there; make them with: ` +
      `${madeBy} --export-demo ${ckpt}`,
  );
}
