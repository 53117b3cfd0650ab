/** The training runs whose steps are measured: by this kit, by the census and beside PyTorch. */
import { Generator } from "@dit/core";
import type { Examples } from "@dit/data";
import { type DiTParts, DiTTrainee } from "../../cli/commands/train/dit_trainee.ts";
import { LATENT_FROM, type TrainFlags } from "../../cli/commands/train/flags.ts";
import { modelConfigOf, settingsOf, usualImageSize } from "../../cli/commands/train/settings.ts";

/** A training run, as far as its steps are concerned. */
export interface Job {
  readonly model: string;
  readonly batch: number;
  readonly precision: "f32" | "fp16";
  /** Whether blocks are computed again in the backward pass. */
  readonly checkpointing: boolean;
  /** Other flags of `deno task train`. */
  readonly flags?: TrainFlags;
}

/** Steps of a run whose first few are taken. */
const STEPS = 1000;

/** `DiT-XL/2, batch 32, fp16, checkpointing` */
export function titleOf({ model, batch, precision, checkpointing }: Job): string {
  return `${model}, batch ${batch}, ${precision}${checkpointing ? ", checkpointing" : ""}`;
}

/**
 * What `deno task train` would train: digits, or the paper's models on latents of ImageNet.
 *
 * @param parts The ranks that share it.
 */
export function traineeOf(
  { model, batch, precision, checkpointing, flags }: Job,
  parts: Pick<DiTParts, "world" | "bucketBytes"> = {},
): DiTTrainee {
  const given: TrainFlags = {
    ...flags,
    model,
    "global-batch-size": batch,
    "mixed-precision": precision === "fp16" ? "fp16" : "no",
    "grad-checkpoint": checkpointing,
    steps: STEPS,
  };
  const settings = settingsOf(given);
  const imageSize = usualImageSize(given);
  const config = modelConfigOf(given, settings, {
    kind: "features",
    ...(imageSize >= LATENT_FROM
      ? { channels: 4, side: imageSize / 8, classNames: names(1000), latents: LATENTS }
      : { channels: 1, side: imageSize, classNames: names(10), latents: null }),
    imageSize,
  });
  return new DiTTrainee(config, settings, { steps: STEPS, ...parts });
}

const LATENTS = { vae: "ema", scalingFactor: 0.18215, downsample: 8 } as const;

function names(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i));
}

/** A batch for it, the same every time. */
export function batchFor({ config }: DiTTrainee, batch: number): Examples {
  const { inChannels, inputSize, numClasses } = config.dit;
  const shape = [batch, inChannels, inputSize, inputSize] as const;
  const generator = new Generator(3);
  return {
    images: Float32Array.from(
      { length: batch * inChannels * inputSize ** 2 },
      () => generator.nextUniform() * 2 - 1,
    ),
    shape,
    labels: Int32Array.from({ length: batch }, (_, i) => i % numClasses),
  };
}
