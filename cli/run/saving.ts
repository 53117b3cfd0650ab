/** A trainee in a checkpoint, and back. */
import { scope } from "@dit/core/tensor";
import type { SamplerPosition } from "@dit/data";
import { CommandError, messageOf } from "../shared/errors.ts";
import { type Checkpoint, type SavedTraining, writeCheckpoint } from "./checkpoint.ts";
import type { Trainee } from "./trainee.ts";

/** Where a training stands beside its tensors. */
export interface Standing {
  /** Where its data continue. */
  readonly position: SamplerPosition;
  /** What the trainee says of itself. */
  readonly state: Readonly<Record<string, unknown>>;
}

/**
 * Writes all that continues a run exactly.
 */
export async function saveTrainee(
  path: string,
  trainee: Trainee,
  { position, state }: Standing,
): Promise<void> {
  const { kind, step, config, settings } = trainee;
  const training = { ...state, position, settings };
  using _ = scope("checkpoint");
  const sections = Object.fromEntries(
    Object.entries(trainee.sections()).map(([name, part]) => [name, part.stateDict()]),
  );
  await writeCheckpoint(path, { trainee: kind.trainee, step, config, training }, sections);
}

/**
 * Takes that from a checkpoint of the same configuration; returns where the data continue.
 *
 * @throws {CommandError} where the checkpoint holds something else.
 */
export async function loadTrainee(
  trainee: Trainee,
  checkpoint: Checkpoint,
  { position, state }: SavedTraining,
): Promise<SamplerPosition> {
  using _ = scope("load");
  for (const [name, part] of Object.entries(trainee.sections())) {
    if (name === "scaler" && !checkpoint.has(name)) continue; // from before there was one
    part.loadStateDict(await checkpoint.state(name));
  }
  try {
    trainee.restore(state);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new CommandError(`${checkpoint.path}: the checkpoint is damaged: ${messageOf(error)}`, {
      cause: error,
    });
  }
  trainee.step = checkpoint.header.step;
  return position;
}
