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

/** Known ones in the order in which they are shown; others come after the loss, by name. */
const KNOWN: Readonly<Record<string, Omit<Measure, "name">>> = {
  loss: { title: "Loss", unit: "", isLogarithmic: true, isSmooth: true },
  imagesPerSecond: {
    title: "Speed",
    unit: "images a second",
    isLogarithmic: false,
    isSmooth: false,
  },
  gradNorm: {
    title: "Gradient norm",
    unit: "before clipping",
    isLogarithmic: true,
    isSmooth: true,
  },
  lr: { title: "Learning rate", unit: "", isLogarithmic: false, isSmooth: false },
};

/** What is counted or said elsewhere. */
const LEFT_OUT: readonly string[] = [
  ...[
    "step",
    "seconds",
    "stepsPerSecond",
    "waiting",
    "peakBytes",
    "scale",
    "skipped",
    "damaged",
    "samples",
  ],
];

/** The charts that lines of metrics need. */
export function measuresOf(lines: Iterable<RunMetrics>): Measure[] {
  const names = new Set<string>();
  for (const line of lines) for (const name of Object.keys(line)) names.add(name);
  const others = [...names].filter((name) => !(name in KNOWN) && !LEFT_OUT.includes(name)).sort();
  const [loss, ...rest] = Object.keys(KNOWN);
  return [loss!, ...others, ...rest].filter((name) => names.has(name)).map((name) => ({
    name,
    ...(KNOWN[name] ?? {
      title: titleOf(name),
      unit: "",
      isLogarithmic: false,
      isSmooth: false,
    }),
  }));
}

/** `evalLoss` as `Eval loss`. */
function titleOf(name: string): string {
  const words = name.replaceAll(/([a-z0-9])([A-Z])/g, "$1 $2").replaceAll(/[_.]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1).toLowerCase();
}
