import { elementCount } from "../host_tensor.ts";
import type { ByteCursor } from "./cursor.ts";
import { STORAGE_DTYPES } from "./globals.ts";
import { Namespace, TensorRef, type TorchKey, type TorchStorage, Tuple } from "./values.ts";

/** An allowed name, before it is used. */
export class GlobalRef {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** A storage, before a tensor is made of it. */
export class StorageRef {
  readonly storage: TorchStorage;

  constructor(storage: TorchStorage) {
    this.storage = storage;
  }
}

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
  | Tuple<TensorRef | GlobalRef | StorageRef>
  | Namespace<TensorRef | GlobalRef | StorageRef>
  | TensorRef
  | GlobalRef
  | StorageRef;

/** Opcodes and copied values a pickle may cost: a thousand times what the largest model needs. */
const MAX_WORK = 4_000_000;

/** PyTorch's own limit on dimensions. */
const MAX_RANK = 64;

/**
 * Elements that an expanded tensor (stride 0) may have beyond those of its storage. Without a limit
 * a few bytes of file could ask for all memory.
 */
const MAX_EXPANDED = 2 ** 24;

/** Makes the data that each allowed name stands for. */
export class Builder {
  readonly storages = new Map<string, TorchStorage>();
  readonly #cursor: ByteCursor;
  #work = 0;

  constructor(cursor: ByteCursor) {
    this.#cursor = cursor;
  }

  /** Counts work that the pickle causes, so that a small one cannot cause much. */
  spend(work: number): void {
    this.#work += work;
    if (this.#work > MAX_WORK) this.#fail("a pickle of the size checkpoints have", "more values");
  }

  /** What calling `name` with `args` stands for. */
  construct(name: string, args: PickleValue[]): PickleValue {
    this.spend(args.length);
    switch (name) {
      case "collections.OrderedDict":
        return this.#orderedDict(args);
      case "torch._utils._rebuild_tensor_v2":
        return this.#tensor(args);
      case "torch._utils._rebuild_parameter":
        // (data, requires_grad, backward_hooks)
        return args.length === 3 && args[0] instanceof TensorRef
          ? args[0]
          : this.#fail("a tensor and two flags for a parameter", "other arguments");
      case "argparse.Namespace":
        return args.length === 0
          ? new Namespace()
          : this.#fail("a Namespace without arguments", `${args.length}`);
      case "_codecs.encode":
        return this.#encode(args);
      default:
        return this.#fail("a name that constructs a value", name);
    }
  }

  /** Gives `target` its state: the fields of a Namespace. Others' attributes are of no use here. */
  setState(target: PickleValue, state: PickleValue): void {
    if (target instanceof Map && state instanceof Map) return;
    if (!(target instanceof Namespace) || !(state instanceof Map)) {
      return this.#fail("a Namespace and a dict of its fields", "something else");
    }
    this.spend(state.size);
    for (const [key, value] of state) {
      if (typeof key !== "string") return this.#fail("fields named by text", typeof key);
      target.entries.set(key, value);
    }
  }

  /**
   * The storage a persistent id names:
   * `("storage", class, key, location, elements)`, and in the old format a view, always None.
   */
  storage(id: PickleValue): StorageRef {
    const [tag, type, key, location, count, view] = id instanceof Tuple ? id.items : [];
    const dtype = type instanceof GlobalRef ? STORAGE_DTYPES[type.name] : undefined;
    if (
      tag !== "storage" || dtype === undefined || typeof key !== "string" ||
      typeof location !== "string" || !isSize(count) || (view ?? null) !== null
    ) {
      return this.#fail("a storage's class, key, location and size", "something else");
    }
    const known = this.storages.get(key);
    if (known && (known.dtype !== dtype || known.count !== count)) {
      return this.#fail(
        `storage ${key} to be ${known.count} of ${known.dtype} as before`,
        `${count} of ${dtype}`,
      );
    }
    const storage = known ?? { key, dtype, count };
    this.storages.set(key, storage);
    return new StorageRef(storage);
  }

  /** `value` as a key of a dict. */
  key(value: PickleValue): TorchKey {
    return typeof value === "object" && value !== null
      ? this.#fail("text or a number as key of a dict", "something else")
      : value;
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

  /** `(storage, offset, size, stride, requires_grad, backward_hooks[, metadata])` */
  #tensor(args: PickleValue[]): TensorRef {
    const [source, offset, size, stride] = args;
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

  /** How protocol 2 spells bytes: text whose characters are the bytes, and "latin1". */
  #encode(args: PickleValue[]): Uint8Array {
    const [text, encoding] = args;
    if (args.length !== 2 || typeof text !== "string" || encoding !== "latin1") {
      return this.#fail("bytes as text in latin1", "something else");
    }
    this.spend(text.length);
    return Uint8Array.from(text, (character) => {
      const code = character.codePointAt(0)!;
      return code < 256 ? code : this.#fail("bytes as text in latin1", `the character ${code}`);
    });
  }

  #fail(expected: string, found: string): never {
    return this.#cursor.fail(expected, found);
  }
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
