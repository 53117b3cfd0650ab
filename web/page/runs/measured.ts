/** What runs measure, and how each of it is charted. */
import type { RunMetrics } from "../../runs.ts";

/** A chart of something measured. */
export interface Measure {
  /** Its name in a line of metrics. */
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly isLogarithmic: boolean;
  readonly isSmooth: boolean;
}

/** How a measure is charted where nothing else is said. */
const PLAIN = { unit: "", isLogarithmic: false, isSmooth: false } as const;

/** Known ones in the order in which they are shown; others come after evaluations, by name. */
const KNOWN: Readonly<Record<string, Omit<Measure, "name">>> = {
  loss: { ...PLAIN, title: "Loss", isLogarithmic: true, isSmooth: true },
  frechetDistance: {
    ...PLAIN,
    title: "Fréchet distance",
    unit: "of samples to the data; lower is better",
    isLogarithmic: true,
  },
  kid: { ...PLAIN, title: "KID", unit: "about 0 where samples are as the data" },
  accuracy: { ...PLAIN, title: "Accuracy", unit: "of samples, by the classifier" },
  precision: { ...PLAIN, title: "Precision", unit: "share of samples among the data" },
  recall: { ...PLAIN, title: "Recall", unit: "share of the data among samples" },
  nearestRatio: {
    ...PLAIN,
    title: "Nearest training picture",
    unit: "distance over that of held-out pictures; near 0 is memorised",
  },
};

/** Known ones that come last. */
const LAST: typeof KNOWN = {
  imagesPerSecond: { ...PLAIN, title: "Speed", unit: "images a second" },
  gradNorm: {
    ...PLAIN,
    title: "Gradient norm",
    unit: "before clipping",
    isLogarithmic: true,
    isSmooth: true,
  },
  lr: { ...PLAIN, title: "Learning rate" },
};

/** What is counted or said elsewhere. */
const LEFT_OUT: readonly string[] = [
  ...["step", "seconds", "stepsPerSecond", "waiting", "peakBytes", "scale", "skipped", "damaged"],
  "samples",
];

/** The charts that lines of metrics need. */
export function measuresOf(lines: Iterable<RunMetrics>): Measure[] {
  const names = new Set<string>();
  for (const line of lines) for (const name of Object.keys(line)) names.add(name);
  const all = { ...KNOWN, ...LAST };
  const others = [...names].filter((name) => !(name in all) && !LEFT_OUT.includes(name)).sort();
  return [...Object.keys(KNOWN), ...others, ...Object.keys(LAST)]
    .filter((name) => names.has(name))
    .map((name) => ({ name, ...(all[name] ?? { ...PLAIN, title: titleOf(name) }) }));
}

/** The last line about training: others are of samples, with their own times. */
export function lastOfTraining(lines: readonly RunMetrics[]): RunMetrics | undefined {
  return lines.findLast((line) => "loss" in line);
}

/** `evalLoss` as `Eval loss`. */
function titleOf(name: string): string {
  const words = name.replaceAll(/([a-z0-9])([A-Z])/g, "$1 $2").replaceAll(/[_.]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1).toLowerCase();
}
