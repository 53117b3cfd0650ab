/** What a checkpoint of `deno task train` says of its model. */
import type { CheckpointKind } from "./checkpoint.ts";
import { checkedDiTOptions, DIT_CHOICES, type DiTShape } from "../dit/mod.ts";
import { ShapeError } from "../tensor/mod.ts";
import { buildProcess, type ModelConfig } from "./config.ts";
import { ConfigError, type Fields } from "./fields.ts";

/** Checkpoints of Diffusion Transformers. */
export const DIT: CheckpointKind<ModelConfig> = {
  trainee: "dit",
  command: "train",
  readConfig(config) {
    config.text("name");
    const dit = config.fields("dit");
    checkNetwork(dit);
    const diffusion = config.fields("diffusion");
    checkProcess(diffusion);
    if (config.values["latents"] !== null) { // nothing says neither latents nor pixels
      const latents = config.fields("latents");
      latents.text("vae");
      latents.number("scalingFactor");
      latents.integer("downsample", 1);
      if (latents.has("vaeSha256")) latents.text("vaeSha256");
    }
    config.texts("classNames");
    const checked = config.values as unknown as ModelConfig;
    asConfigError(dit, () => checkedDiTOptions(checked.dit));
    asConfigError(diffusion, () => buildProcess(checked));
    if (checked.nullClass !== null) checkLabel(config, checked.dit);
    return checked;
  },
};

/** Refuses a null class that has no row in the table of labels, whose last one may be its own. */
function checkLabel(config: Fields, { numClasses, classDropoutProb }: DiTShape): void {
  const last = classDropoutProb > 0 ? numClasses : numClasses - 1;
  const label = config.integer("nullClass");
  if (label <= last) return;
  throw new ConfigError(
    `${config.at}nullClass: expected ${last} at most, the last of the model's labels, but found ${label}`,
  );
}

/** Says what fields do not suit each other, or the program, as what is wrong with the file. */
function asConfigError({ at }: Fields, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (![RangeError, ShapeError, TypeError].some((kind) => error instanceof kind)) throw error;
    throw new ConfigError(`${at.replace(/\.$/, "")}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function checkNetwork(dit: Fields): void {
  const sizes = ["inputSize", "patchSize", "inChannels", "hiddenSize", "depth", "numHeads"];
  for (const name of [...sizes, "numClasses"]) dit.integer(name, 1);
  dit.number("mlpRatio", 0);
  dit.number("classDropoutProb", 0, 1);
  dit.toggle("learnSigma");
  for (const [name, choices] of Object.entries(DIT_CHOICES)) {
    if (dit.has(name)) dit.text(name, choices);
  }
  for (const name of ["bottleneck", "earlyHead"]) if (dit.has(name)) dit.integer(name);
  for (const name of ["rope", "qkNorm"]) if (dit.has(name)) dit.toggle(name);
}

function checkProcess(diffusion: Fields): void {
  for (const name of ["objective", "noiseSchedule"]) diffusion.text(name);
  diffusion.integer("diffusionSteps", 1);
  if (diffusion.has("process")) diffusion.text("process");
  if (diffusion.has("timeShift")) diffusion.number("timeShift", 0);
  if (diffusion.has("minSnrGamma")) diffusion.number("minSnrGamma", 0);
}
