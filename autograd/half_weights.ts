/** f16 copies of weights: made once, and shared by all that computes with them. */
import { copy, currentScope, outsideScopes, type Storage, type Tensor } from "../tensor/mod.ts";

/** The copy of a storage, and the state of it that was copied. */
interface Half {
  readonly version: number;
  /** [length] */
  readonly whole: Tensor;
}

const halves = new WeakMap<Storage, Half>();

/**
 * A parameter in f16. The storage that it lies in is copied whole, with the parameters beside it, where
 * it has not been since it was changed last; the copy lives as long as the outermost scope that is
 * open, as a rule that of a training step. Without any scope each call makes a copy.
 */
export function halfWeight(p: Tensor): Tensor {
  let root = currentScope();
  if (!root) return copy(p, "f16", "cast");
  while (root.parent) root = root.parent;
  const { storage } = p;
  const { version } = storage;
  let half = halves.get(storage);
  if (!half || half.version !== version || half.whole.disposed) {
    half?.whole.dispose();
    half = { version, whole: outsideScopes(() => copyOf(p)) };
    root.adopt(half.whole);
    halves.set(storage, half);
  }
  return half.whole.as(p.shape, p.strides, p.offset);
}

function copyOf(p: Tensor): Tensor {
  using whole = p.as([p.storage.length], [1], 0);
  return copy(whole, "f16", "cast");
}
