/** The flags of `deno task sample`. */
import { type ClassLabels, resolveClasses } from "../../shared/class_names.ts";
import { SHOWN, shownClasses } from "../../shared/classes.ts";
import { DEVICE_FLAGS, HELP } from "../../shared/common_flags.ts";
import { SAMPLE_OUT } from "../../shared/defaults.ts";
import {
  count,
  type FlagValues,
  text,
  toggle,
  withDefault,
  withDefaultText,
} from "../../shared/flags.ts";
import { OVERRIDE_FLAGS } from "../../model/overrides.ts";
import { HALF, MODEL_FLAGS, samplingFlags } from "../../model/sampling_flags.ts";

/** The sampler where none is named: of a model of one's own, and of a published one. */
export const USUAL_SAMPLER = { own: "dpm++", published: "ddpm" } as const;

/** Samples a file or folder is made of at most: more are a typing error. */
const MOST_SAMPLES = 1e7;

/** What to sample. */
export const WHAT = {
  ...MODEL_FLAGS,
  "classes": withDefaultText(
    text("LIST", "numbers or names of classes, such as 3,7"),
    "some of all",
  ),
  "n": withDefaultText(
    count("pictures; classes are gone through again and again", 1, MOST_SAMPLES),
    "one or more each",
  ),
  "seed": withDefault(count("sample k draws from stream k of this seed", 0), 0),
} as const;

/** How to sample. */
export const HOW = samplingFlags({
  sampler: `${USUAL_SAMPLER.own}; with --image-size ${USUAL_SAMPLER.published}`,
  cfgScale: "that of training, otherwise 4; models of pixels 1.5",
});

/** Where it runs and where pictures go. */
export const WHERE = {
  "out": withDefault(
    text("FILE.png|FILE.npz|DIR", "a grid, an archive for evaluation, or single pictures"),
    SAMPLE_OUT,
  ),
  "progressive": toggle("a grid with a row of steps for each sample"),
  "batch-size": withDefaultText(
    count("samples at a time; no picture depends on it, but for last bits on a GPU"),
    "by model size",
  ),
  "half": HALF,
  ...DEVICE_FLAGS,
  "help": HELP,
} as const;

/** All flags. */
export const SAMPLE_FLAGS = { ...WHAT, ...HOW, ...WHERE, ...OVERRIDE_FLAGS } as const;

/** What was given. */
export type SampleFlags = FlagValues<typeof SAMPLE_FLAGS>;

/** The classes of the original's sample.py. */
export const ORIGINAL_CLASSES: readonly number[] = [207, 360, 387, 974, 88, 979, 417, 279];

/**
 * The class of each sample, and how many stand in a row of the grid.
 *
 * @param labels What classes are called; may be empty.
 * @throws {UsageError} where a class is not one of the model's, or a name fits several.
 */
export function planLabels(
  flags: Pick<SampleFlags, "classes" | "n" | "progressive">,
  numClasses: number,
  labels: ClassLabels,
  usual?: readonly number[],
): { labels: number[]; columns: number } {
  const asked = flags.classes === undefined
    ? undefined
    : resolveClasses(flags.classes, numClasses, labels);
  const cycle = asked ?? usual ?? shownClasses(numClasses);
  const rows = asked || usual || flags.progressive ? 1 : SHOWN.each;
  const n = flags.n ?? cycle.length * rows;
  const planned = Array.from({ length: n }, (_, i) => cycle[i % cycle.length]!);
  // a class a column, where there are several of each
  const columns = n > cycle.length && cycle.length > 1 && cycle.length <= 16
    ? cycle.length
    : usual
    ? 4
    : Math.min(16, Math.ceil(Math.sqrt(n)));
  return { labels: planned, columns };
}
