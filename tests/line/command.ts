/** Fitting a line as a command does: a new run, and one that is continued. */
import type { Device } from "@dit/core/tensor";
import type { Dataset } from "@dit/data";
import { ALONE, type World } from "../../cli/distributed/world.ts";
import { openCheckpoint } from "../../cli/run/checkpoint.ts";
import { RunFolder } from "../../cli/run/folder.ts";
import type { ModelSettings } from "../../cli/run/model_trainee.ts";
import { newFolder, resumedFolder, runTraining } from "../../cli/run/run.ts";
import { loadTrainee } from "../../cli/run/saving.ts";
import { LINE, LineTrainee, SETTINGS } from "./trainee.ts";

/** Points of y = 2 x + 1. */
export const POINTS: Dataset = {
  size: 16,
  channels: 1,
  height: 1,
  width: 2,
  classNames: ["points"],
  labels: new Int32Array(16),
  flippable: false,
  read: (indices) =>
    Promise.resolve({
      images: Float32Array.from(indices.flatMap((i) => [i / 16, 2 * i / 16 + 1])),
      shape: [indices.length, 1, 1, 2],
      labels: new Int32Array(indices.length),
    }),
};

/** What a fit is asked for. */
export interface Fit {
  readonly device: Device;
  readonly steps: number;
  readonly settings?: Partial<ModelSettings>;
  readonly dataset?: Dataset;
  /** The ranks that share the run. */
  readonly world?: World;
  /** Gets the trainee before the first step. */
  readonly prepare?: (trainee: LineTrainee) => void;
}

/** A new run; its command. */
export async function fit(results: string, options: Fit): Promise<number> {
  const { device, steps, settings, dataset = POINTS, world = ALONE, prepare } = options;
  using trainee = new LineTrainee({ ...SETTINGS, ...settings }, world);
  prepare?.(trainee);
  const isFirst = world.rank === 0; // which writes
  const folder = isFirst ? await RunFolder.create(results, trainee.name, LINE.names) : null;
  const opened = newFolder(LINE, folder);
  return await runTraining({ ...opened, trainee, dataset, device, steps, summary: ["a line"] });
}

/** A run that is continued. */
export async function resumeFit(results: string, path: string, options: Fit): Promise<number> {
  const { device, steps, settings, dataset = POINTS, world = ALONE, prepare } = options;
  using checkpoint = await openCheckpoint(path, LINE);
  const training = checkpoint.header.training!;
  const before = training.settings.values as unknown as ModelSettings;
  using trainee = new LineTrainee({ ...before, ...settings }, world);
  const position = await loadTrainee(trainee, checkpoint, training);
  prepare?.(trainee);
  const opened = world.rank > 0 ? newFolder(LINE, null) : await resumedFolder(
    LINE,
    checkpoint,
    () => RunFolder.create(results, trainee.name, LINE.names),
  );
  const run = { ...opened, trainee, dataset, device, steps, position };
  return await runTraining({ ...run, summary: ["a line"] });
}
