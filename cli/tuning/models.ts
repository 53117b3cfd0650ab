/** What is to run fast on a GPU: models by name, as steps of training them have them. */
import { MODELS } from "@dit/core/pipeline";
import type { TuneModel } from "@dit/core/tensor";

/** Side of the examples: of latents of images of 256 x 256, and of the demo's digits. */
const SIDE = 32;
/** Tokens of a batch, about: as many as the paper's models take on one GPU. */
const BATCH_TOKENS = 8192;
const LARGEST_BATCH = 64;

/** Models by name. */
export function tuneModels(
  names: readonly string[],
  dtype: TuneModel["dtype"],
  batch?: number,
): TuneModel[] {
  return names.map((name) => {
    const { hiddenSize: width, numHeads: heads, patchSize } = MODELS[name]!;
    const tokens = (SIDE / patchSize) ** 2;
    const usual = Math.min(LARGEST_BATCH, Math.ceil(BATCH_TOKENS / tokens));
    return { name, dtype, batch: batch ?? usual, tokens, width, heads };
  });
}

/** A block so small that a program on the CPU takes its steps in seconds. */
export const TINY_MODELS: readonly TuneModel[] = [
  { name: "tiny", dtype: "f32", batch: 2, tokens: 70, width: 24, heads: 2 },
];
