/**
 * Datasets, image reading and cropping, latent shards, loaders.
 *
 * @module
 */
export { DataError } from "./errors.ts";
export {
  type Dataset,
  type Examples,
  ImageArray,
  type ImageArrayOptions,
  type NoiseKey,
  type PictureShape,
  type ReadOptions,
} from "./dataset.ts";
export { loadMnist, type MnistOptions } from "./mnist.ts";
export {
  type BatchPlan,
  BatchSampler,
  type BatchSamplerOptions,
  type SamplerPosition,
} from "./sampler.ts";
export { type Batch, Loader, type LoaderOptions } from "./loader.ts";
