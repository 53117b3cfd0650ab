/** What the shape of an autoencoder says of the latents that it makes. */
import type { LatentConfig, ModelConfig } from "@dit/core/pipeline";
import { type AutoencoderKLOptions, vaeOptionsFromConfig } from "@dit/core/vae";
import { CommandError } from "../shared/errors.ts";

/** Latents as all published DiT have them, by the autoencoder that the original samples with. */
export const ORIGINAL_LATENTS: LatentConfig = { vae: "mse", scalingFactor: 0.18215, downsample: 8 };
/** Channels of those. */
const ORIGINAL_CHANNELS = 4;

/**
 * The shape in an autoencoder's config.json.
 *
 * @param path For the message.
 * @throws {CommandError} where there is no such autoencoder here.
 */
export function vaeOptionsOf(
  config: Readonly<Record<string, unknown>>,
  path: string,
): AutoencoderKLOptions {
  try {
    return vaeOptionsFromConfig(config);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new CommandError(`${path}: ${error.message}`, { cause: error });
  }
}

/**
 * The latents of an autoencoder.
 *
 * @param options Of its config.json; what is left out is as in the published ones.
 */
export function latentsOf(vae: string, options: AutoencoderKLOptions): LatentConfig {
  const { scalingFactor = ORIGINAL_LATENTS.scalingFactor, blockOutChannels } = options;
  const levels = blockOutChannels?.length;
  // each level but the last halves the image
  const downsample = levels === undefined ? ORIGINAL_LATENTS.downsample : 2 ** (levels - 1);
  return { vae, scalingFactor, downsample };
}

/**
 * The configuration of weights that are used with an autoencoder: where they do not say what their
 * latents are, they have those of the autoencoder.
 *
 * @param path The autoencoder's file.
 * @throws {CommandError} where the autoencoder has other latents than the model.
 */
export function withAutoencoder(
  { config, knowsLatents }: { readonly config: ModelConfig; readonly knowsLatents: boolean },
  path: string,
  options: AutoencoderKLOptions,
): ModelConfig {
  const { latentChannels = ORIGINAL_CHANNELS } = options;
  const { inChannels } = config.dit;
  if (latentChannels !== inChannels) {
    throw new CommandError(
      `${path}: expected an autoencoder of ${inChannels} latent channels, as the model has, ` +
        `but it has ${latentChannels}`,
    );
  }
  const latents = latentsOf(path, options);
  if (config.latents === null || !knowsLatents) return { ...config, latents };
  if (latents.downsample !== config.latents.downsample) {
    throw new CommandError(
      `${path}: expected an autoencoder of ${config.latents.downsample} pixels for each latent, ` +
        `along an edge, as the model was trained with, but it has ${latents.downsample}`,
    );
  }
  return config;
}
