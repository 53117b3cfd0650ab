/** What an evaluation found: as one object for programs, and as lines for people. */
import type { Metric } from "./flags.ts";

/** The result; null for what was not asked for, or cannot be known. */
export interface Evaluation {
  readonly fid: number | null;
  readonly sfid: number | null;
  readonly inceptionScore: number | null;
  readonly precision: number | null;
  readonly recall: number | null;
  readonly kid: number | null;
  /** How many samples. */
  readonly samples: number;
  /** What made them, as their archive says it: an object, or a text; null where it says nothing. */
  readonly madeBy: unknown;
}

/** The figures of an evaluation. */
export type Figures = Omit<Evaluation, "samples" | "madeBy">;

const LINES: readonly (readonly [key: keyof Figures, metric: Metric, title: string])[] = [
  ["fid", "fid", "FID"],
  ["sfid", "sfid", "sFID"],
  ["inceptionScore", "inception-score", "Inception Score"],
  ["precision", "precision", "precision"],
  ["recall", "recall", "recall"],
  ["kid", "kid", "KID"],
];

/** Lines of the figures that were asked for. */
export function figureLines(
  figures: Figures,
  metrics: readonly Metric[],
  kidDeviation: number,
): string[] {
  return LINES.filter(([, metric]) => metrics.includes(metric)).map(([key, , title]) => {
    const value = figures[key];
    const shown = value === null ? "-" : value.toPrecision(6);
    const spread = key === "kid" && value !== null && kidDeviation > 0
      ? ` ± ${kidDeviation.toPrecision(2)} a subset`
      : "";
    return `${title.padEnd(16)} ${shown}${spread}`;
  });
}

/** The text of an archive that says what its samples were made by, read where it is JSON. */
export function madeByOf(text: string | undefined): unknown {
  if (text === undefined) return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Fewer samples than this make FID larger than it is with the usual 50,000. */
export const ENOUGH_SAMPLES = 10_000;

/** What few samples do to the figures; null where there are enough. */
export function fewSamplesWarning(samples: number, metrics: readonly Metric[]): string | null {
  const biased = metrics.filter((metric) => metric === "fid" || metric === "sfid");
  if (samples >= ENOUGH_SAMPLES || biased.length === 0) return null;
  const names = biased.map((metric) => metric === "fid" ? "FID" : "sFID").join(" and ");
  return `WARNING: ${samples.toLocaleString("en")} samples are too few for ${names}: fewer than ` +
    `${
      ENOUGH_SAMPLES.toLocaleString("en")
    } make them larger than they are, so they compare with no ` +
    `figure that is published (50,000 samples), nor with one of another number of samples. DiT-XL/2 ` +
    `at 512x512 has 3.04 with 50,000 and 6.05 with 10,000. KID does not depend on the number.`;
}

/**
 * Classes without a sample, as a warning; null where there are none.
 *
 * @param reference A class an image; each is expected among the samples.
 * @param whose Says whose classes they are: `the reference has`.
 */
export function missingClassesWarning(
  labels: Int32Array,
  reference: Int32Array,
  classNames: readonly string[] | null,
  whose: string,
): string | null {
  const found = new Set(labels);
  const wanted = [...new Set(reference)].sort((a, b) => a - b);
  const missing = wanted.filter((label) => !found.has(label));
  if (missing.length === 0) return null;
  const names = missing.slice(0, 8).map((label) =>
    classNames?.[label] === undefined ? `${label}` : `${label} (${classNames[label]})`
  );
  const more = missing.length > 8 ? ", ..." : "";
  return `WARNING: no samples of ${missing.length} of ${wanted.length} classes that ${whose}: ` +
    `${names.join(", ")}${more}; the figures compare with those of all classes`;
}
