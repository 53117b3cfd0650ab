/** Autoencoders from files: finding, loading and comparing them. */
import { asVae } from "@dit/core/io";
import { loadWeights, withoutInit } from "@dit/core/nn";
import { isPublished, type LatentConfig, PUBLISHED_AUTOENCODERS } from "@dit/core/pipeline";
import { AutoencoderKL, type AutoencoderKLOptions } from "@dit/core/vae";
import { dirname, join } from "@std/path";
import { CommandError } from "../shared/errors.ts";
import { exists, readJson } from "../shared/files.ts";
import { obtain } from "./pretrained.ts";
import { type PretrainedName, pretrainedPath } from "./catalog.ts";
import { vaeOptionsOf } from "./latent_shape.ts";
import {
  diffusersFile,
  type OpenWeightFile,
  openWeightFile,
  weightsDigest,
} from "./weight_file.ts";

/** What the published autoencoders are downloaded as. */
const SHORT_NAMES = {
  ema: "sd-vae-ft-ema",
  mse: "sd-vae-ft-mse",
} as const satisfies Record<(typeof PUBLISHED_AUTOENCODERS)[number], PretrainedName>;

/** The owner of their repository, as in diffusers' names of them. */
const MAKER = "stabilityai";

/** The name of an autoencoder that means something elsewhere too; a path stays as it is. */
export function fullName(vae: string): string {
  return isPublished(vae) ? `${MAKER}/${SHORT_NAMES[vae]}` : vae;
}

/** What `--vae` calls an autoencoder whose full name is known; a path stays as it is. */
export function shortName(vae: string): string {
  return PUBLISHED_AUTOENCODERS.find((short) => fullName(short) === vae) ?? vae;
}

/** Where in a safetensors file's metadata an autoencoder's configuration is, as JSON. */
export const VAE_CONFIG_KEY = "config";

/**
 * The file of an autoencoder.
 *
 * @param vae `ema`, `mse`, a file, or a folder of diffusers.
 * @param fetches Whether a published one that is not there may be downloaded.
 * @param otherwise What else can be done without it, for the message.
 * @throws {CommandError} where it is not there, saying how to get it.
 */
export async function findAutoencoder(
  vae: string,
  fetches: boolean,
  otherwise = "",
): Promise<string> {
  if (isPublished(vae)) {
    const name = SHORT_NAMES[vae];
    if (fetches) return await obtain(name);
    const path = pretrainedPath(name);
    if (await exists(path)) return path;
    throw new CommandError(
      `latents need the autoencoder ${path}, which is not there.\n` +
        `Get it with: deno task download ${name}\n` +
        `or name another with --vae PATH${otherwise}`,
    );
  }
  try {
    return (await Deno.stat(vae)).isDirectory ? await diffusersFile(vae) : vae;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new CommandError(`--vae: expected ema, mse or a file but found no ${vae}`);
  }
}

/**
 * Loads an autoencoder of any layout. Its shape is in `config.json` beside it, and otherwise that
 * of the published ones.
 *
 * @throws {CommandError | FormatError | StateDictError} where the file is no autoencoder's.
 */
export async function loadAutoencoder(
  path: string,
  dtype: "f32" | "f16" = "f32",
): Promise<AutoencoderKL> {
  const options = await vaeOptionsBeside(path);
  using file = await openAutoencoder(path);
  if (file.note !== null) console.log(`autoencoder ${path}: ${file.note}`);
  const model = withoutInit(() => new AutoencoderKL(options), { dtype });
  try {
    await loadWeights(model, asVae(file.source, "diffusers"));
  } catch (error) {
    model.dispose();
    throw error;
  }
  return model.eval();
}

/**
 * The shape of a file's autoencoder: by the `config` in the file's own metadata, otherwise by
 * `config.json` beside it, and without either that of the published ones.
 */
export async function vaeOptionsBeside(path: string): Promise<AutoencoderKLOptions> {
  const own = await configWithin(path);
  if (own !== undefined) return vaeOptionsOf(own, path);
  const beside = join(dirname(path), "config.json");
  return await exists(beside) ? vaeOptionsOf(await readJson(beside), beside) : {};
}

/** The configuration that `deno task train-vae` puts into the file of weights. */
async function configWithin(path: string): Promise<Record<string, unknown> | undefined> {
  using file = await openAutoencoder(path);
  const text = file.metadata.get(VAE_CONFIG_KEY);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CommandError(`${path}: expected JSON as ${VAE_CONFIG_KEY} in its metadata`, {
      cause: error,
    });
  }
}

/** Opens the weights of an autoencoder, in whichever file and layout they are. */
export async function openAutoencoder(path: string): Promise<OpenWeightFile> {
  return await openWeightFile(path, "vae");
}

/**
 * SHA-256 of an autoencoder's weights, the same in whichever file, layout and element type they are
 * stored.
 */
export async function autoencoderDigest(path: string): Promise<string> {
  using file = await openAutoencoder(path);
  return await weightsDigest(asVae(file.source, "diffusers"));
}

/**
 * Checks that a file is the autoencoder that a model's latents were made by: one that was trained
 * again in its place would make other pictures of them.
 *
 * @throws {CommandError} where it is another.
 */
export async function checkAutoencoder(
  path: string,
  { vae, vaeSha256 }: Pick<LatentConfig, "vae" | "vaeSha256">,
): Promise<void> {
  if (vaeSha256 === undefined || await autoencoderDigest(path) === vaeSha256) return;
  throw new CommandError(
    `${path}: expected the autoencoder that the latents were made by (${fullName(vae)}) but its ` +
      "weights are others; name the right one with --vae",
  );
}
