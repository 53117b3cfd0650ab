import { elementCount } from "../../tensor/mod.ts";
import type { ByteCursor } from "./cursor.ts";
import {
  type Constructor,
  FOREIGN_STORAGE_BYTES,
  isConstructor,
  isHarmful,
  isMaker,
  STORAGE_DTYPES,
} from "./globals.ts";
import { Namespace, Opaque, TensorRef, type TorchKey, type TorchStorage, Tuple } from "./values.ts";

/** A class or function by its name. As a value of its own it is a placeholder. */
export class GlobalRef extends Opaque {}

/** A storage, before a tensor is made of it. As a value of its own it is a placeholder. */
export class StorageRef extends Opaque {
  readonly storage: TorchStorage;

  constructor(type: string, storage: TorchStorage) {
    super(type);
    this.storage = storage;
  }
}

/** The size of a storage of elements that have no type here. */
export interface ForeignBlock {
  /** Elements. */
  readonly count: number;
  /** Bytes of each; undefined where that is not known. */
  readonly itemBytes: number | undefined;
}

/** A member of an enum. */
class Member extends Opaque {}

/** A storage of elements that have no type here, such as complex or quantised numbers. */
class ForeignStorage extends Opaque {}

/** What the stack of the pickle machine holds: values of checkpoints, and the parts of tensors. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<TorchKey, PickleValue>
  | Tuple<TensorRef>
  | Namespace<TensorRef>
  | Opaque<TensorRef>
  | TensorRef;

/**
 * Opcodes and copied values a pickle may cost beyond one for each of its bytes: a thousand times what
 * the largest model needs.
 */
const MAX_WORK = 4_000_000;

/** PyTorch's own limit on dimensions. */
const MAX_RANK = 64;

/**
 * Elements that an expanded tensor (stride 0) may have beyond those of its storage. Without a limit
 * a few bytes of file could ask for all memory.
 */
const MAX_EXPANDED = 2 ** 24;

/** Makes the data, or the placeholder, that each name stands for. */
export class Builder {
  readonly storages = new Map<string, TorchStorage>();
  /** Storages of elements that have no type here. */
  readonly foreign = new Map<string, ForeignBlock>();
  readonly #cursor: ByteCursor;
  readonly #maxWork: number;
  #work = 0;

  constructor(cursor: ByteCursor) {
    this.#cursor = cursor;
    this.#maxWork = MAX_WORK + cursor.size;
  }

  /** Counts work that the pickle causes, so that a small one cannot cause much. */
  spend(work: number): void {
    this.#work += work;
    if (this.#work > this.#maxWork) {
      this.#fail("a pickle of the size checkpoints have", "more values");
    }
  }

  /** What calling `callee` with `args` stands for. */
  call(callee: Opaque<TensorRef>, args: PickleValue[]): PickleValue {
    this.spend(args.length);
    const { name } = callee;
    if (callee instanceof Member) return this.#fail("a class to call", `the member ${name}`);
    if (callee instanceof GlobalRef && isConstructor(name)) return this.#construct(name, args);
    const [first] = args;
    return new Opaque(isMaker(name) && first instanceof Opaque ? first.name : name);
  }

