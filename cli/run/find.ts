/** Finding runs and their checkpoints: what `--resume` and `--ckpt` name. */
import { basename, dirname, join, resolve } from "@std/path";
import { CommandError } from "../shared/errors.ts";
import { exists, readJson } from "../shared/files.ts";

/** Files that describe a run; the second one where the first has another use in its folder. */
export const DESCRIPTIONS = ["config.json", "run.json"] as const;

/** What files of a folder are called. */
export interface FolderNames {
  /** The file that says what the run is. */
  readonly description: typeof DESCRIPTIONS[number];
  /** The folder of pictures. */
  readonly pictures: string;
  /** What the only checkpoint was called where runs had no folder of them. */
  readonly former?: string;
  /** Whether a folder with such a checkpoint is a run's that says nothing of itself yet. */
  readonly isFormer?: (folder: string) => Promise<boolean>;
}

/** Names of the files of checkpoints. */
const CHECKPOINT = /^(\d{7,})\.safetensors$/;

/** The folder of a run's checkpoints. */
const CHECKPOINTS = "checkpoints";

/** The checkpoint of the best evaluation so far, in a run's folder; none of those that are pruned. */
export const BEST = "best.safetensors";

/** A checkpoint in a run's folder. */
export interface CheckpointFile {
  /** Optimiser steps that it has. */
  readonly step: number;
  /** The file. */
  readonly path: string;
}

/** The file of a step in a run's folder. */
export function checkpointPath(run: string, step: number): string {
  return join(run, CHECKPOINTS, `${String(step).padStart(7, "0")}.safetensors`);
}

/** Checkpoints of a run, oldest first. */
export async function listCheckpoints(run: string): Promise<CheckpointFile[]> {
  const found: CheckpointFile[] = [];
  const folder = join(run, CHECKPOINTS);
  for (const name of await namesIn(folder)) {
    const digits = CHECKPOINT.exec(name)?.[1];
    if (digits) found.push({ step: Number(digits), path: join(folder, name) });
  }
  return found.sort((a, b) => a.step - b.step);
}

/** What is in a folder; nothing where there is none. */
export async function namesIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) names.push(name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory)) {
      throw error;
    }
  }
  return names;
}

/**
 * The checkpoint that `path` stands for: itself, or the last one of a run's folder.
 *
 * @param former What the only one was called where runs had no folder of checkpoints.
 * @throws {CommandError} where there is none.
 */
export async function findCheckpoint(path: string, former?: string): Promise<string> {
  let isFile: boolean;
  try {
    ({ isFile } = await Deno.stat(path));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new CommandError(`${path}: expected a run's folder or a checkpoint but found nothing`);
  }
  if (isFile) return path;
  const last = (await listCheckpoints(path)).at(-1);
  if (last) return last.path;
  if (former !== undefined && await exists(join(path, former))) return join(path, former);
  throw new CommandError(`${path}: expected checkpoints in it but found none`);
}

/** What a run's folder says of it. */
export interface RunDescription {
  /** The kind of trainee. */
  readonly trainee: string;
  /** Steps of the whole run; undefined where it does not say. */
  readonly steps: number | undefined;
}

/** What a folder says of the run in it; undefined for one that is no run's. */
export async function describeRun(folder: string): Promise<RunDescription | undefined> {
  for (const name of DESCRIPTIONS) {
    if (!await exists(join(folder, name))) continue;
    const { trainee = "dit", settings, model, steps } = await readJson(join(folder, name))
      .catch((): Record<string, unknown> => ({}));
    if (!isObject(settings) || !isObject(model)) continue;
    const total = typeof steps === "number" ? steps : undefined;
    return { trainee: String(trainee), steps: total };
  }
  return undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The folder of the run that a checkpoint belongs to; undefined for a file that lies elsewhere, in
 * a folder that says nothing of such a run.
 *
 * @param kind What is trained, and how its folders were laid out before.
 */
export async function runOf(
  checkpoint: string,
  { trainee, names: { former, isFormer } }: Laid,
): Promise<string | undefined> {
  const path = resolve(checkpoint);
  const folder = dirname(path);
  const isOnly = basename(path) === former;
  const isInside = isOnly || basename(path) === BEST; // otherwise in the folder of checkpoints
  if (!isInside && (basename(folder) !== CHECKPOINTS || !CHECKPOINT.test(basename(path)))) {
    return undefined;
  }
  const run = isInside ? folder : dirname(folder);
  const description = await describeRun(run);
  const isIts = description ? description.trainee === trainee : isOnly && await isFormer?.(run);
  return isIts ? run : undefined;
}

/** What of a kind of trainee says whose a folder is. */
interface Laid {
  readonly trainee: string;
  readonly names: Pick<FolderNames, "former" | "isFormer">;
}

/** A run in a folder of runs. */
interface Candidate {
  readonly path: string;
  readonly number: number;
  /** When it was written last, in milliseconds. */
  readonly written: number;
}

/**
 * Runs in a results folder that have a checkpoint, the newest first: by their numbers, and those of
 * one number by when they were written.
 *
 * @param trainee What they train.
 */
export async function listRuns(results: string, trainee: string): Promise<string[]> {
  const runs: Candidate[] = [];
  for (const name of await namesIn(results)) {
    const number = /^(\d{3,})-/.exec(name)?.[1];
    if (number === undefined) continue;
    const path = join(results, name);
    const last = (await listCheckpoints(path)).at(-1);
    if (last === undefined) continue;
    if (((await describeRun(path))?.trainee ?? trainee) !== trainee) continue;
    const written = (await Deno.stat(last.path)).mtime?.getTime() ?? 0;
    runs.push({ path, number: Number(number), written });
  }
  runs.sort((a, b) => b.number - a.number || b.written - a.written || (a.path < b.path ? 1 : -1));
  return runs.map(({ path }) => path);
}

/**
 * The newest run in a results folder that has a checkpoint: what `latest` stands for.
 *
 * @throws {CommandError} where there is none.
 */
export async function latestRun(results: string, trainee = "dit"): Promise<string> {
  const [run] = await listRuns(results, trainee);
  if (run !== undefined) return run;
  throw new CommandError(`${results}: expected a run with a checkpoint in it but found none`);
}

/**
 * The checkpoint that `auto` resumes: the last one of the newest unfinished run in a results folder.
 *
 * @param isAsked Whether it is a run that is asked for, by one of its checkpoints; where that has all
 * steps, whether something else is left to do, too. Undefined for a checkpoint that cannot be read:
 * the one before it is asked about.
 */
export async function unfinishedRun(
  results: string,
  trainee: string,
  isAsked: (checkpoint: string, hasAllSteps: boolean) => Promise<boolean | undefined>,
): Promise<string | undefined> {
  for (const run of await listRuns(results, trainee)) {
    const { steps = Infinity } = await describeRun(run) ?? {};
    for (const { step, path } of (await listCheckpoints(run)).reverse()) {
      const isIts = await isAsked(path, step >= steps);
      if (isIts) return path;
      if (isIts === false) break;
    }
  }
  return undefined;
}
