/** Opening what `--data` names. */
import { mul, noGrad } from "@dit/core/autograd";
import {
  type Dataset,
  hasNpyFeatures,
  ImageFolder,
  LatentDataset,
  loadManifest,
  loadMnist,
  NpyFeatures,
} from "@dit/data";
import { CommandError, messageOf } from "./errors.ts";
import { findAutoencoder, loadAutoencoder } from "./sources/autoencoder.ts";
import type { DataShape, TrainSettings } from "./train_settings.ts";
import type { ModelInput } from "./training.ts";

/** Images at least this large are trained on as latents, as the paper does. */
const LATENT_FROM = 128;
/** Pixels a side for each of a latent, and a latent's channels, with the original's autoencoder. */
const LATENTS = { downsample: 8, channels: 4, scalingFactor: 0.18215 } as const;

/** Data that are open. */
export interface TrainData extends AsyncDisposable {
  /** The examples. */
  readonly dataset: Dataset;
  /** How they look to the model. */
  readonly shape: DataShape;
  /** Such as "60,000 images of 1x32x32 in 10 classes". */
  readonly text: string;
  /** Makes latents of images; undefined where the model sees the examples themselves. */
  readonly input: ModelInput | undefined;
}

/**
 * Opens the data of a run.
 *
 * @param warn Told of images that cannot be read.
 * @param numClasses Classes of data that do not say themselves how many there are.
 * @throws {CommandError} where they are not there or not usable.
 */
export async function openData(
  settings: TrainSettings,
  warn: (message: string) => void,
  numClasses?: number,
): Promise<TrainData> {
  try {
    const kind = await kindOf(settings.data);
    if (kind === "mnist") {
      const folder = settings.data === "mnist" ? {} : { folder: settings.data };
      return opened("mnist", await loadMnist(folder));
    }
    if (kind === "features") return await openFeatures(settings.data, numClasses);
    const images = await ImageFolder.open(settings.data, {
      size: settings.imageSize,
      workers: settings.workers,
      onDamaged: (path, reason) => warn(`left out ${path}: ${reason}`),
    });
    if (settings.imageSize < LATENT_FROM) return opened("images", images);
    return await asLatents(images, settings);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`--data ${settings.data}: ${messageOf(error)}`, { cause: error });
  }
}

async function kindOf(data: string): Promise<DataShape["kind"]> {
  if (data === "mnist") return "mnist";
  const names = new Set<string>();
  try {
    for await (const { name } of Deno.readDir(data)) names.add(name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new CommandError(`--data ${data}: expected mnist or a folder but found nothing there`);
  }
  if ([...names].some((name) => name.startsWith("train-images-idx3-ubyte"))) return "mnist";
  const isFeatures = await hasNpyFeatures(data) || await loadManifest(data) !== undefined;
  return isFeatures ? "features" : "images";
}

function opened(kind: DataShape["kind"], dataset: Dataset & Partial<AsyncDisposable>): TrainData {
  const { size, channels, height, classNames } = dataset;
  const classes = `${classNames.length} class${classNames.length === 1 ? "" : "es"}`;
  return {
    dataset,
    shape: { kind, channels, side: height, classNames, latent: false },
    text: `${size.toLocaleString("en")} images of ${channels}x${height}x${height} in ${classes}`,
    input: undefined,
    [Symbol.asyncDispose]: async () => await dataset[Symbol.asyncDispose]?.(),
  };
}

/** Latents that were extracted before: in shards, or in the original's layout. */
async function openFeatures(folder: string, numClasses?: number): Promise<TrainData> {
  const manifest = await loadManifest(folder);
  const dataset = manifest
    ? await LatentDataset.open(folder)
    : await NpyFeatures.open(folder, numClasses === undefined ? {} : { numClasses });
  const data = opened("features", dataset);
  return {
    ...data,
    text: data.text.replace("images", "latents"),
    shape: { ...data.shape, latent: true, vae: manifest?.settings.vae.name },
    [Symbol.asyncDispose]: async () => {
      if (dataset instanceof LatentDataset) await Promise.resolve(dataset[Symbol.dispose]());
    },
  };
}

/** Encodes every batch as it is used; extracted features save that work. */
async function asLatents(images: ImageFolder, { vae }: TrainSettings): Promise<TrainData> {
  const model = await loadAutoencoder(await findAutoencoder(vae, false), "f32");
  const data = opened("images", images);
  const input: ModelInput = (pixels, generator) =>
    noGrad(() => mul(model.encode(pixels).sample({ generator }), LATENTS.scalingFactor));
  return {
    ...data,
    shape: {
      ...data.shape,
      channels: LATENTS.channels,
      side: images.height / LATENTS.downsample,
      latent: true,
    },
    input,
    [Symbol.asyncDispose]: async () => {
      model.dispose();
      await images[Symbol.asyncDispose]();
    },
  };
}
