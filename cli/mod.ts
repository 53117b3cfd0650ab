/**
 * The commands: `deno task train` and its kin. What other programs may want of them: checkpoints,
 * and building the model that one describes.
 *
 * @module
 */
export {
  Checkpoint,
  type CheckpointHeader,
  type CheckpointKind,
  type SavedTraining,
  type Sections,
  writeCheckpoint,
  type WrittenHeader,
} from "./run/checkpoint.ts";
export { DIT } from "./model/dit_checkpoint.ts";
export { Fields } from "./shared/fields.ts";
export { type CheckpointFile, findCheckpoint, latestRun, listCheckpoints } from "./run/find.ts";
export { CommandError, UsageError } from "./shared/errors.ts";
export {
  buildModel,
  buildProcess,
  type BuiltModel,
  type DiffusionConfig,
  type LatentConfig,
  type ModelConfig,
  MODELS,
  modelSize,
  sampleShape,
} from "./model/config.ts";
