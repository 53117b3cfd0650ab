/**
 * Datasets, image reading and cropping, latent shards, loaders.
 *
 * @module
 */
export { DamagedImageError, DataError } from "./errors.ts";
export {
  type Dataset,
  type Examples,
  ImageArray,
  type ImageArrayOptions,
  type ImageShape,
  type NoiseKey,
  normalizeInto,
  type ReadOptions,
} from "./dataset.ts";
export { type Cifar10Options, loadCifar10 } from "./cifar10.ts";
export { loadMnist, type MnistOptions } from "./mnist.ts";
export {
  type BatchPlan,
  BatchSampler,
  type BatchSamplerOptions,
  type SamplerPosition,
} from "./sampler.ts";
export { type Batch, Loader, type LoaderOptions } from "./loader.ts";
export { type ByteImage, type GridOptions, makeGrid, toPixels } from "./byte_image.ts";
export { decodePng, encodePng } from "./png.ts";
export { centerCrop } from "./crop.ts";
export { decodeImage, type DecodeOptions } from "./decode.ts";
export { exists, type FolderContent, listFolder, type ListOptions, shown } from "./folder.ts";
export { type CropPlace, CropStore, type CropStoreOptions } from "./crop_store.ts";
export { ImageFolder, type ImageFolderOptions } from "./image_folder.ts";
export {
  checkSettings,
  type LatentManifest,
  type LatentPart,
  type LatentSettings,
  type LatentVae,
  loadManifest,
  requireSame,
  type ShardRecord,
} from "./latent_manifest.ts";
export {
  completeShards,
  type LatentBatch,
  LatentWriter,
  type ShardBuilder,
  type ShardPlan,
  type ShareOptions,
} from "./latent_writer.ts";
export { LatentDataset, type LatentOptions } from "./latent_dataset.ts";
export {
  hasNpyFeatures,
  type NpyFeature,
  NpyFeatures,
  type NpyFeaturesOptions,
  saveNpyFeature,
} from "./npy_features.ts";
export { type EmojiOptions, loadEmoji, makeEmojiFolder } from "./emoji.ts";
export { type Emoji3DOptions, makeEmoji3DFolder } from "./emoji_3d.ts";
export type { MakeFolderOptions } from "./picture_folder.ts";
