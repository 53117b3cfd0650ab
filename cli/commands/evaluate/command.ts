/**
 * `deno task evaluate`: how close samples are to real images.
 *
 *     deno task evaluate samples.npz VIRTUAL_imagenet256_labeled.npz
 *     deno task evaluate samples.npz photos --json
 */
import { UsageError } from "../../shared/errors.ts";
import { toCommandError } from "../../shared/failures.ts";
import { flagsHelp, parseFlags, splitPositional } from "../../shared/flags.ts";
import { EVALUATE_FLAGS } from "./flags.ts";
import { evaluateWithInception } from "./inception.ts";

const HELP = `Measures how close samples are to real images, by the definitions of the ADM suite.

  deno task evaluate SAMPLES.npz REFERENCE.npz|FOLDER
  deno task evaluate samples.npz VIRTUAL_imagenet256_labeled.npz --json
  deno task evaluate samples.npz photos --metrics fid,kid

SAMPLES.npz has images in arr_0, as deno task sample-many writes it. REFERENCE.npz has images too,
or statistics of them (mu, sigma, mu_s, sigma_s) as the suite's references have; FOLDER has images,
cropped to the samples' size. Features are kept, and can be given as a reference themselves.

${flagsHelp({ "Flags": EVALUATE_FLAGS })}`;

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const [paths, rest] = splitPositional(args, EVALUATE_FLAGS);
  const flags = parseFlags(rest, EVALUATE_FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  const [samples, reference] = paths;
  if (samples === undefined || reference === undefined || paths.length > 2) {
    throw new UsageError(
      `expected SAMPLES.npz and REFERENCE.npz or FOLDER but got ${
        paths.map((path) => `"${path}"`).join(", ") || "neither"
      }`,
    );
  }
  try {
    return await evaluateWithInception(samples, reference, flags);
  } catch (error) {
    throw toCommandError(error);
  }
}
