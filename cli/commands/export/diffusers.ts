/** A folder that diffusers' `DiTPipeline.from_pretrained` loads. */
import { sinCosPositions, switchesOf } from "@dit/core/dit";
import { asDiT, asVae, saveSafetensors, toFloat32 } from "@dit/core/io";
import { processOf } from "@dit/core/pipeline";
import { type AutoencoderKLOptions, vaeConfigOf } from "@dit/core/vae";
import { dirname, join } from "@std/path";
import { CommandError, messageOf } from "../../shared/errors.ts";
import { makeFolder, prepareFolder, writeWhole } from "../../shared/files.ts";
import {
  checkAutoencoder,
  findAutoencoder,
  openAutoencoder,
  vaeOptionsBeside,
} from "../../model/autoencoder.ts";
import { indexConfig, schedulerConfig, transformerConfig } from "../../model/diffusers_config.ts";
import { withAutoencoder } from "../../model/latent_shape.ts";
import { DIFFUSERS_FILE } from "../../model/catalog.ts";
import type { Weights } from "../../model/weights.ts";

/** Rounding of positions that were kept in f16, at most. */
const POSITION_ERROR = 1e-3;
/** The null label that `DiTPipeline.__call__` writes out, which is that of 1000 classes. */
const PIPELINE_CLASSES = 1000;
/** Inputs from which on diffusers scales the positions. */
const SCALED_INPUT = 128;

/**
 * Writes the folder.
 *
 * @param vae Instead of the model's own autoencoder; `none` for none.
 * @returns Notes on how to use it.
 * @throws {CommandError} where diffusers has no such model, or nothing can be written there.
 */
export async function exportDiffusers(
  weights: Weights,
  folder: string,
  vae: string | undefined,
): Promise<string[]> {
  const { config, source } = weights;
  await checkFits(weights);
  const found = await findVae(weights, vae);
  await prepareFolder(folder, "--out");
  await writeJson(join(folder, "transformer", "config.json"), transformerConfig(config));
  await saveSafetensors(
    join(folder, "transformer", DIFFUSERS_FILE),
    asDiT(source, "diffusers"),
    [["format", "pt"]],
  );
  const scheduler = schedulerConfig(config.diffusion);
  await writeJson(join(folder, "scheduler", "scheduler_config.json"), scheduler);
  if (typeof found !== "string") await writeVae(found, join(folder, "vae"));
  await writeJson(join(folder, "model_index.json"), indexConfig(config, weights.classLabels));
  const notes = typeof found === "string" ? [found] : [];
  const { numClasses } = config.dit;
  if (numClasses !== PIPELINE_CLASSES) {
    notes.push(
      `diffusers' DiTPipeline takes ${PIPELINE_CLASSES} for "no class" whatever the model, and this ` +
        `one has ${numClasses} classes: call it with guidance_scale=1 only`,
    );
  }
  return notes;
}

/** Refuses what diffusers' model would compute otherwise. */
async function checkFits({ config, source, path }: Weights): Promise<void> {
  const { dit, nullClass } = config;
  const { hiddenSize, inputSize, patchSize, mlpRatio } = dit;
  const refuse = (what: string): CommandError =>
    new CommandError(`${path}: diffusers' DiT has no counterpart of ${what}`);
  const process = processOf(config.diffusion);
  if (process !== "gaussian") {
    throw new CommandError(
      `${path}: expected a model of the process gaussian but got ${process}, which diffusers' ` +
        "DiTPipeline does not sample",
    );
  }
  const [other] = switchesOf(dit);
  if (other !== undefined) throw refuse(`${other}, a switch of this project's models`);
  if (mlpRatio !== 4) throw refuse(`an MLP ${mlpRatio} times as wide as a token, not 4`);
  if (nullClass !== dit.numClasses) throw refuse("a class table without a null class");
  if (inputSize >= SCALED_INPUT) throw refuse(`plain positions at ${inputSize}x${inputSize}`);
  const found = toFloat32(await source.read("pos_embed"));
  const positions = sinCosPositions(hiddenSize, inputSize / patchSize);
  if (found.some((x, i) => !(Math.abs(x - positions[i]!) < POSITION_ERROR))) {
    throw refuse("positions that are not the fixed sines and cosines");
  }
}

/** An autoencoder that fits a model. */
interface Autoencoder {
  readonly path: string;
  readonly options: AutoencoderKLOptions;
}

/** The autoencoder to put beside the model; where there is none, why. */
async function findVae(weights: Weights, asked: string | undefined): Promise<Autoencoder | string> {
  const { config, vaePath, knowsLatents } = weights;
  const { latents } = config;
  if (latents === null) {
    return "it makes pixels: load transformer/ by itself, as DiTPipeline decodes latents";
  }
  const left = "vae/ is left for you to fill" +
    (knowsLatents ? `, with "scaling_factor": ${latents.scalingFactor} in its config.json` : "");
  if (asked === "none") return left;
  let path: string;
  try {
    path = await findAutoencoder(asked ?? vaePath ?? latents.vae, false);
  } catch (error) {
    if (asked !== undefined || !(error instanceof CommandError)) throw error;
    return `${left}: ${messageOf(error).split("\n")[0]}`;
  }
  if (asked === undefined) await checkAutoencoder(path, latents);
  const options = await vaeOptionsBeside(path);
  const { scalingFactor } = withAutoencoder(weights, path, options).latents!;
  return { path, options: { ...options, scalingFactor } };
}

async function writeVae({ path, options }: Autoencoder, folder: string): Promise<void> {
  await writeJson(join(folder, "config.json"), vaeConfigOf(options));
  using file = await openAutoencoder(path);
  const to = join(folder, DIFFUSERS_FILE);
  await saveSafetensors(to, asVae(file.source, "diffusers"), [["format", "pt"]]);
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await makeFolder(dirname(path));
  await writeWhole(path, `${JSON.stringify(value, null, 2)}\n`);
}
