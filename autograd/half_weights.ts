/** f16 copies of weights: made once, and shared by all that computes with them. */
import {
  copy,
  currentScope,
  empty,
  outsideScopes,
  type Storage,
  type Tensor,
} from "../tensor/mod.ts";

/** The copy of a storage, and the state of it that was copied. */
interface Half {
  readonly version: number;
  /** [length] */
  readonly whole: Tensor;
  /** Whether it has been since it was made. */
  isUsed: boolean;
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
/** Those of which calls that are recorded would use a shared copy if there were one. */
const missed = new WeakSet<Storage>();
let holder: HalfWeights | null = null;

/** The shared copy of a storage as it is now; undefined where there is none. */
function sharedNow(storage: Storage): Half | undefined {
  const half = shared.get(storage);
  return half && half.version === storage.version && !half.whole.disposed ? half : undefined;
}

/** Copies for work that is recorded: apart from others, they live until they are disposed of. */
export class HalfWeights implements Holder, Disposable {
  readonly halves: Map<Storage, Half> = new Map();
  /** Storages of shared copies that were used instead, by those of their weights. */
  readonly borrowed: Map<Storage, Storage> = new Map();
  /** Storages that there were none of, which it would have used. */
  readonly missed: Set<Storage> = new Set();
  readonly #borrows: boolean;
  readonly #copies: Tensor[] = [];

  /** @param borrows Whether to use those that are kept when weights change, where there are any. */
  constructor(borrows: boolean) {
    this.#borrows = borrows;
  }

  adopt(copy: Tensor): void {
    this.#copies.push(copy);
  }

  /** A shared copy to be used; null where one of its own is. */
  borrow(storage: Storage): Tensor | null {
    if (!this.#borrows || this.halves.has(storage)) return null;
    const half = sharedNow(storage);
    if (!half) {
      this.missed.add(storage);
      missed.add(storage);
      return null;
    }
    half.isUsed = true;
    this.borrowed.set(storage, half.whole.storage);
    return half.whole;
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

/**
 * Uses shared copies again.
 *
 * @returns whether all of them are where they were, of weights as these are now, and none are there
 * that were missed.
 */
export function borrowAgain(
  { borrowed, missed }: Pick<HalfWeights, "borrowed" | "missed">,
): boolean {
  for (const storage of missed) if (sharedNow(storage)) return false;
  for (const [storage, copied] of borrowed) {
    const half = sharedNow(storage);
    if (half?.whole.storage !== copied) return false;
    half.isUsed = true;
  }
  return true;
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
 * @internal Where the f16 copy of weights goes that are about to change: another handle, the caller's,
 * to the copy that there is, or a new tensor. Null where none has been used since the last time.
 */
export function takeHalf({ storage, size }: Tensor): Tensor | null {
  const half = shared.get(storage);
  const isMissed = missed.delete(storage);
  if (!half && !isMissed || size !== storage.length) return null;
  if (!half?.isUsed && !isMissed) {
    shared.delete(storage);
    return null;
  }
  const whole = half?.whole;
  return outsideScopes(() =>
    !whole || whole.disposed ? empty(storage.device, "f16", [size], "cast") : whole.as([size], [1])
  );
}

/** @internal Takes `whole`, which stays the caller's, for the f16 copy of a storage as it is now. */
export function keepHalf(storage: Storage, whole: Tensor): void {
  whole.storage.version++;
  shared.set(storage, { version: storage.version, whole, isUsed: false });
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
  const borrowed = holder?.borrow(storage);
  if (borrowed) return borrowed.as(p.shape, p.strides, p.offset);
  const { version } = storage;
  let half = halves.get(storage);
  if (!half || half.version !== version || half.whole.disposed) {
    half?.whole.dispose();
    half = { version, whole: outsideScopes(() => copyOf(p)), isUsed: true };
    owner.adopt(half.whole);
    halves.set(storage, half);
  }
  half.isUsed = true;
  return half.whole.as(p.shape, p.strides, p.offset);
}

function copyOf(p: Tensor): Tensor {
  using whole = p.as([p.storage.length], [1], 0);
  return copy(whole, "f16", "cast");
}