  /** The data of one of the names that are known. */
  #construct(name: Constructor, args: PickleValue[]): PickleValue {
    switch (name) {
      case "collections.OrderedDict":
        return this.#orderedDict(args);
      case "collections.defaultdict":
        return this.#orderedDict(args.slice(1)); // after the function that makes missing values
      case "torch._utils._rebuild_tensor_v2":
        return this.#tensor(args);
      case "torch._utils._rebuild_parameter":
      case "torch._utils._rebuild_parameter_with_state":
        return this.#parameter(args);
      case "torch._tensor._rebuild_from_type_v2":
        return this.#typed(args);
      case "torch.Size":
        return args.length === 1 && args[0] instanceof Tuple
          ? args[0]
          : this.#fail("a tuple for a torch.Size", "something else");
      case "argparse.Namespace":
        return args.length === 0
          ? new Namespace()
          : this.#fail("a Namespace without arguments", `${args.length}`);
      case "_codecs.encode":
        return this.#encode(args);
      case "builtins.getattr":
        return this.#member(args);
    }
  }

  /**
   * Gives `target` its state: the fields of a Namespace, the attributes of a placeholder. Those of
   * dicts and tensors are of no use here.
   */
  setState(target: PickleValue, state: PickleValue): void {
    if (target instanceof Map || target instanceof TensorRef) return;
    if (target instanceof Opaque) return this.#setAttributes(target, state);
    if (!(target instanceof Namespace) || !(state instanceof Map)) {
      return this.#fail("a Namespace and a dict of its fields", "something else");
    }
    this.spend(state.size);
    for (const [key, value] of state) {
      if (typeof key !== "string") return this.#fail("fields named by text", typeof key);
      target.entries.set(key, value);
    }
  }

  /** State is a dict of attributes, or a pair of it and a dict of slots, or of no use here. */
  #setAttributes(target: Opaque<TensorRef>, state: PickleValue): void {
    if (target instanceof GlobalRef) return;
    for (const part of state instanceof Tuple ? state.items : [state]) {
      if (!(part instanceof Map)) continue;
      this.spend(part.size);
      for (const [key, value] of part) target.entries.set(key, value);
    }
  }

  /**
   * The storage a persistent id names:
   * `("storage", class, key, location, elements)`, and in the old format a view, always None.
   */
  storage(id: PickleValue): Opaque {
    const [tag, type, key, location, count, view] = id instanceof Tuple ? id.items : [];
    if (tag === "module" && type instanceof GlobalRef) return type; // a class, with its source
    if (
      tag !== "storage" || !(type instanceof GlobalRef) || typeof key !== "string" ||
      typeof location !== "string" || !isSize(count) || (view ?? null) !== null
    ) {
      return this.#fail("a storage's class, key, location and size", "something else");
    }
    const { name } = type;
    if (!Object.hasOwn(STORAGE_DTYPES, name)) {
      this.foreign.set(key, { count, itemBytes: FOREIGN_STORAGE_BYTES[name] });
      return new ForeignStorage(name);
    }
    const dtype = STORAGE_DTYPES[name]!;
    const known = this.storages.get(key);
    if (known && (known.dtype !== dtype || known.count !== count)) {
      return this.#fail(
        `storage ${key} to be ${known.count} of ${known.dtype} in every tensor`,
        `${count} of ${dtype}`,
      );
    }
    const storage = known ?? { key, dtype, count };
    this.storages.set(key, storage);
    return new StorageRef(name, storage);
  }

  /** `value` as a key of a dict: a placeholder where it is no text or number. */
  key(value: PickleValue): TorchKey {
    if (typeof value !== "object" || value === null) return value;
    if (value instanceof Tuple) return new Opaque("tuple");
    if (value instanceof Uint8Array) return new Opaque("bytes");
    if (value instanceof TensorRef) return new Opaque("torch.Tensor");
    if (value instanceof Opaque) return new Opaque(value.name);
    return this.#fail("text or a number as key of a dict", "something else");
  }

  #orderedDict(args: PickleValue[]): Map<TorchKey, PickleValue> {
    const map = new Map<TorchKey, PickleValue>();
    const [items] = args;
    if (items === undefined) return map;
    if (args.length > 1 || !Array.isArray(items)) {
      return this.#fail("a list of pairs for an OrderedDict", "something else");
    }
    this.spend(items.length);
    for (const item of items) {
      const pair = Array.isArray(item) ? item : item instanceof Tuple ? item.items : [];
      if (pair.length !== 2) return this.#fail("pairs for an OrderedDict", "something else");
      map.set(this.key(pair[0]!), pair[1]!);
    }
    return map;
  }

  /** `(data, requires_grad, backward_hooks[, state])` */
  #parameter(args: PickleValue[]): PickleValue {
    const [data] = args;
    if (args.length >= 3 && args.length <= 4) {
      if (data instanceof TensorRef || data instanceof Opaque) return data;
    }
    return this.#fail("a tensor and two flags for a parameter", "other arguments");
  }

  /** `(function, type, arguments, state)`: a tensor with attributes, or of a class of its own. */
  #typed(args: PickleValue[]): PickleValue {
    const [rebuild, , inner] = args;
    if (args.length !== 4 || !(rebuild instanceof Opaque) || !(inner instanceof Tuple)) {
      return this.#fail("a function, a type, arguments and a state", "something else");
    }
    const isTyped = rebuild.name === "torch._tensor._rebuild_from_type_v2"; // would not end
    return isTyped ? new Opaque("torch.Tensor") : this.call(rebuild, inner.items);
  }

  /** `(storage, offset, size, stride, requires_grad, backward_hooks[, metadata])` */
  #tensor(args: PickleValue[]): PickleValue {
    const [source, offset, size, stride] = args;
    if (source instanceof ForeignStorage) return new Opaque(`torch.Tensor of a ${source.name}`);
    const shape = this.#sizes(size);
    const strides = this.#sizes(stride);
    if (
      args.length < 6 || args.length > 7 || !(source instanceof StorageRef) || !isSize(offset) ||
      !shape || !strides || shape.length !== strides.length
    ) {
      return this.#fail("a tensor's storage, offset, size and strides", "something else");
    }
    const { storage } = source;
    const count = elementCount(shape);
    const end = count === 0
      ? 0
      : 1 + shape.reduce((last, d, i) => last + (d - 1) * strides[i]!, offset);
    if (!Number.isSafeInteger(8 * count) || !(end <= storage.count)) {
      return this.#fail(
        `a tensor inside the ${storage.count} elements of storage ${storage.key}`,
        `size [${shape.join(", ")}] and strides [${strides.join(", ")}] from ${offset} on`,
      );
    }
    if (count > storage.count + MAX_EXPANDED) {
      return this.#fail(
        `a tensor expanded by at most ${MAX_EXPANDED} elements`,
        `size [${shape.join(", ")}] over ${storage.count} elements`,
      );
    }
    return new TensorRef(storage, offset, shape, strides);
  }

  #sizes(value: PickleValue | undefined): number[] | undefined {
    if (!(value instanceof Tuple) || value.items.length > MAX_RANK) return undefined;
    this.spend(value.items.length);
    return value.items.every(isSize) ? [...value.items as number[]] : undefined;
  }

  /**
   * How Python 3.11 and 3.12 spell a member of an enum: `getattr(class, name)`. Attacks reach
   * functions in this way, and are refused: no other object's attribute is needed, and what this
   * gives cannot be called.
   */
  #member(args: PickleValue[]): Opaque {
    const [type, name] = args;
    if (args.length === 2 && type instanceof GlobalRef && typeof name === "string") {
      const full = `${type.name}.${name}`;
      const isKnown = isConstructor(type.name) || /^(builtins|collections|torch)\./.test(full);
      if (!isKnown && !isHarmful(full) && /^[A-Za-z]\w*$/.test(name)) return new Member(full);
    }
    return this.#fail(
      "names of data, as checkpoints need",
      'the name "__builtin__.getattr", which could run code; it was not run',
    );
  }

  /** How protocol 2 spells bytes: text whose characters are the bytes, and "latin1". */
  #encode(args: PickleValue[]): Uint8Array {
    const [text, encoding] = args;
    if (args.length !== 2 || typeof text !== "string" || encoding !== "latin1") {
      return this.#fail("bytes as text in latin1", "something else");
    }
    this.spend(text.length);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 255) return this.#fail("bytes as text in latin1", `the character ${code}`);
      bytes[i] = code;
    }
    return bytes;
  }

  #fail(expected: string, found: string): never {
    return this.#cursor.fail(expected, found);
  }
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
