/** What a run measures: the meter, the lines that it makes, and metrics.jsonl, which has them. */
import type { Fields } from "@dit/core/pipeline";
import { type Device, memory } from "@dit/core/tensor";
import { join } from "@std/path";
import { messageOf } from "../shared/errors.ts";
import { appendLines, endsLine, readLines, rewriteLines } from "../shared/files.ts";
import { type Evaluation, isEvaluation } from "./evaluation.ts";
import type { Scaled, StepRecord } from "./records.ts";

/** A line of metrics.jsonl. */
export type Line = Metrics | Evaluation;

/** One line of metrics.jsonl: means over the steps since the line before. */
export interface Metrics {
  /** Optimiser steps taken. */
  readonly step: number;
  readonly loss: number;
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
  /** What else the trainee measures. */
  readonly [name: string]: number | undefined;
}

/** Share of the time from which waiting for data is worth saying. */
const NOTICEABLE = 0.05;

/** Such as "; 12% of the time waiting for data": nothing where the device hardly waits. */
export function waitingText({ waiting }: Metrics): string {
  return waiting < NOTICEABLE ? "" : `; ${Math.round(100 * waiting)}% of the time waiting for data`;
}

/** What a meter is given when a line is due. */
export interface Reading {
  /** Optimiser steps taken. */
  readonly step: number;
  /** Seconds that data have been waited for so far. */
  readonly waited: number;
  /** Images found damaged so far. */
  readonly damaged: number;
  /** The scaler's state; null where there is no scaling. */
  readonly scaler: Scaled | null;
}

/** What was measured of steps that are in no line yet. Plain JSON. */
export interface Unread {
  /** How many steps. */
  readonly count: number;
  /** Of the last one. */
  readonly lr: number;
  /** Over the steps, by name. */
  readonly sums: Readonly<Record<string, number>>;
}

/** That of a checkpoint, which may be from before it was kept; null where every step is in a line. */
export function unreadOf(state: Fields): Unread | null {
  if (!state.has("unread")) return null;
  const unread = state.fields("unread");
  const sums = unread.fields("sums");
  return {
    count: unread.integer("count", 1),
    lr: unread.number("lr"),
    sums: Object.fromEntries(Object.keys(sums.values).map((name) => [name, sums.number(name)])),
  };
}

/** Means over the steps since the last line. */
class Means {
  count = 0;
  lr = NaN;
  readonly #sums = new Map<string, number>();

  constructor(unread: Unread | null = null) {
    if (unread === null) return;
    [this.count, this.lr] = [unread.count, unread.lr];
    this.#sums = new Map(Object.entries(unread.sums));
  }

