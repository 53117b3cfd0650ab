/** What samples of a model in training are like, measured every so many steps. */
import type { CurveOf } from "./curve.ts";

/** What features samples of a model in training can be compared in. */
export const EVALUATION_FEATURES = ["classifier", "inception"] as const;

/** A line of metrics.jsonl about samples, told from those of training by its `kind`. */
export interface Evaluation {
  readonly kind: "evaluation";
  /** Optimiser steps taken. */
  readonly step: number;
  /** The network that features are of: `classifier 0123456789abcdef`. */
  readonly features: string;
  /** How many samples were compared. */
  readonly samples: number;
  /** How they were made: `ddim, 25 steps, guidance 2`. */
  readonly sampling: string;
  /** Fréchet distance to the data in these features. */
  readonly frechetDistance: number;
  /** Kernel distance in them, about 0 for samples that are as the data. */
  readonly kid: number;
  /** Share of samples that lie among the data. */
  readonly precision: number;
  /** Share of the data that lie among samples. */
  readonly recall: number;
  /** Share of samples that the classifier takes for the class that was asked for. */
  readonly accuracy?: number;
  /** Distance of samples to their nearest training picture over that of pictures that are held out. */
  readonly nearestRatio?: number;
  /** Seconds that it took, which are none of training. */
  readonly seconds: number;
}

/** Whether a line of metrics.jsonl is an evaluation. */
export function isEvaluation<Other extends object>(line: Evaluation | Other): line is Evaluation {
  return "kind" in line && line.kind === "evaluation";
}

/** Whether two evaluations were measured alike, so that the smaller distance is the better one. */
export function isComparable(a: Evaluation, b: Evaluation): boolean {
  return a.features === b.features && a.samples === b.samples && a.sampling === b.sampling;
}

/** Curves of the page. */
export const EVALUATION_CURVES: readonly CurveOf<Evaluation>[] = [
  {
    title: "Fréchet distance",
    unit: "of samples to the data; lower is better",
    value: (e) => e.frechetDistance,
    logarithmic: true,
  },
  {
    title: "Accuracy",
    unit: "of samples, by the classifier",
    value: (e) => e.accuracy,
  },
  { title: "Precision", unit: "share of samples among the data", value: (e) => e.precision },
  { title: "Recall", unit: "share of the data among samples", value: (e) => e.recall },
  {
    title: "Nearest training picture",
    unit: "distance over that of held-out pictures; near 0 is memorised",
    value: (e) => e.nearestRatio,
  },
];

/** The figures of an evaluation in a line. */
export function evaluationText(
  { features, frechetDistance, kid, accuracy, precision, recall, samples }: Evaluation,
): string {
  const [network] = features.split(" ");
  return [
    `Fréchet distance ${frechetDistance.toPrecision(4)} in features of ${
      network === "classifier" ? "a classifier" : network
    }`,
    `KID ${kid.toPrecision(3)}`,
    ...(accuracy === undefined ? [] : [`accuracy ${(100 * accuracy).toFixed(1)} %`]),
    `precision ${precision.toFixed(3)}`,
    `recall ${recall.toFixed(3)}`,
    `${samples} samples`,
  ].join(", ");
}
