/** A run as a command starts it: its folder, the training, and its last lines of output. */
import type { Checkpoint } from "@dit/core/pipeline";
import { agree } from "../distributed/agree.ts";
import { onRankZero } from "../distributed/together.ts";
import { CommandError, EXIT, messageOf } from "../shared/errors.ts";
import { shellWord } from "../shared/shell.ts";
import { runOf } from "./find.ts";
import { RunFolder } from "./folder.ts";
import { type Run, TrainingLoop } from "./loop.ts";
import { type Unread, unreadOf } from "./metrics.ts";
import { History } from "./report.ts";
import { stopRequests } from "./stop.ts";
import type { TraineeKind } from "./trainee.ts";

/** A run's folder (null on ranks that write nothing), and what was measured in it so far. */
export interface OpenedFolder {
  readonly folder: RunFolder | null;
  readonly history: History;
  /** Keeps other processes out of it until it is disposed of, as the training does at its end. */
  readonly claim: Disposable | null;
  /** What was measured of steps that are in no line of its metrics yet. */
  readonly unread: Unread | null;
}

/** The folder of a new run. */
export function newFolder(kind: TraineeKind, folder: RunFolder | null): OpenedFolder {
  const claim = folder && claimRun(folder.path);
  return { folder, history: new History(kind.curves), claim, unread: null };
}

/**
 * The folder that a checkpoint is continued in: that of its run, or a new one where it lies
 * elsewhere, among files of others.
 *
 * @param otherwise Makes the new one.
 */
export async function resumedFolder(
  kind: TraineeKind,
  checkpoint: Checkpoint,
  otherwise: () => Promise<RunFolder>,
): Promise<OpenedFolder> {
  const { path, header: { step, training } } = checkpoint;
  const unread = training && unreadOf(training.state);
  const run = await runOf(path, kind);
  if (run === undefined) {
    const folder = await otherwise();
    console.log(`${path} is in no run's folder: the run continues in a new one, ${folder.path}`);
    return { ...newFolder(kind, folder), unread };
  }
  const history = new History(kind.curves);
  const claim = claimRun(run); // first: what is half written may be another process's
  try {
    const folder = await RunFolder.open(run, step, kind.names, (line) => history.add(line));
    return { folder, history, claim, unread };
  } catch (error) {
    claim?.[Symbol.dispose]();
    throw error;
  }
}

/**
 * Claims a run's folder for this process: two that train in it would move each other's checkpoints
 * aside and measure every step twice. The system frees it, whatever ends the process. Null where a
 * folder cannot be locked: on Windows and some disks of networks.
 *
 * @throws {CommandError} where another process has it.
 */
function claimRun(path: string): Disposable | null {
  let folder: Deno.FsFile | undefined;
  let isOurs: boolean;
  try {
    folder = Deno.openSync(path);
    isOurs = folder.tryLockSync(true);
  } catch {
    folder?.close();
    return null;
  }
  if (isOurs) return folder;
  folder.close();
  throw new CommandError(
    `${path}: expected a run that nobody is training but another process is; wait for its end, or ` +
      "end it",
  );
}

/** A run, and what keeps other processes out of its folder. */
type ClaimedRun = Omit<Run, "stopping"> & Pick<OpenedFolder, "claim">;

/** Prints the summary, trains, writes the final files; returns the command's exit code. */
export async function runTraining({ claim, ...run }: ClaimedRun): Promise<number> {
  using _ = claim;
  const { trainee, folder, steps, summary, device } = run;
  const { kind, settings, config, world } = trainee;
  const tier = "tier" in device.backend ? device.backend.tier : undefined;
  const advice = "name one with --device; kinds of devices round differently";
  await agree(world, "the device", { name: device.name, tier }, advice);
  const say = async (line: string): Promise<void> => {
    if (!folder) return;
    console.log(line);
    await folder.log(line);
  };
  await folder?.describe({ // first: it says whose the other files are
    trainee: kind.trainee,
    settings,
    model: config,
    device: `${device.name} (${device.backend.description})`,
    steps,
  });
  for (const line of summary) await say(line);
  using stop = folder ? stopRequests() : stopRequests(null);
  const loop = new TrainingLoop({ ...run, stopping: () => stop.requested });
  let lines: string[] = [];
  try {
    if (await loop.train()) {
      await onRankZero(world, async () => {
        if (folder) lines = await trainee.finish(folder);
      });
    }
  } catch (error) {
    await loop.finish(messageOf(error), false); // or the page would reload itself for ever
    throw error;
  }
  if (trainee.step < steps) {
    await loop.finish(`stopped at step ${trainee.step} of ${steps}`, true);
    if (folder) {
      console.log(
        `stopped at step ${trainee.step}; continue with: deno task ${kind.command} --resume ${
          shellWord(folder.path)
        }`,
      );
    }
    return EXIT.interrupted;
  }
  await loop.finish([`finished: ${steps.toLocaleString("en")} steps`, ...lines].join("\n"), true);
  if (folder) {
    for (const line of lines) console.log(line);
    console.log(`finished: ${folder.file("report.html")} shows it`);
  }
  return 0;
}
