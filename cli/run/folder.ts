/**
 * The folder of a run, such as results/000-DiT-Mini-4:
 *
 *     config.json    settings, model, device, number of steps (run.json beside an autoencoder)
 *     classes.json   which number each class has
 *     log.txt        lines of output, each with its time; only ever appended to
 *     metrics.jsonl  a line of measurements every so many steps
 *     report.html    curves and pictures, see report.ts
 *     samples/       0000300.png: pictures of what the model has learned by a step
 *     checkpoints/   0000300.safetensors
 *     best.safetensors  the checkpoint of the best evaluation, where there are any
 *     retired-000/   checkpoints, pictures and metrics of later steps, from before a run went back
 */
import { basename, join } from "@std/path";
import { CommandError, messageOf } from "../shared/errors.ts";
import { appendLines, removeTemporaries, writePage, writeWhole } from "../shared/files.ts";
import { stepOf } from "./checkpoint.ts";
import { BEST, checkpointPath, type FolderNames, listCheckpoints, namesIn } from "./find.ts";
import { type Line, type Metrics, MetricsFile } from "./metrics.ts";

/** Names of the files of pictures. */
const PICTURE = /^(\d{7,})\.png$/;

/** A run's folder. */
export class RunFolder {
  readonly path: string;
  readonly #names: FolderNames;
  readonly #metrics: MetricsFile;
  /** Steps after which pictures were drawn, in order. */
  readonly #drawn: number[];
  /** The step that the run was resumed at, until it has written something; null for a new run. */
  #from: number | null;
  readonly #isNew: boolean;
  /** Files that could not be written; each is reported once. */
  readonly #failed = new Set<string>();

  private constructor(
    path: string,
    names: FolderNames,
    metrics: MetricsFile,
    from: number | null,
    drawn: number[] = [],
  ) {
    [this.path, this.#names, this.#metrics] = [path, names, metrics];
    [this.#from, this.#drawn, this.#isNew] = [from, drawn, from === null];
  }

  /**
   * Makes the next folder of `results`: `NNN-MODEL`.
   *
   * @throws {CommandError} where it cannot be made.
   */
  static async create(results: string, model: string, names: FolderNames): Promise<RunFolder> {
    try {
      await Deno.mkdir(results, { recursive: true });
      return await RunFolder.at(await nextFolder(results, model.replaceAll("/", "-")), names);
    } catch (error) {
      throw new CommandError(
        `could not make a folder in ${results}: ${
          messageOf(error)
        }. Choose another with --results-dir`,
        { cause: error },
      );
    }
  }

  /** The folder of a new run at a path. */
  static async at(path: string, names: FolderNames): Promise<RunFolder> {
    await prepare(path, names);
    return new RunFolder(path, names, await MetricsFile.open(path, 0), null);
  }

  /**
   * Opens the folder of a run that is continued at `step`. What it wrote of later steps stays until
   * there is something new to write, and is moved to a `retired` folder then.
   *
   * @param onLine Gets each line of metrics up to that step.
   */
  static async open(
    path: string,
    step: number,
    names: FolderNames,
    onLine: (line: Line) => void,
  ): Promise<RunFolder> {
    await prepare(path, names);
    const drawn = (await steps(join(path, names.pictures))).filter((at) => at <= step);
    const metrics = await MetricsFile.open(path, step, onLine);
    return new RunFolder(path, names, metrics, step, drawn);
  }

  /** The last line of training's metrics, that of a run that is continued included. */
  get lastMetrics(): Metrics | undefined {
    return this.#metrics.last;
  }

  /** Steps after which pictures were drawn, oldest first. */
  get drawn(): readonly number[] {
    return this.#drawn;
  }

  /** The path of a file in the folder. */
  file(name: string): string {
    return join(this.path, name);
  }

  /** The file of a step's pictures, as seen from the folder. */
  pictureOf(step: number): string {
    return `${this.#names.pictures}/${String(step).padStart(7, "0")}.png`;
  }

  /** Writes what the run is. */
  async describe(description: Readonly<Record<string, unknown>>): Promise<void> {
    const text = JSON.stringify(description, null, 2) + "\n";
    const { description: name } = this.#names;
    if (this.#isNew) await writeWhole(this.file(name), text);
    else await this.#try(name, (path) => writeWhole(path, text)); // there is one already
  }

  /** Adds a line to log.txt. */
  async log(message: string): Promise<void> {
    const line = `[${new Date().toISOString()}] ${message}\n`;
    await this.#try("log.txt", (path) => appendLines(path, line));
  }

  /** Adds a line to metrics.jsonl. */
  async measure(line: Line): Promise<void> {
    await this.#try("metrics.jsonl", async () => {
      await this.#retire();
      await this.#metrics.add(line);
    });
  }

  /** The step of the best checkpoint; null where there is none. */
  async bestStep(): Promise<number | null> {
    return await stepOf(this.file(BEST));
  }

  /** Writes the best checkpoint, in place of the one before. */
  async saveBest(write: (path: string) => Promise<void>): Promise<void> {
    await this.#retire();
    await write(this.file(BEST));
  }

  /** Keeps pictures of a step. */
  async keepPictures(step: number, png: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#try(this.pictureOf(step), async (path) => {
      await this.#retire();
      await writeWhole(path, png);
      if (this.#drawn.at(-1) !== step) this.#drawn.push(step);
    });
  }

