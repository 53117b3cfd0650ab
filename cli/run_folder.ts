/** The folder of a run: what it is, what it said, what it measured, and what it made. */
import { join } from "@std/path";
import { removeTemporaries } from "./checkpoint.ts";
import { CommandError, messageOf } from "./errors.ts";

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
  /** Seconds of training so far. */
  readonly seconds: number;
}

/** Writes a file under its name only once it is whole. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    if (typeof content === "string") await Deno.writeTextFile(temporary, content);
    else await Deno.writeFile(temporary, content);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {}); // it may not be there
    throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** A run's folder. */
export class RunFolder {
  readonly path: string;
  /** Lines of metrics so far, those of a run that is continued included. */
  readonly metrics: Metrics[] = [];
  /** Grids of samples so far, oldest first. */
  readonly samples: { readonly step: number; readonly png: Uint8Array<ArrayBuffer> }[] = [];

  private constructor(path: string) {
    this.path = path;
  }

  /**
   * Makes the next folder of `results`: `NNN-MODEL`.
   *
   * @throws {CommandError} where it cannot be made.
   */
  static async create(results: string, model: string): Promise<RunFolder> {
    try {
      await Deno.mkdir(results, { recursive: true });
      let next = 0;
      for await (const { name } of Deno.readDir(results)) {
        const number = /^(\d{3,})-/.exec(name)?.[1];
        if (number) next = Math.max(next, Number(number) + 1);
      }
      const name = `${String(next).padStart(3, "0")}-${model.replaceAll("/", "-")}`;
      const path = join(results, name);
      await Deno.mkdir(path);
      for (const folder of ["checkpoints", "samples"]) await Deno.mkdir(join(path, folder));
      return new RunFolder(path);
    } catch (error) {
      throw new CommandError(
        `could not make a folder in ${results}: ${
          messageOf(error)
        }. Choose another with --results-dir`,
        { cause: error },
      );
    }
  }

  /** Opens the folder of a run that is continued at `step`; what it measured after that goes. */
  static async open(path: string, step: number): Promise<RunFolder> {
    const run = new RunFolder(path);
    for (const folder of ["checkpoints", "samples"]) {
      await Deno.mkdir(join(path, folder), { recursive: true });
      await removeTemporaries(join(path, folder));
    }
    await removeTemporaries(path);
    for (const line of (await readIfThere(run.file("metrics.jsonl"))).split("\n")) {
      try {
        const metrics = JSON.parse(line) as Metrics;
        if (metrics.step <= step) run.metrics.push(metrics);
      } catch { // the last line of a process that was killed, or what follows it
      }
    }
    await writeWhole(run.file("metrics.jsonl"), run.metrics.map(lineOf).join(""));
    const names: string[] = [];
    for await (const { name } of Deno.readDir(join(path, "samples"))) names.push(name);
    for (const name of names.sort()) {
      const at = Number(/^(\d+)\.png$/.exec(name)?.[1] ?? NaN);
      if (!(at <= step)) continue;
      run.samples.push({ step: at, png: await Deno.readFile(join(path, "samples", name)) });
    }
    return run;
  }

  /** The path of a file in the folder. */
  file(name: string): string {
    return join(this.path, name);
  }

  /** Adds a line to log.txt. */
  async log(message: string): Promise<void> {
    await this.#append("log.txt", `[${new Date().toISOString()}] ${message}\n`);
  }

  /** Adds a line to metrics.jsonl. */
  async measure(metrics: Metrics): Promise<void> {
    this.metrics.push(metrics);
    await this.#append("metrics.jsonl", lineOf(metrics));
  }

  /** Keeps a grid of samples as `samples/STEP.png`. */
  async keepSamples(step: number, png: Uint8Array<ArrayBuffer>): Promise<void> {
    await writeWhole(join(this.path, "samples", `${String(step).padStart(7, "0")}.png`), png);
    this.samples.push({ step, png });
  }

  async #append(name: string, text: string): Promise<void> {
    try {
      await Deno.writeTextFile(this.file(name), text, { append: true });
    } catch (error) {
      throw new CommandError(`could not write ${this.file(name)}: ${messageOf(error)}`, {
        cause: error,
      });
    }
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
