/**
 * The studio: a page that samples, in the visitor's browser or on the machine that serves it.
 *
 * @module
 */
export {
  type Engine,
  type ModelInfo,
  MOST_GUIDANCE,
  MOST_PICTURES,
  type Picture,
  type PictureRequest,
  type SampleEvent,
  type SampleRequest,
  type SamplerInfo,
} from "./protocol.ts";
export type { Site } from "./site.ts";
export type { Trainer, Training, TrainingEvent, TrainingInfo, TrainingRequest } from "./trainer.ts";
export {
  type MetricsPart,
  type RunInfo,
  type RunMetrics,
  type Runs,
  type StudioInfo,
} from "./runs.ts";
export { ADDRESSES, isId } from "./addresses.ts";
export { MOST_SEED, readSampleRequest, RequestError } from "./read_request.ts";
export { decodeFrames, encodeFrame, type WireEvent } from "./frames.ts";
export { HttpEngine } from "./http_engine.ts";
export { describeModel, type ModelFacts } from "./model_info.ts";
export { adviceOnLoss, samplePictures, type SamplingOptions } from "./sampling.ts";
export { bundleModule, type BundleOptions } from "./bundle.ts";
export {
  packImages,
  readTrainingPlan,
  type TrainingPlan,
  type TrainingSettings,
  trainingSettingsOf,
  unpackImages,
} from "./training_data.ts";
export { type TrainingSignals, trainModel } from "./training.ts";
export { PAGE_FILES, type PageFile } from "./page_files.ts";
