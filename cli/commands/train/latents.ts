/** Data that a model sees as latents: made before, or of every batch as it is used. */
import { isPublished, type LatentConfig } from "@dit/core/pipeline";
import {
  type Dataset,
  type ImageFolder,
  LatentDataset,
  type LatentManifest,
  type LatentSettings,
  NpyFeatures,
} from "@dit/data";
import { UsageError } from "../../shared/errors.ts";
import { npyRecord } from "../extract/npy.ts";
import { exists } from "../../shared/files.ts";
import { encodeImages } from "../../model/encode_images.ts";
import { opened, type TrainData } from "./open_data.ts";
import {
  autoencoderDigest,
  findAutoencoder,
  fullName,
  loadAutoencoder,
  shortName,
  vaeOptionsBeside,
} from "../../model/autoencoder.ts";
import { latentsOf } from "../../model/latent_shape.ts";
import type { TrainSettings } from "./settings.ts";

/** Shards of so many bytes in all are read once at the start, to see that none has changed. */
const VERIFIED = 2 ** 30;

/** Latents that are read once at the start, so that NaNs are found before a run has a folder. */
const TRIED = 256;

/** Latents in shards, which say by what and of what they were made. */
export async function openShards(
  settings: TrainSettings,
  manifest: LatentManifest,
): Promise<TrainData> {
  const { data: folder } = settings;
  await checkAsked(settings, manifest.settings);
  const bytes = manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0);
  const dataset = await LatentDataset.open(folder, { verify: bytes <= VERIFIED });
  try {
    return {
      ...await features(dataset, manifest.settings.imageSize, latentsMade(manifest.settings)),
      [Symbol.asyncDispose]: () => Promise.resolve(dataset.close()),
    };
  } catch (error) {
    dataset.close();
    throw error;
  }
}

/** Latents in the original's layout, which say something only where they were made here. */
export async function openNpyFeatures(
  settings: TrainSettings,
  numClasses?: number,
): Promise<TrainData> {
  const { data: folder, imageSize, vae } = settings;
  const record = await npyRecord(folder);
  if (record !== undefined) {
    await checkAsked(settings, record);
    const dataset = await NpyFeatures.open(folder, { classNames: record.classNames });
    const data = await features(dataset, record.imageSize, latentsMade(record));
    const wanted = record.count * (record.flips ? 2 : 1);
    if (dataset.size === wanted) return data;
    const missing = (wanted - dataset.size).toLocaleString("en");
    const why = "of damaged images, or extraction has not ended";
    return { ...data, text: `${data.text}; ${missing} are missing: ${why}` };
  }
  refuseNone(vae);
  const dataset = await NpyFeatures.open(folder, numClasses === undefined ? {} : { numClasses });
  const latents = await latentsBy(vae ?? "ema");
  const side = dataset.height * latents.downsample;
  if (imageSize !== null && imageSize !== side) {
    throw new UsageError(
      `--image-size: expected ${side} for latents of ${dataset.height}x${dataset.height} but got ` +
        `${imageSize}`,
    );
  }
  return await features(dataset, side, latents);
}

/**
 * Opened latents.
 *
 * @throws {DataError} naming the file of one that is not a finite number, among those tried.
 */
async function features(
  dataset: Dataset,
  imageSize: number,
  latents: LatentConfig,
): Promise<TrainData> {
  const tried = Math.min(TRIED, dataset.size);
  await dataset.read(Array.from({ length: tried }, (_, i) => Math.floor(i * dataset.size / tried)));
  const data = opened("features", dataset, imageSize);
  return {
    ...data,
    text: `${data.text.replace("images", "latents")}, made by ${fullName(latents.vae)}`,
    shape: { ...data.shape, latents },
  };
}

/** How the latents of a folder were made, to decode them again. */
function latentsMade({ vae, scalingFactor, imageSize, latentShape }: LatentSettings): LatentConfig {
  const downsample = imageSize / latentShape[1];
  return { vae: shortName(vae.name), vaeSha256: vae.sha256, scalingFactor, downsample };
}

/** What the original's files leave open: the published autoencoders agree, others are asked. */
async function latentsBy(vae: string): Promise<LatentConfig> {
  return latentsOf(
    vae,
    isPublished(vae) ? {} : await vaeOptionsBeside(await findAutoencoder(vae, false)),
  );
}

/**
 * Refuses latents of another size, or by another autoencoder, than the run asks for.
 *
 * @throws {UsageError}
 */
async function checkAsked(
  { data, imageSize, vae }: TrainSettings,
  made: LatentSettings,
): Promise<void> {
  if (imageSize !== null && imageSize !== made.imageSize) {
    throw new UsageError(
      `--image-size: expected ${made.imageSize}, the size of the images that ${data} has latents ` +
        `of, but got ${imageSize}`,
    );
  }
  refuseNone(vae);
  if (vae === null) return;
  // A published name identifies the weights. A file may have been trained again, so it is compared
  // where it exists; a run continues without it, since it needs the latents only.
  const isNamed = fullName(vae) === made.vae.name;
  if (isNamed && (isPublished(vae) || !await exists(vae))) return;
  const path = await findAutoencoder(vae, false);
  if (await autoencoderDigest(path) === made.vae.sha256) return;
  throw new UsageError(
    `--vae: expected ${shortName(made.vae.name)}, by which the latents of ${data} were made, but ` +
      `got ${vae}, which has other weights`,
  );
}

function refuseNone(vae: string | null): void {
  if (vae !== "none") return;
  throw new UsageError(`--vae: expected an autoencoder, as the data are latents, but got none`);
}

/** Encodes every batch as it is used; extracted features save that work. */
export async function asLatents(images: ImageFolder, vae: string): Promise<TrainData> {
  const otherwise = ", or train on the pixels themselves with --vae none";
  const path = await findAutoencoder(vae, false, otherwise);
  const model = await loadAutoencoder(path);
  const { factor: downsample, scalingFactor, options } = model;
  if (images.height % downsample !== 0) {
    model.dispose();
    throw new UsageError(
      `--image-size: expected a multiple of ${downsample}, the pixels of the autoencoder's ` +
        `latents, but got ${images.height}`,
    );
  }
  const data = opened("images", images);
  const latents = { vae, vaeSha256: await autoencoderDigest(path), scalingFactor, downsample };
  return {
    ...data,
    text: `${data.text}, through ${path}`,
    shape: {
      ...data.shape,
      channels: options.latentChannels,
      side: images.height / downsample,
      latents,
    },
    input: (pixels, generator) => encodeImages(model, pixels, generator),
    [Symbol.asyncDispose]: async () => {
      model.dispose();
      await images[Symbol.asyncDispose]();
    },
  };
}
