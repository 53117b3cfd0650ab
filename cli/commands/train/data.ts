/** Opening what `--data` names. */
import { loadMnist } from "@dit/data";
import { CommandError, messageOf, UsageError } from "../../shared/errors.ts";
import { holdsFeatures, openImages, preparationText } from "../../shared/image_source.ts";
import { type DataShape, opened, type TrainData } from "./open_data.ts";
import { asLatents, openFeatures } from "./latents.ts";
import { LATENT_FROM } from "./flags.ts";
import type { TrainSettings } from "./settings.ts";

/** Side of MNIST's images with their margin. */
const MNIST_SIZE = 32;

/** What a run leaves open about its data. */
export interface DataOptions {
  /** Side of images where `--image-size` does not say it. */
  readonly usualSize: number;
  /** Told of images that cannot be read. */
  readonly warn: (message: string) => void;
  /** Classes of data that do not say themselves how many there are. */
  readonly numClasses?: number | undefined;
}

/**
 * Opens the data of a run.
 *
 * @throws {CommandError} where they are not there, not usable, or not what the settings ask for.
 */
export async function openData(settings: TrainSettings, options: DataOptions): Promise<TrainData> {
  try {
    const kind = await kindOf(settings.data);
    if (kind === "mnist") return await openMnist(settings);
    if (kind === "features") return await openFeatures(settings, options.numClasses);
    const size = settings.imageSize ?? options.usualSize;
    const { workers, strict } = settings;
    const images = await openImages(settings.data, { size, workers, strict, warn: options.warn });
    const vae = settings.vae ?? (size < LATENT_FROM ? "none" : "ema");
    const data = vae === "none" ? opened("images", images) : await asLatents(images, vae);
    return { ...data, text: `${data.text}; ${preparationText(images)}` };
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
  return await holdsFeatures(data) ? "features" : "images";
}

async function openMnist({ data, imageSize, vae }: TrainSettings): Promise<TrainData> {
  if (imageSize !== null && imageSize !== MNIST_SIZE) {
    throw new UsageError(
      `--image-size: mnist is ${MNIST_SIZE} pixels wide, so expected ${MNIST_SIZE} but got ${imageSize}`,
    );
  }
  if (vae !== null && vae !== "none") {
    throw new UsageError(`--vae: mnist is trained on as pixels, so expected none but got ${vae}`);
  }
  return opened("mnist", await loadMnist(data === "mnist" ? {} : { folder: data }));
}
