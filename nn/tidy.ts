import { scope, type Tensor } from "../tensor/mod.ts";

/**
 * Runs `fn` and frees what it made on the way to its result, so that a deep model holds the
 * tensors of one layer at a time. A tape keeps what it needs of them.
 */
export function tidy<R extends Tensor | Tensor[] | { readonly [name: string]: Tensor }>(
  fn: () => R,
): R {
  using s = scope();
  return s.keep(fn());
}
