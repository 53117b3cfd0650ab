/** What a checkpoint of `deno task train` says of its model. */
import type { CheckpointKind } from "./checkpoint.ts";
import { DIT_CHOICES } from "../dit/mod.ts";
import type { Fields } from "./fields.ts";
import type { ModelConfig } from "./config.ts";

/** Checkpoints of Diffusion Transformers. */
export const DIT: CheckpointKind<ModelConfig> = {
  trainee: "dit",
  command: "train",
  readConfig(config) {
    config.text("name");
    checkNetwork(config.fields("dit"));
    checkProcess(config.fields("diffusion"));
    if (config.has("latents")) {
      const latents = config.fields("latents");
      latents.text("vae");
      latents.number("scalingFactor");
      latents.integer("downsample", 1);
      if (latents.has("vaeSha256")) latents.text("vaeSha256");
    }
    config.texts("classNames");
    if (config.has("nullClass")) config.integer("nullClass");
    return config.values as unknown as ModelConfig;
  },
};

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
