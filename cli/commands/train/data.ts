/** Opening what `--data` names. */
import { type DataKind, dataKind } from "../../shared/data_kind.ts";
import { CommandError, messageOf, UsageError } from "../../shared/errors.ts";
import { cropsIn, openImages, preparationText } from "../../shared/images.ts";
import { ProgressLine } from "../../shared/progress.ts";
import { opened, type TrainData } from "./open_data.ts";
import { asLatents, openNpyFeatures, openShards } from "./latents.ts";
import { LATENT_FROM } from "./flags.ts";
import type { TrainSettings } from "./settings.ts";

/** What a run leaves open about its data. */
export interface DataOptions {
  /** Side of images where `--image-size` does not say it. */
  readonly usualSize: number;
  /** Called for each image that cannot be read. */
  readonly warn: (message: string) => void;
  /** Whether a line says how far drawing is; true by default. */
  readonly isShown?: boolean;
  /** Classes of data that do not say themselves how many there are. */
  readonly numClasses?: number | undefined;
  /** Whether images of any size are trained on as they are where `--vae` does not say it. */
  readonly ofPixels?: boolean;
}

/**
 * Opens the data of a run.
 *
 * @throws {CommandError} where they are not there, not usable, or not what the settings ask for.
 */
export async function openData(settings: TrainSettings, options: DataOptions): Promise<TrainData> {
  try {
    const found = await dataKind(settings.data);
    if (found.kind === "named") return await openNamed(found, settings, options);
    if (found.kind === "shards") return await openShards(settings, found.manifest);
    if (found.kind === "npy") return await openNpyFeatures(settings, options.numClasses);
    const size = settings.imageSize ?? options.usualSize;
    const { workers, strict, cropCache } = settings;
    const images = await openImages(settings.data, {
      size,
      workers,
      strict,
      cropCache,
      warn: options.warn,
    });
    const vae = settings.vae ?? (size < LATENT_FROM || options.ofPixels ? "none" : "ema");
    const data = vae === "none" ? opened("images", images) : await asLatents(images, vae);
    return { ...data, text: `${data.text}; ${preparationText(images)}` };
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`--data ${settings.data}: ${messageOf(error)}`, { cause: error });
  }
}

/** Named data are trained on as they are, or as they are drawn. */
async function openNamed(
  { named, folder }: Extract<DataKind, { kind: "named" }>,
  { data, imageSize, vae, workers, cropCache }: TrainSettings,
  { isShown = true, warn }: DataOptions,
): Promise<TrainData> {
  const opening = folder === undefined ? undefined : await named.open({ folder });
  const side = opening?.height ?? named.imageSize; // others in the same files may have another
  if (imageSize !== null && imageSize !== side && !named.hasAnySize) {
    throw new UsageError(
      `--image-size: ${data} is ${side} pixels wide, so expected ${side} but got ${imageSize}`,
    );
  }
  if (vae !== null && vae !== "none") {
    throw new UsageError(`--vae: ${data} is trained on as pixels, so expected none but got ${vae}`);
  }
  if (opening) return opened("named", opening);
  using line = new ProgressLine("drawing  ");
  const onProgress = (done: number, total: number) => isShown && line.show(done, total, "pictures");
  const size = imageSize ?? side;
  const keep = cropCache > 0 ? { keep: cropsIn(cropCache, warn) } : {};
  return opened("named", await named.open({ size, workers, onProgress, ...keep }));
}
