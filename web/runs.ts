/** What the studio's page knows of training runs as they go. */

/** A server that samples, at the moment. */
export interface StudioInfo {
  /** What samples there, such as `webgpu (NVIDIA ...)`; null until a visitor or a request opens it. */
  readonly device: string | null;
  /** Requests that wait or are sampled. */
  readonly queued: number;
  /** Requests that can wait; more are refused. */
  readonly mostQueued: number;
}

/** A training run. */
export interface RunInfo {
  /** What addresses call it; as `isId()` has it, never a path. */
  readonly id: string;
  /** Its folder's name, such as `003-DiT-Mini-4`. */
  readonly title: string;
  /** What it trains, such as `DiT-Mini/4`. */
  readonly model: string;
  /** `dit`, `autoencoder`, or another kind of trainee. */
  readonly trainee: string;
  /** Steps taken so far, by its metrics. */
  readonly step: number;
  /** Steps of the whole run; null where it does not say. */
  readonly steps: number | null;
  /** `going` while something is written every so often; `ended` before its last step otherwise. */
  readonly state: "going" | "ended" | "finished";
  /** When it was written last: milliseconds since 1970. */
  readonly written: number;
  /** Settings that are worth showing, by their flags' names. */
  readonly settings: Readonly<Record<string, string | number | boolean | null>>;
  /** Steps after which pictures were drawn, oldest first. */
  readonly drawn: readonly number[];
  /** The model that its newest checkpoint is, by `ModelInfo.id`; null without one. */
  readonly checkpoint: string | null;
}

/** A line of measurements: means over the steps since the line before. */
export interface RunMetrics {
  /** Optimiser steps taken. */
  readonly step: number;
  /** `loss`, `gradNorm`, `lr`, `imagesPerSecond`, `seconds`, and whatever the run measures. */
  readonly [name: string]: number;
}

/** Lines of measurements, a part of them. */
export interface MetricsPart {
  readonly lines: readonly RunMetrics[];
  /** Whether they are from the beginning: what was read before is no longer so. */
  readonly isFromStart: boolean;
  /** What to ask for next. */
  readonly next: string;
  /** Whether there is more already. */
  readonly hasMore: boolean;
}

/** Whatever knows of runs. */
export interface Runs {
  /** Runs, the newest first. */
  list(signal?: AbortSignal): Promise<readonly RunInfo[]>;
  /**
   * Measurements of a run.
   *
   * @param after {@linkcode MetricsPart.next} of the part before; from the beginning without it.
   */
  metrics(run: string, after?: string, signal?: AbortSignal): Promise<MetricsPart>;
  /** The address of the pictures that a run drew after a step. */
  picturesUrl(run: string, step: number): string;
}
