/** The formula of classifier-free guidance, which models and diffusion share. */
import type { Tensor } from "../tensor/mod.ts";
import { add, concat, mul, split, sub, type TensorLike } from "../autograd/mod.ts";

/**
 * Guides a prediction away from the one without a condition (Ho & Salimans, "Classifier-free
 * diffusion guidance", arXiv 2207.12598): unconditional + scale (conditional - unconditional).
 *
 * @param conditional [N, C, ...]
 * @param unconditional [N, C, ...]
 * @param scale 1 guides nothing; a number, or one a sample as [N, 1, ...].
 * @param channels How many channels are guided; the others are those of `conditional`.
 * @returns [N, C, ...]
 */
export function guide(
  conditional: Tensor,
  unconditional: Tensor,
  scale: TensorLike,
  channels: number,
): Tensor {
  const rest = conditional.shape[1]! - channels;
  const [to, others] = split(conditional, [channels, rest], 1) as [Tensor, Tensor];
  const [from] = split(unconditional, [channels, rest], 1) as [Tensor];
  const moved = add(from, mul(sub(to, from), scale));
  return rest === 0 ? moved : concat([moved, others], 1);
}
