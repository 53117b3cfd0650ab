/**
 * From weights and their description to pictures: what a model is apart from its weights, the
 * checkpoints that carry both, and sampling images by them. Nothing here needs a file system.
 *
 * @module
 */
export { type Average, averagesOf, halfLife, sectionOf } from "./averages.ts";
export {
  Checkpoint,
  CHECKPOINT_FORMAT,
  CHECKPOINT_VERSION,
  type CheckpointHeader,
  type CheckpointKind,
  checkpointMetadata,
  type DataPosition,
  type SavedTraining,
  writeWeights,
} from "./checkpoint.ts";
export * from "./config.ts";
export { DIT } from "./dit_checkpoint.ts";
export type { Draw } from "./draws.ts";
export { ConfigError, Fields } from "./fields.ts";
export * from "./image_sampler.ts";
export { inItsPrecision } from "./precision.ts";
export * from "./training.ts";
export { type TrainedModel, type TransferRow, transferWeights } from "./transfer.ts";
