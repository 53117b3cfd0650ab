/**
 * `deno task evaluate`: how close samples are to real images.
 *
 *     deno task evaluate samples.npz VIRTUAL_imagenet256_labeled.npz
 *     deno task evaluate samples.npz photos --json
 */
import { UsageError } from "../../shared/errors.ts";
import { toCommandError } from "../../shared/failures.ts";
import { isFolder } from "../../shared/files.ts";
import { flagsHelp, parseFlags, splitPositional } from "../../shared/flags.ts";
import { refuseInside } from "../../shared/images.ts";
import { evaluateWithClassifier } from "./classifier.ts";
import { EVALUATE_FLAGS } from "./flags.ts";
import { evaluateWithInception } from "./inception.ts";

const HELP = `Measures how close samples are to real images, by the definitions of the ADM suite.

  deno task evaluate SAMPLES.npz REFERENCE.npz|FOLDER
  deno task evaluate samples.npz VIRTUAL_imagenet256_labeled.npz --json
  deno task evaluate samples.npz photos --metrics fid,kid
  deno task evaluate samples.npz photos --features classifier

SAMPLES.npz has images in arr_0, as deno task sample-many writes it. REFERENCE.npz has images too,
or statistics of them (mu, sigma, mu_s, sigma_s) as the suite's references have; FOLDER has images,
cropped to the samples' size. Features are kept, and can be given as a reference themselves.

With --features classifier a small classifier is trained on the reference's classes, once: images
with classes in arr_1, a subfolder a class, or data that --data of train names, such as mnist. It
says how many samples are what was asked for, compares distributions in its own features (which is
no FID), and shows the training pictures nearest to samples, whether they were memorised.

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
    if (await isFolder(reference)) {
      const cache = flags.cache ?? EVALUATE_FLAGS.cache.default;
      refuseInside("--cache", cache, reference, "the reference");
    }
    return flags.features === "classifier"
      ? await evaluateWithClassifier(samples, reference, flags)
      : await evaluateWithInception(samples, reference, flags);
  } catch (error) {
    throw toCommandError(error);
  }
}
