/** Tensor helpers that the formulas of this folder share. */
import type { Scope, Tensor } from "../tensor/mod.ts";
import { addcmul, mean, mul, type TensorLike } from "../autograd/mod.ts";

/** a x + b y, with weights that are numbers or tensors such as [N, 1, 1, 1]. */
export function combine(a: TensorLike, x: Tensor, b: TensorLike, y: Tensor): Tensor {
  return addcmul(mul(a, x), b, y);
}

/** Mean over all dimensions but the first: [N, ...] to [N]. */
export function meanFlat(x: Tensor): Tensor {
  return mean(x, x.shape.map((_, i) => i).slice(1));
}

/** Lets every tensor of a result outlive the scope. */
export function keepAll<T extends object>(s: Scope, result: T): T {
  s.keep(Object.values(result) as Tensor[]);
  return result;
}
