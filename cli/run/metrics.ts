/** What a run measures, the lines that it keeps and says of it, and the file that they are kept in. */
import { type Device, memory } from "@dit/core/tensor";
import { appendLines, writeWhole } from "../shared/files.ts";
import type { StepRecord } from "./records.ts";

/** One line of metrics.jsonl: means over the steps since the line before. */
export interface Metrics {
  /** Optimiser steps taken. */
  readonly step: number;
  readonly loss: number;
  /** Divergence of an autoencoder's latents from normal ones, in nats a value. */
  readonly kl?: number;
  /** Norm of the gradients before they were clipped. */
  readonly gradNorm: number;
  readonly lr: number;
  readonly stepsPerSecond: number;
  readonly imagesPerSecond: number;
  /** Share of the time in which the next batch was waited for. */
  readonly waiting: number;
  /** The most bytes that tensors took so far. */
  readonly peakBytes: number;
  /** Scale of the loss, in mixed precision. */
  readonly scale?: number;
  /** Steps left out so far because gradients overflowed, in mixed precision. */
  readonly skipped?: number;
  /** Images found damaged so far and left out, where there are any. */
  readonly damaged?: number;
  /** Seconds of training so far. */
  readonly seconds: number;
}

/** Share of the time from which waiting for data is worth saying. */
const NOTICEABLE = 0.05;

/** Such as "; 12% of the time waiting for data": nothing where the device hardly waits. */
export function waitingText({ waiting }: Metrics): string {
  return waiting < NOTICEABLE ? "" : `; ${Math.round(100 * waiting)}% of the time waiting for data`;
}

/** What a meter is told when a line is due. */
export interface Reading {
  /** Optimiser steps taken. */
  readonly step: number;
  /** Seconds that data have been waited for so far. */
  readonly waited: number;
  /** Images found damaged so far. */
  readonly damaged: number;
  /** The scaler's state; null where there is no scaling. */
  readonly scaler: { readonly scale: number; readonly skipped: number } | null;
}

/** Makes metrics of what steps were like. */
export class Meter {
  /** Seconds of training so far, without what is done between steps. */
  seconds: number;
  readonly #device: Device;
  readonly #batchSize: number;
  #records: StepRecord[] = [];
  /** Seconds, waiting and steps at the line before. */
  #before: { seconds: number; waited: number; step: number };

  /**
   * Starts at a step.
   *
   * @param last The last line before, of a run that is continued.
   */
  constructor(device: Device, batchSize: number, step: number, last?: Metrics) {
    [this.#device, this.#batchSize] = [device, batchSize];
    this.seconds = last?.seconds ?? 0;
    this.#before = { seconds: this.seconds, waited: 0, step };
  }

  /** Counts steps in. */
  add(records: readonly StepRecord[]): void {
    this.#records.push(...records);
  }

  /** The next line; undefined where no step since the one before counts. */
  read({ step, waited, damaged, scaler }: Reading): Metrics | undefined {
    const records = this.#records;
    const before = this.#before;
    const seconds = this.seconds - before.seconds;
    this.#before = { seconds: this.seconds, waited, step };
    this.#records = [];
    if (records.length === 0) return undefined;
    const mean = (value: (r: StepRecord) => number) =>
      records.reduce((sum, r) => sum + value(r), 0) / records.length;
    const stepsPerSecond = (step - before.step) / seconds;
    return {
      step,
      loss: mean((r) => r.loss),
      ...(records[0]!.kl === undefined ? {} : { kl: mean((r) => r.kl!) }),
      gradNorm: mean((r) => r.gradNorm),
      lr: records.at(-1)!.lr,
      stepsPerSecond,
      imagesPerSecond: stepsPerSecond * this.#batchSize,
      waiting: (waited - before.waited) / seconds,
      peakBytes: memory(this.#device).peakBytes,
      ...scaler,
      ...(damaged > 0 ? { damaged } : {}),
      seconds: this.seconds,
    };
  }
}

/** metrics.jsonl. */
export class MetricsFile {
  /** Its lines, those of a run that is continued included. */
  readonly lines: Metrics[];
  readonly #path: string;

  private constructor(path: string, lines: Metrics[]) {
    [this.#path, this.lines] = [path, lines];
  }

  /** Opens the file of a run that is at `step`; what was measured after that goes. */
  static async open(path: string, step: number): Promise<MetricsFile> {
    const lines: Metrics[] = [];
    for (const line of (await readIfThere(path)).split("\n")) {
      try {
        const metrics = JSON.parse(line) as Metrics;
        if (metrics.step <= step) lines.push(metrics);
      } catch { // the last line of a process that was killed, or what follows it
      }
    }
    await writeWhole(path, lines.map(lineOf).join(""));
    return new MetricsFile(path, lines);
  }

  /** Adds a line. */
  async add(metrics: Metrics): Promise<void> {
    this.lines.push(metrics);
    await appendLines(this.#path, lineOf(metrics));
  }
}

function lineOf(metrics: Metrics): string {
  return JSON.stringify(metrics) + "\n";
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
