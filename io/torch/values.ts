/** Python values of a checkpoint as plain data. */
import type { HostDType, TensorInfo } from "../../tensor/mod.ts";

/**
 * Keys of Python dicts: names, the optimiser's indices, and a placeholder for each key of another
 * kind, such as a tuple.
 */
export type TorchKey = string | number | bigint | boolean | null | Opaque;

/**
 * What a checkpoint holds, with tensors as `T`. Python's dict, OrderedDict and defaultdict are a Map,
 * its list an array, tuple and torch.Size a Tuple, int and float a number (an int past 2^53 a
 * bigint), bytes a Uint8Array, and any other object an {@linkcode Opaque}.
 */
export type TorchValue<T> =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | T
  | TorchValue<T>[]
  | Map<TorchKey, TorchValue<T>>
  | Tuple<T>
  | Namespace<T>
  | Opaque<T>;

/** A Python tuple. */
export class Tuple<T = never> {
  /** Its members, in order. */
  readonly items: TorchValue<T>[];

  /** A tuple of these members. */
  constructor(items: TorchValue<NoInfer<T>>[]) {
    this.items = items;
  }
}

/** An `argparse.Namespace`: the options a run was started with. */
export class Namespace<T = never> {
  /** Its fields, by name. */
  readonly entries: Map<string, TorchValue<T>>;

  /** A Namespace with these fields. */
  constructor(entries: Map<string, TorchValue<NoInfer<T>>> = new Map()) {
    this.entries = entries;
  }
}

/**
 * The placeholder of a Python object that has no counterpart here, such as a NumPy array, a path or
 * an instance of a class of the training program. It says what the object is; nothing was imported
 * or called to make it.
 */
export class Opaque<T = never> {
  /** The full name of its class, or of the function that would make it: `numpy.ndarray`. */
  readonly name: string;
  /**
   * The items of an object that is a kind of dict, and the attributes of others, where the
   * checkpoint lists them. Empty where they refer back to the object itself.
   */
  readonly entries: Map<TorchKey, TorchValue<T>>;

  /** A placeholder of this name. */
  constructor(name: string, entries: Map<TorchKey, TorchValue<NoInfer<T>>> = new Map()) {
    this.name = name;
    this.entries = entries;
  }
}

/** A block of elements that tensors are views of. */
export interface TorchStorage {
  readonly key: string;
  readonly dtype: HostDType;
  /** Elements. */
  readonly count: number;
}

/** A tensor as the pickle describes it: a strided view of a storage. Strides count elements. */
export class TensorRef implements TensorInfo {
  readonly storage: TorchStorage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(
    storage: TorchStorage,
    offset: number,
    shape: readonly number[],
    strides: readonly number[],
  ) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }

  get dtype(): HostDType {
    return this.storage.dtype;
  }
}

/**
 * A copy of `value` with every tensor replaced. A part that occurs twice is replaced once and
 * occurs twice in the copy as well.
 */
export async function mapTensors<T extends object, U>(
  value: TorchValue<T>,
  isTensor: (value: object) => value is T,
  replace: (tensor: T) => U | Promise<U>,
): Promise<TorchValue<U>> {
  const done = new Map<object, TorchValue<U>>();
  const walk = async (value: TorchValue<T>): Promise<TorchValue<U>> => {
    if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
    const known = done.get(value);
    if (known !== undefined) return known;
    const copy = await convert(value);
    done.set(value, copy);
    return copy;
  };
  const entries = async <K>(map: Map<K, TorchValue<T>>): Promise<Map<K, TorchValue<U>>> => {
    const copy = new Map<K, TorchValue<U>>();
    for (const [key, item] of map) copy.set(key, await walk(item));
    return copy;
  };
  const list = async (items: TorchValue<T>[]): Promise<TorchValue<U>[]> => {
    const copy: TorchValue<U>[] = [];
    for (const item of items) copy.push(await walk(item));
    return copy;
  };
  const convert = async (
    value: TorchValue<T> & object,
  ): Promise<TorchValue<U>> => {
    if (isTensor(value)) return await replace(value);
    if (Array.isArray(value)) return await list(value);
    if (value instanceof Map) return await entries(value);
    if (value instanceof Tuple) return new Tuple(await list(value.items));
    if (value instanceof Namespace) return new Namespace(await entries(value.entries));
    if (value instanceof Opaque) return new Opaque(value.name, await entries(value.entries));
    throw new TypeError(`mapTensors: expected a value of a checkpoint but got ${String(value)}`);
  };
  return await walk(value);
}
