/**
 * The studio: a page that samples, in the visitor's browser or on the machine that serves it.
 *
 * @module
 */
export {
  type Engine,
  type ModelInfo,
  MOST_PICTURES,
  type Picture,
  type PictureRequest,
  type SampleEvent,
  type SampleRequest,
  type SamplerInfo,
} from "./protocol.ts";
export type { BrowserModel, Site } from "./site.ts";
export type { Trainer, Training, TrainingEvent, TrainingInfo, TrainingRequest } from "./trainer.ts";
