/**
 * Writes values of a checkpoint as a pickle of protocol 2, the one `torch.save` uses and every
 * version of Python 3 reads.
 */
import { elementCount, type HostDType, type TensorInfo } from "../../tensor/mod.ts";
import { STORAGE_DTYPES } from "./globals.ts";
import { OP } from "./opcodes.ts";
import { Namespace, type TorchKey, type TorchValue, Tuple } from "./values.ts";

const STORAGE_NAMES = Object.fromEntries(
  Object.entries(STORAGE_DTYPES).map(([name, dtype]) => [dtype, name]),
) as Partial<Record<HostDType, string>>;

/** A pickle, and the tensors it refers to: the storage of `tensors[i]` has key `i`. */
export interface Pickled<T> {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly tensors: readonly T[];
}

/**
 * Pickles a value. A number is written as int where it is a safe integer, else as float.
 *
 * @throws {TypeError} If PyTorch has no storage for a tensor's element type, or a part of the value
 * is of no kind that checkpoints hold.
 */
export function writePickle<T extends TensorInfo>(value: TorchValue<T>): Pickled<T> {
  const writer = new PickleWriter<T>();
  writer.bytes(OP.PROTO, 2);
  writer.value(value);
  writer.bytes(OP.STOP);
  return { bytes: writer.take(), tensors: writer.tensors };
}

class PickleWriter<T extends TensorInfo> {
  readonly tensors: T[] = [];
  readonly #keys = new Map<T, number>();
  #buffer = new Uint8Array(4096);
  #length = 0;

  take(): Uint8Array<ArrayBuffer> {
    return this.#buffer.slice(0, this.#length);
  }

  bytes(...bytes: number[]): void {
    this.#append(Uint8Array.from(bytes));
  }

  value(value: TorchValue<T>): void {
    if (value === null) this.bytes(OP.NONE);
    else if (typeof value === "boolean") this.bytes(value ? OP.NEWTRUE : OP.NEWFALSE);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "bigint") this.#long(value);
    else if (typeof value === "string") this.#text(value);
    else if (value instanceof Uint8Array) this.#bytesValue(value);
    else if (Array.isArray(value)) this.#list(value);
    else if (value instanceof Map) this.#dict(value);
    else if (value instanceof Tuple) this.#tuple(value.items.map((item) => () => this.value(item)));
    else if (value instanceof Namespace) this.#namespace(value);
    else if ("dtype" in value && "shape" in value) this.#tensor(value);
    else throw new TypeError(`writePickle: expected a value of a checkpoint but got ${value}`);
  }

  #number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      if (value === (value | 0)) this.bytes(OP.BININT, ...littleEndian(value, 4));
      else this.#long(BigInt(value));
      return;
    }
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value, false);
    this.bytes(OP.BINFLOAT, ...bytes);
  }

  #long(value: bigint): void {
    const bytes: number[] = [];
    // Two's complement, until what is left is the sign of the last byte alone.
    for (let rest = value;; rest >>= 8n) {
      const byte = Number(BigInt.asUintN(8, rest));
      bytes.push(byte);
      if (rest >> 7n === 0n || rest >> 7n === -1n) break;
    }
    if (bytes.length > 255) {
      throw new TypeError("writePickle: expected an integer of at most 255 bytes");
    }
    this.bytes(OP.LONG1, bytes.length, ...bytes);
  }

  #text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.bytes(OP.BINUNICODE, ...littleEndian(bytes.length, 4));
    this.#append(bytes);
  }

  /** `_codecs.encode(text, "latin1")`, as protocol 2 spells bytes. */
  #bytesValue(value: Uint8Array): void {
    this.#global("_codecs.encode");
    this.#tuple([
      () => this.#text(Array.from(value, (byte) => String.fromCharCode(byte)).join("")),
      () => this.#text("latin1"),
    ]);
    this.bytes(OP.REDUCE);
  }

  #list(items: TorchValue<T>[]): void {
    this.bytes(OP.EMPTY_LIST, OP.MARK);
    for (const item of items) this.value(item);
    this.bytes(OP.APPENDS);
  }

  #dict(map: ReadonlyMap<TorchKey, TorchValue<T>>): void {
    this.bytes(OP.EMPTY_DICT, OP.MARK);
    for (const [key, item] of map) {
      this.value(key);
      this.value(item);
    }
    this.bytes(OP.SETITEMS);
  }

  #tuple(writeItems: (() => void)[]): void {
    this.bytes(OP.MARK);
    for (const write of writeItems) write();
    this.bytes(OP.TUPLE);
  }

  #namespace(value: Namespace<T>): void {
    this.#global("argparse.Namespace");
    this.bytes(OP.EMPTY_TUPLE, OP.NEWOBJ);
    this.#dict(value.entries);
    this.bytes(OP.BUILD);
  }

  /** `_rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict())` */
  #tensor(tensor: T): void {
    const { dtype, shape } = tensor;
    const storageName = STORAGE_NAMES[dtype];
    if (storageName === undefined) {
      throw new TypeError(`writePickle: expected an element type of PyTorch but got ${dtype}`);
    }
    const key = this.#keys.get(tensor) ?? this.tensors.push(tensor) - 1;
    this.#keys.set(tensor, key);
    let step = 1;
    const strides = shape.toReversed().map((d) => {
      const stride = step;
      step *= Math.max(d, 1);
      return stride;
    }).reverse();
    this.#global("torch._utils._rebuild_tensor_v2");
    this.#tuple([
      () => {
        this.#tuple([
          () => this.#text("storage"),
          () => this.#global(storageName),
          () => this.#text(String(key)),
          () => this.#text("cpu"),
          () => this.#number(elementCount(shape)),
        ]);
        this.bytes(OP.BINPERSID);
      },
      () => this.#number(0),
      () => this.#sizes(shape),
      () => this.#sizes(strides),
      () => this.bytes(OP.NEWFALSE),
      () => {
        this.#global("collections.OrderedDict");
        this.bytes(OP.EMPTY_TUPLE, OP.REDUCE);
      },
    ]);
    this.bytes(OP.REDUCE);
  }

  #sizes(sizes: readonly number[]): void {
    this.#tuple(sizes.map((size) => () => this.#number(size)));
  }

  #global(name: string): void {
    const dot = name.lastIndexOf(".");
    const text = `${name.slice(0, dot)}\n${name.slice(dot + 1)}\n`;
    this.bytes(OP.GLOBAL);
    this.#append(new TextEncoder().encode(text));
  }

  #append(bytes: Uint8Array): void {
    const end = this.#length + bytes.byteLength;
    if (end > this.#buffer.byteLength) {
      const grown = new Uint8Array(Math.max(end, 2 * this.#buffer.byteLength));
      grown.set(this.#buffer);
      this.#buffer = grown;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length = end;
  }
}

function littleEndian(value: number, length: number): number[] {
  return Array.from({ length }, (_, i) => (value >>> (8 * i)) & 0xff);
}
