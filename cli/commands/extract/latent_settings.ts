/** How latents are made: the same on all ranks, stored with them, and compared by later runs. */
import { isPublished } from "@dit/core/pipeline";
import type { Device } from "@dit/core/tensor";
import type { AutoencoderKL } from "@dit/core/vae";
import { type ImageFolder, type LatentSettings, loadManifest } from "@dit/data";
import { agree } from "../../distributed/agree.ts";
import { fromRankZero } from "../../distributed/share.ts";
import type { World } from "../../distributed/world.ts";
import { autoencoderDigest, fullName } from "../../model/autoencoder.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { exists } from "../../shared/files.ts";
import type { ExtractSettings } from "./flags.ts";
import { npySettings } from "./npy.ts";

/** What is opened by now. */
export interface Opened {
  readonly images: ImageFolder;
  readonly vae: AutoencoderKL;
  /** Where its weights are. */
  readonly path: string;
  readonly device: Device;
}

/**
 * How the latents are to be made. Collective.
 *
 * @throws {CommandError} where ranks differ in it, or the autoencoder and the images do not fit.
 */
export async function agreedSettings(
  world: World,
  settings: ExtractSettings,
  { images, vae, path, device }: Opened,
): Promise<LatentSettings> {
  const { data, imageSize, kind, flips, dtype, shardSize, out, layout, tile } = settings;
  requireFit(settings, images, vae, path);
  const [sha256, files] = [await autoencoderDigest(path), await images.namesDigest()];
  const machines = "the same files have to be on all machines";
  await agree(world, `the names of the images in ${data}`, [images.size, files], machines);
  await agree(world, `the weights of the autoencoder ${path}`, sha256, machines);
  const tier = "tier" in device.backend ? device.backend.tier : undefined;
  const advice = "name one with --device; kinds of devices round differently";
  await agree(world, "the device", { name: device.name, tier }, advice);
  const side = imageSize / vae.factor;
  return await fromRankZero(world, async () => {
    // The same weights under another path are the same autoencoder.
    const before = layout === "shards"
      ? (await loadManifest(out))?.settings
      : await npySettings(out);
    const name = before?.vae.sha256 === sha256
      ? before.vae.name
      : isPublished(settings.vae)
      ? fullName(settings.vae)
      : path;
    return {
      vae: { name, sha256 },
      imageSize,
      latentShape: [vae.options.latentChannels, side, side],
      scalingFactor: vae.scalingFactor,
      kind,
      flips,
      dtype,
      classNames: images.classNames,
      count: images.size,
      files,
      tile,
      shardSize,
    };
  });
}

function requireFit(
  { imageSize, tile }: Pick<ExtractSettings, "imageSize" | "tile">,
  images: ImageFolder,
  vae: AutoencoderKL,
  path: string,
): void {
  const { inChannels } = vae.options;
  if (imageSize % vae.factor !== 0) {
    throw new UsageError(
      `--image-size: expected a multiple of ${vae.factor}, the pixels of the autoencoder's ` +
        `latents, but got ${imageSize}`,
    );
  }
  if (tile !== null && tile < vae.factor) {
    throw new UsageError(
      `--tile: expected ${vae.factor} or more, the pixels of the autoencoder's latents, but got ` +
        `${tile}`,
    );
  }
  if (inChannels !== images.channels) {
    throw new CommandError(
      `${path}: expected an autoencoder of colour images but it takes ${inChannels} channels`,
    );
  }
}

/** A folder has one layout. */
export async function refuseOtherLayout(
  out: string,
  layout: ExtractSettings["layout"],
): Promise<void> {
  if (!await exists(out)) return;
  const other = layout === "shards"
    ? await npySettings(out) && "npy"
    : await loadManifest(out) && "shards";
  if (other) {
    throw new UsageError(
      `--layout: expected ${other}, as ${out} is, but got ${layout}; take another --out`,
    );
  }
}

/** Such as "4x32x32 f32, means and deviations of images, 12 shards". */
export function latentsText(
  { latentShape, kind, flips, dtype, shardSize, count }: LatentSettings,
): string {
  const what = kind === "sample" ? "samples" : "means and deviations";
  const sides = flips ? "of images and their mirror images" : "of images";
  const number = Math.ceil(count / shardSize);
  const shards = shardSize === 1 ? "a file each" : `${number} shard${number === 1 ? "" : "s"}`;
  return `${latentShape.join("x")} ${dtype}, ${what} ${sides}, ${shards}`;
}

/** What to say where some of the ranks have nothing to do; null where all have. */
export function idleText(ranks: number, { count, shardSize }: LatentSettings): string | null {
  if (Math.ceil(count / shardSize) >= ranks || count < ranks) return null;
  return `fewer shards than ranks, so that some are idle: --shard-size ${
    Math.floor(count / ranks)
  } gives each a share, in another folder`;
}
