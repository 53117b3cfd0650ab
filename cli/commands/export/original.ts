/** A file that the original's program loads, or SiT's, whose models have the same names. */
import { isDiTName, switchesOf } from "@dit/core/dit";
import {
  lazyStateDict,
  Namespace,
  type SavableTensor,
  saveSafetensors,
  saveTorch,
  type TorchValue,
} from "@dit/core/io";
import { isPublished, type ModelConfig, processOf } from "@dit/core/pipeline";
import { ORIGINAL_LATENTS } from "../../model/latent_shape.ts";
import type { Weights } from "../../model/weights.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { prepareFile } from "../../shared/files.ts";

/**
 * Writes a bare state dict, `pos_embed` included, as the published files are. Of a flow a `.pt` file
 * has the options of SiT's trainer beside the weights, by which it is known for one.
 *
 * @returns Notes on how to use it.
 * @throws {CommandError} where neither program samples models of the process, or nothing can be
 *   written there.
 */
export async function exportOriginal(
  { path, source, config }: Weights,
  out: string,
): Promise<string[]> {
  const isTorch = out.endsWith(".pt");
  const eight = source.keys().find((key) => source.info(key).dtype.startsWith("f8"));
  if (eight !== undefined && isTorch) {
    throw new UsageError(`--out: expected FILE.safetensors, since ${eight} is of 8-bit floats`);
  }
  const process = processOf(config.diffusion);
  if (process !== "gaussian" && process !== "flow") {
    throw new CommandError(
      `${path}: expected a model of the process gaussian or flow but got ${process}`,
    );
  }
  const [other] = switchesOf(config.dit);
  if (other !== undefined) {
    throw new CommandError(
      `${path}: expected a model of the paper's blocks, which the original and SiT have, but got ` +
        `one with ${other}`,
    );
  }
  await prepareFile("--out", out);
  const isFlow = process === "flow";
  const options = isFlow && isTorch ? sitOptions(config) : null;
  if (!isTorch) await saveSafetensors(out, source, [["format", "pt"]]);
  else await saveTorch(out, options ? withOptions(source, options) : lazyStateDict(source));
  return isFlow ? sitNotes(config, options !== null) : originalNotes(config);
}

/** A checkpoint as SiT's trainer writes one, without the optimiser's state. */
function withOptions(
  source: Weights["source"],
  options: ReadonlyMap<string, string | number>,
): TorchValue<SavableTensor> {
  return new Map<string, TorchValue<SavableTensor>>([
    ["ema", lazyStateDict(source)],
    ["args", new Namespace(new Map(options))],
  ]);
}

/** What SiT's trainer would have been started with; null for what it cannot train. */
function sitOptions(
  { name, dit, diffusion, latents }: ModelConfig,
): Map<string, string | number> | null {
  if (diffusion.objective !== "v") return null;
  const options = new Map<string, string | number>([
    ["model", name.replace(/^DiT/, "SiT")],
    ["path_type", "Linear"],
    ["prediction", "velocity"],
    ["num_classes", dit.numClasses],
    ["num_heads", dit.numHeads], // not of SiT, which has it by the name of the model
    ["image_size", dit.inputSize * (latents?.downsample ?? 1)],
  ]);
  const { scalingFactor, downsample } = ORIGINAL_LATENTS;
  const isUsual = latents?.scalingFactor === scalingFactor && latents.downsample === downsample;
  if (isUsual && isPublished(latents.vae)) options.set("vae", latents.vae);
  return options;
}

/** What has to be said to SiT's program, because the file does not hold it. */
function sitNotes(config: ModelConfig, hasOptions: boolean): string[] {
  const { objective, timeShift = 1 } = config.diffusion;
  const notes = ["a flow: for the program of SiT; that of DiT would draw noise with it"];
  if (!isDiTName(config.name)) notes.push(constructorNote("SiT", config));
  else if (!config.dit.learnSigma) notes.push("SiT(..., learn_sigma=False)");
  if (objective !== "v") notes.push(`it predicts ${objective}, which SiT cannot sample`);
  if (timeShift !== 1) notes.push(`its times are shifted by ${timeShift}, which SiT's are not`);
  if (!hasOptions) notes.push("the file does not say that it is a flow: --process flow does");
  return notes;
}

/** How a model is made that has none of the usual names. */
function constructorNote(className: string, { dit }: ModelConfig): string {
  return `${className}(input_size=${dit.inputSize}, patch_size=${dit.patchSize}, ` +
    `in_channels=${dit.inChannels}, hidden_size=${dit.hiddenSize}, depth=${dit.depth}, ` +
    `num_heads=${dit.numHeads}, mlp_ratio=${dit.mlpRatio}, ` +
    `class_dropout_prob=${dit.classDropoutProb}, num_classes=${dit.numClasses}, ` +
    `learn_sigma=${dit.learnSigma ? "True" : "False"})`;
}

/** What has to be said to the original, because a state dict does not hold it. */
function originalNotes(config: ModelConfig): string[] {
  const { dit, diffusion, name } = config;
  const notes: string[] = [];
  if (!isDiTName(name)) notes.push(constructorNote("DiT", config));
  const { objective, noiseSchedule, diffusionSteps } = diffusion;
  const flags: string[] = [];
  if (noiseSchedule !== "linear") flags.push(`noise_schedule="${noiseSchedule}"`);
  if (diffusionSteps !== 1000) flags.push(`diffusion_steps=${diffusionSteps}`);
  if (!dit.learnSigma) flags.push("learn_sigma=False");
  if (objective === "xstart") flags.push("predict_xstart=True");
  if (flags.length > 0) notes.push(`create_diffusion(..., ${flags.join(", ")})`);
  if (objective === "v") notes.push("it predicts v, which the original cannot sample");
  return notes;
}
