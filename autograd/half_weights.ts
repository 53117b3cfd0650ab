/** f16 copies of weights: made once, and shared by all that computes with them. */
import { copy, currentScope, outsideScopes, type Storage, type Tensor } from "../tensor/mod.ts";

/** The copy of a storage, and the state of it that was copied. */
interface Half {
  readonly version: number;
  /** [length] */
  readonly whole: Tensor;
}

/** Where copies are looked up, and who frees them. */
interface Holder {
  readonly halves: {
    get(storage: Storage): Half | undefined;
    set(storage: Storage, half: Half): unknown;
  };
  adopt(copy: Tensor): void;
}

const shared = new WeakMap<Storage, Half>();
let holder: Holder | null = null;

/** Copies apart from all others, which live until they are disposed of. */
export class HalfWeights implements Holder, Disposable {
  readonly halves: Map<Storage, Half> = new Map();
  readonly #copies: Tensor[] = [];

  adopt(copy: Tensor): void {
    this.#copies.push(copy);
  }

  /** Runs `fn`, whose weights are copied here. */
  within<T>(fn: () => T): T {
    const before = holder;
    holder = this;
    try {
      return fn();
    } finally {
      holder = before;
    }
  }

  dispose(): void {
    for (const copy of this.#copies.splice(0)) copy.dispose();
    this.halves.clear();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The outermost scope that is open as the holder of copies. */
function outermostScope(): Holder | null {
  let root = currentScope();
  if (!root) return null;
  while (root.parent) root = root.parent;
  const scope = root;
  return { halves: shared, adopt: (copy) => scope.adopt(copy) };
}

/**
 * A parameter in f16. The storage that it lies in is copied whole, with the parameters beside it, where
 * it has not been since it was changed last; the copy lives as long as the outermost scope that is
 * open, as a rule that of a training step. Without any scope each call makes a copy.
 */
export function halfWeight(p: Tensor): Tensor {
  const owner = holder ?? outermostScope();
  if (!owner) return copy(p, "f16", "cast");
  const { halves } = owner;
  const { storage } = p;
  const { version } = storage;
  let half = halves.get(storage);
  if (!half || half.version !== version || half.whole.disposed) {
    half?.whole.dispose();
    half = { version, whole: outsideScopes(() => copyOf(p)) };
    owner.adopt(half.whole);
    halves.set(storage, half);
  }
  return half.whole.as(p.shape, p.strides, p.offset);
}

function copyOf(p: Tensor): Tensor {
  using whole = p.as([p.storage.length], [1], 0);
  return copy(whole, "f16", "cast");
}
