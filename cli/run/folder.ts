/** The folder of a run: what it is, what it said, what it measured, and what it made. */
import { join } from "@std/path";
import { CommandError, messageOf } from "../shared/errors.ts";
import { appendLines, removeTemporaries, writeWhole } from "../shared/files.ts";
import { type Metrics, MetricsFile } from "./metrics.ts";

const METRICS = "metrics.jsonl";

/** A run's folder. */
export class RunFolder {
  readonly path: string;
  /** Grids of samples so far, oldest first. */
  readonly samples: { readonly step: number; readonly png: Uint8Array<ArrayBuffer> }[] = [];

  readonly #metrics: MetricsFile;

  private constructor(path: string, metrics: MetricsFile) {
    [this.path, this.#metrics] = [path, metrics];
  }

  /** Lines of metrics so far, those of a run that is continued included. */
  get metrics(): readonly Metrics[] {
    return this.#metrics.lines;
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
      return new RunFolder(path, await MetricsFile.open(join(path, METRICS), 0));
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
    for (const folder of ["checkpoints", "samples"]) {
      await Deno.mkdir(join(path, folder), { recursive: true });
      await removeTemporaries(join(path, folder));
    }
    await removeTemporaries(path);
    const run = new RunFolder(path, await MetricsFile.open(join(path, METRICS), step));
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
    await appendLines(this.file("log.txt"), `[${new Date().toISOString()}] ${message}\n`);
  }

  /** Adds a line to metrics.jsonl. */
  async measure(metrics: Metrics): Promise<void> {
    await this.#metrics.add(metrics);
  }

  /** Keeps a grid of samples as `samples/STEP.png`. */
  async keepSamples(step: number, png: Uint8Array<ArrayBuffer>): Promise<void> {
    await writeWhole(join(this.path, "samples", `${String(step).padStart(7, "0")}.png`), png);
    this.samples.push({ step, png });
  }
}
