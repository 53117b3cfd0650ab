/** The files that a browser loads a model from. */
import { asVae } from "@dit/core/io";
import {
  CHECKPOINT_FORMAT,
  CHECKPOINT_VERSION,
  isPublished,
  type ModelConfig,
} from "@dit/core/pipeline";
import { vaeConfigOf } from "@dit/core/vae";
import {
  checkAutoencoder,
  openAutoencoder,
  VAE_CONFIG_KEY,
  vaeOptionsBeside,
} from "../../model/autoencoder.ts";
import { withAutoencoder } from "../../model/latent_shape.ts";
import { openSampled } from "../../model/sampling_setup.ts";
import type { ServedFile } from "./http/ranges.ts";
import type { ServedModel } from "./models.ts";
import { servedWeights } from "./served_weights.ts";

/** What an autoencoder is called where its path would say too much. */
const AUTOENCODER = "autoencoder.safetensors";

/** A model's weights as a checkpoint of `deno task train` that is only to be sampled from. */
export async function weightsFile(model: ServedModel): Promise<ServedFile> {
  const { path, flags, step, vaePath, version } = model;
  using weights = await openSampled(path, flags);
  const config = vaePath === null
    ? weights.config
    : withAutoencoder(weights, vaePath, await vaeOptionsBeside(vaePath));
  const header = { trainee: "dit", step, config: withoutPaths(config), training: null };
  return await servedWeights(() => openSampled(path, flags), {
    prefix: "ema.",
    metadata: [
      ["format", CHECKPOINT_FORMAT],
      ["version", String(CHECKPOINT_VERSION)],
      ["header", JSON.stringify(header)],
    ],
    version,
  });
}

/**
 * The autoencoder of a model of latents; undefined where there is none.
 *
 * @throws {CommandError} where it is not the one that the latents were made by, as when sampling here.
 */
export async function autoencoderFile(model: ServedModel): Promise<ServedFile | undefined> {
  const { vaePath } = model;
  if (vaePath === null) return undefined;
  const { mtime, size, ino } = await Deno.stat(vaePath);
  const version = `${vaePath} ${size} ${mtime?.getTime()} ${ino}`;
  if (model.vae === undefined) await checkVae(model, vaePath, version);
  const config = vaeConfigOf(await vaeOptionsBeside(vaePath));
  const open = async () => {
    const file = await openAutoencoder(vaePath);
    return {
      source: asVae(file.source, "diffusers"),
      [Symbol.dispose]: () => file.close(),
    };
  };
  return await servedWeights(open, {
    prefix: "",
    metadata: [["format", "pt"], [VAE_CONFIG_KEY, JSON.stringify(config)]],
    version,
  });
}

/** Autoencoders that were compared and are right: visitors ask part by part, and it reads all of them. */
const checked = new Set<string>();

/** Refuses an autoencoder that was trained again since the latents were made. */
async function checkVae(
  { path, flags }: ServedModel,
  vaePath: string,
  version: string,
): Promise<void> {
  using weights = await openSampled(path, flags);
  const { latents } = weights.config;
  const key = `${version} ${latents?.vaeSha256}`;
  if (latents === null || checked.has(key)) return;
  await checkAutoencoder(vaePath, latents);
  checked.add(key);
}

/** A configuration without what it says of this machine. */
function withoutPaths(config: ModelConfig): ModelConfig {
  const { latents } = config;
  if (latents === null || isPublished(latents.vae)) return config;
  return { ...config, latents: { ...latents, vae: AUTOENCODER } };
}