  get unread(): Unread | null {
    if (this.count === 0) return null;
    return { count: this.count, lr: this.lr, sums: Object.fromEntries(this.#sums) };
  }

  add({ step: _, lr, ...values }: StepRecord): void {
    this.count++;
    this.lr = lr;
    for (const [name, value] of Object.entries(values)) {
      this.#sums.set(name, (this.#sums.get(name) ?? 0) + value);
    }
  }

  read(): { loss: number; gradNorm: number; lr: number; [name: string]: number } {
    const means = Array.from(this.#sums, ([name, sum]) => [name, sum / this.count]);
    return { ...Object.fromEntries(means), lr: this.lr };
  }
}

/**
 * Makes metrics of what steps were like. Its time is that of the wall, read when the device has
 * done all that was submitted: the host runs ahead of a GPU.
 */
export class Meter {
  readonly #device: Device;
  readonly #batchSize: number;
  /** Milliseconds. */
  readonly #now: () => number;
  #means = new Means();
  /** Seconds of training up to `#since`. */
  #seconds: number;
  /** When the time began that is not counted yet; undefined while it does not count. */
  #since: number | undefined;
  /** Seconds, waiting and steps at the line before. */
  #before: { seconds: number; waited: number; step: number };

  /**
   * Starts at a step, and to count.
   *
   * @param last The last line before, of a run that is continued.
   * @param now Milliseconds since some moment.
   */
  constructor(
    device: Device,
    batchSize: number,
    step: number,
    last?: Metrics,
    now: () => number = () => performance.now(),
  ) {
    [this.#device, this.#batchSize, this.#now] = [device, batchSize, now];
    this.#seconds = last?.seconds ?? 0;
    this.#since = now();
    this.#before = { seconds: this.#seconds, waited: 0, step };
  }

  /** Seconds of training so far. */
  get seconds(): number {
    if (this.#since === undefined) return this.#seconds;
    return this.#seconds + (this.#now() - this.#since) / 1000;
  }

  /**
   * Runs other work than training, such as drawing and saving: its time does not count.
   *
   * @param task Begins when the device has done the steps before.
   */
  async without<T>(task: () => Promise<T>): Promise<T> {
    [this.#seconds, this.#since] = [this.seconds, undefined];
    try {
      return await task();
    } finally {
      this.#since = this.#now();
    }
  }

  /** What no line has yet, for a checkpoint; null for nothing. */
  get unread(): Unread | null {
    return this.#means.unread;
  }

  /** Puts back what a checkpoint kept. */
  putUnread(unread: Unread | null): void {
    this.#means = new Means(unread);
  }

  /** Counts steps in. */
  add(records: readonly StepRecord[]): void {
    for (const record of records) this.#means.add(record);
  }

  /** The next line, once the device is done; undefined where no step since the one before counts. */
  read({ step, waited, damaged, scaler }: Reading): Metrics | undefined {
    const [means, before, total] = [this.#means, this.#before, this.seconds];
    this.#before = { seconds: total, waited, step };
    this.#means = new Means();
    if (means.count === 0) return undefined;
    const seconds = total - before.seconds;
    const stepsPerSecond = (step - before.step) / seconds;
    return {
      step,
      ...means.read(),
      stepsPerSecond,
      imagesPerSecond: stepsPerSecond * this.#batchSize,
      waiting: (waited - before.waited) / seconds,
      peakBytes: memory(this.#device).peakBytes,
      ...scaler,
      ...(damaged > 0 ? { damaged } : {}),
      seconds: total,
    };
  }
}

const METRICS = "metrics.jsonl";

/** metrics.jsonl of a run's folder. Its lines stay in the file: there may be any number of them. */
export class MetricsFile {
  readonly #path: string;
  /** Lines of later steps are cut off before the next one is written. */
  #cutAt: number | null;
  #last: Metrics | undefined;

  private constructor(path: string, cutAt: number | null, last: Metrics | undefined) {
    [this.#path, this.#cutAt, this.#last] = [path, cutAt, last];
  }

  /** The last line of training. */
  get last(): Metrics | undefined {
    return this.#last;
  }

  /**
   * Opens the file of a run that is at `step`; what was measured after that goes when there is
   * something new to write. A run can do without what cannot be read: it is said.
   *
   * @param onLine Gets each line that stays.
   */
  static async open(
    folder: string,
    step: number,
    onLine: (line: Line) => void = () => {},
  ): Promise<MetricsFile> {
    const path = join(folder, METRICS);
    let isWhole = true;
    let last: Metrics | undefined;
    try {
      for await (const line of readLines(path)) {
        const parsed = parseLine(line, step);
        if (!parsed) {
          isWhole = false;
          continue;
        }
        onLine(parsed);
        if (!isEvaluation(parsed)) last = parsed;
      }
      isWhole &&= await endsLine(path); // or the next line would continue the last one
    } catch (error) {
      console.error(`could not read ${path}: ${messageOf(error)}; the run continues without it`);
    }
    return new MetricsFile(path, isWhole ? null : step, last);
  }

  /** Removes lines of steps that this run takes again; a copy of all is left in `folder`. */
  async cut(folder?: string): Promise<void> {
    const step = this.#cutAt;
    if (step === null) return;
    if (folder !== undefined) await Deno.copyFile(this.#path, join(folder, METRICS));
    await rewriteLines(this.#path, (line) => parseLine(line, step) !== undefined);
    this.#cutAt = null;
  }

  /** Adds a line. */
  async add(line: Line): Promise<void> {
    if (!isEvaluation(line)) this.#last = line;
    await this.cut();
    try {
      await appendLines(this.#path, JSON.stringify(line) + "\n");
    } catch (error) {
      this.#cutAt = line.step; // a full disk may have taken half of it
      throw error;
    }
  }
}

/** A line of a step up to `step`; undefined for others, and for what a killed process half wrote. */
function parseLine(text: string, step: number): Line | undefined {
  try {
    const line = JSON.parse(text);
    if (!Number.isFinite(line?.step) || line.step > step) return undefined;
    const isWhole = isEvaluation(line) || MEASURED.every((name) => typeof line[name] === "number");
    return isWhole ? line : undefined;
  } catch {
    return undefined;
  }
}

/** What the page cannot do without in a line of training. */
const MEASURED = ["loss", "imagesPerSecond", "seconds"] as const;