  /** Writes report.html. */
  async report(html: string): Promise<void> {
    await this.#try("report.html", (path) => writePage(path, html));
  }

  /**
   * Writes a checkpoint, then removes the oldest ones; none of this step or of later ones.
   *
   * @param keep How many stay; 0 for all.
   */
  async save(step: number, keep: number, write: (path: string) => Promise<void>): Promise<void> {
    await this.#retire();
    await write(checkpointPath(this.path, step));
    if (keep === 0) return;
    const older = (await listCheckpoints(this.path)).filter((file) => file.step < step);
    for (const { path } of older.slice(0, Math.max(0, older.length - (keep - 1)))) {
      await Deno.remove(path);
    }
    const { former } = this.#names;
    if (former !== undefined && older.length >= keep - 1) {
      await Deno.remove(this.file(former)).catch(() => {}); // usually there is none
    }
  }

  /** Moves what the run wrote after the step that it was resumed at to a `retired` folder. */
  async #retire(): Promise<void> {
    const from = this.#from;
    if (from === null) return;
    const later = (await listCheckpoints(this.path)).filter(({ step }) => step > from);
    if (later.length === 0) { // it was killed, and takes the same steps again
      await this.#try("metrics.jsonl", () => this.#metrics.cut());
      this.#from = null;
      return;
    }
    await this.#keepBestOf(from);
    const { description, pictures } = this.#names;
    const aside = await nextFolder(this.path, "", "retired-");
    await Deno.mkdir(join(aside, "checkpoints"));
    await Deno.mkdir(join(aside, pictures));
    await this.#try(description, (path) => Deno.copyFile(path, join(aside, description)));
    await this.#try("metrics.jsonl", () => this.#metrics.cut(aside));
    for (const step of await steps(this.file(pictures))) {
      if (step <= from) continue;
      const picture = this.pictureOf(step);
      await this.#try(picture, (path) => Deno.rename(path, join(aside, picture)));
    }
    if ((await this.bestStep() ?? 0) > from) {
      await Deno.rename(this.file(BEST), join(aside, BEST));
    }
    for (const { path } of later.reverse()) {
      await Deno.rename(path, join(aside, "checkpoints", basename(path)));
    }
    this.#from = null;
    const text = `moved what the run had written after step ${from} to ${aside}`;
    console.log(text);
    await this.log(text);
  }

  /**
   * Puts the best checkpoint among the others where the run went back to it: once those of later
   * steps are aside there may be no other, and a run that is killed then could not be found.
   */
  async #keepBestOf(step: number): Promise<void> {
    const kept = await listCheckpoints(this.path);
    if (kept.some((file) => file.step === step) || await this.bestStep() !== step) return;
    const path = checkpointPath(this.path, step);
    const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
    await Deno.copyFile(this.file(BEST), temporary);
    await Deno.rename(temporary, path);
  }

  /** Writes a file that the run can do without. */
  async #try(name: string, write: (path: string) => Promise<void>): Promise<void> {
    try {
      await write(this.file(name));
    } catch (error) {
      const file = name.includes("/") ? this.#names.pictures : name;
      if (this.#failed.has(file)) return;
      this.#failed.add(file);
      console.error(`${messageOf(error)}; the run continues without it`);
    }
  }
}

/** Makes what a run writes in, and removes what a killed one left half written. */
async function prepare(path: string, { pictures }: FolderNames): Promise<void> {
  const make = async (folder: string): Promise<void> => {
    await Deno.mkdir(folder, { recursive: true });
    await removeTemporaries(folder);
  };
  await make(path);
  await make(join(path, "checkpoints"));
  await make(join(path, pictures)).catch(() => {}); // said when there is a picture to write
}

/** Steps that a folder has pictures of, in order. */
async function steps(folder: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await namesIn(folder)) {
    const digits = PICTURE.exec(name)?.[1];
    if (digits) found.push(Number(digits));
  }
  return found.sort((a, b) => a - b);
}

/** Makes the folder with the next number: `PREFIX NNN-NAME`. */
async function nextFolder(parent: string, name: string, prefix = ""): Promise<string> {
  let next = 0;
  for await (const entry of Deno.readDir(parent)) {
    if (!entry.name.startsWith(prefix)) continue;
    const number = /^(\d{3,})(-|$)/.exec(entry.name.slice(prefix.length))?.[1];
    if (number) next = Math.max(next, Number(number) + 1);
  }
  for (;; next++) {
    const number = String(next).padStart(3, "0");
    const path = join(parent, `${prefix}${number}${name === "" ? "" : `-${name}`}`);
    try {
      await Deno.mkdir(path);
      return path;
    } catch (error) { // another run was faster
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
}
