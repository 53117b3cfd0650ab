/**
 * The commands: `deno task train` and its kin. What other programs may want of them: checkpoints,
 * and building the model that one describes.
 *
 * @module
 */
export {
  openCheckpoint,
  type Sections,
  writeCheckpoint,
  type WrittenHeader,
} from "./run/checkpoint.ts";
export { type CheckpointFile, findCheckpoint, latestRun, listCheckpoints } from "./run/find.ts";
export { CommandError, UsageError } from "./shared/errors.ts";
export { modelSize } from "./model/model_flags.ts";
