/** A trainee in a checkpoint, and back. */
import type { Checkpoint, SavedTraining } from "@dit/core/pipeline";
import { type Keepable, plansOf, scope } from "@dit/core/tensor";
import type { SamplerPosition } from "@dit/data";
import { CommandError, messageOf } from "../shared/errors.ts";
import { type Sections, writeCheckpoint } from "./checkpoint.ts";
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
  const training = { ...state, position, settings, plans: plansOf() };
  const { sections, views } = tensorsOf(trainee);
  try {
    await writeCheckpoint(path, { trainee: kind.trainee, step, config, training }, sections);
  } finally {
    for (const view of views) view.dispose();
  }
}

/**
 * What the kernels of a run's device are planned by, as its checkpoint remembers it: plans decide
 * the order of sums, so a run goes on with the same bits only by those that it began with. Without
 * `plans` in a checkpoint from before there were any; null of a device that has none.
 */
export function rememberedPlans({ state }: SavedTraining): { readonly plans: unknown } {
  return { plans: state.values["plans"] };
}

/** The tensors of all sections, and those among them that were made for it and are to be freed. */
function tensorsOf(trainee: Trainee): { sections: Sections; views: readonly Keepable[] } {
  using s = scope("checkpoint");
  const sections = Object.fromEntries(
    Object.entries(trainee.sections()).map(([name, part]) => [name, part.stateDict()]),
  );
  return { sections, views: s.keep([...s.owned]) };
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
  for (const [name, part] of Object.entries(trainee.sections())) {
    if (name === "scaler" && !checkpoint.has(name)) continue; // from before there was one
    const state = await checkpoint.state(name);
    using _ = scope("load");
    part.loadStateDict(state);
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
