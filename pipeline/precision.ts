/** In which precision a model is sampled. */
import { autocast } from "../autograd/mod.ts";
import type { DiT } from "../dit/mod.ts";

/**
 * Calls a model as is fastest with its weights: where they are f16 and the device multiplies f16 on
 * matrix units, under `autocast`, as in training with mixed precision; else in f32, to which its weights
 * are widened, since half the bytes of weights alone save no time.
 *
 * @param call Synchronous.
 */
export function inItsPrecision<Out>(model: DiT, call: () => Out): Out {
  const { dtype, device } = model.yEmbedder.embeddingTable.weight;
  return dtype === "f16" && device.backend.favoursHalf ? autocast("f16", call) : call();
}
