/**
 * Reads Python pickles, protocols 2 to 5, as inert data. A pickle is a program that can name and
 * call anything Python can import; this reader imports and calls nothing. It builds plain values for
 * the few names that weights need (`globals.ts`), refuses those that only attacks need, and keeps a
 * placeholder for every other object.
 */
import { quote } from "../errors.ts";
import { ByteCursor } from "./cursor.ts";
import { fullName, isHarmful } from "./globals.ts";
import { OP } from "./opcodes.ts";
import { Builder, type ForeignBlock, GlobalRef, type PickleValue } from "./builder.ts";
import {
  Namespace,
  Opaque,
  type TensorRef,
  type TorchStorage,
  type TorchValue,
  Tuple,
} from "./values.ts";

/** How deep values may be nested. Real checkpoints need six levels. */
const MAX_DEPTH = 100;

/** What a pickle holds. */
export interface Unpickled {
  readonly value: TorchValue<TensorRef>;
  /** Every storage a tensor refers to, by key. */
  readonly storages: ReadonlyMap<string, TorchStorage>;
  /** Every storage of elements that have no type here, by key. */
  readonly foreign: ReadonlyMap<string, ForeignBlock>;
  /** Offset of the byte after the pickle. */
  readonly end: number;
}

/**
 * Reads the pickle that begins at byte `at`.
 *
 * @param file For messages.
 * @param part Which part of the file `bytes` are, for messages.
 * @throws {FormatError} If the pickle is damaged, or names anything that only attacks need.
 */
export function readPickle(bytes: Uint8Array, file: string, part: string, at = 0): Unpickled {
  const cursor = new ByteCursor(bytes, file, part, at);
  if (cursor.u8() !== OP.PROTO) cursor.fail("a pickle of protocol 2 to 5", "something else", at);
  const protocol = cursor.u8();
  if (protocol < 2 || protocol > 5) {
    cursor.fail("pickle protocol 2 to 5", `${protocol}`, at + 1);
  }
  const machine = new Machine(cursor);
  const value = machine.run();
  new Finisher(cursor, machine.builder, at).finish(value);
  const { storages, foreign } = machine.builder;
  return { value, storages, foreign, end: cursor.at };
}

/** The stack machine that the opcodes drive. */
class Machine {
  readonly builder: Builder;
  readonly #cursor: ByteCursor;
  readonly #memo = new Map<number, PickleValue>();
  /** Stacks set aside by MARK; the last is the innermost. */
  readonly #marked: PickleValue[][] = [];
  #stack: PickleValue[] = [];

  constructor(cursor: ByteCursor) {
    this.#cursor = cursor;
    this.builder = new Builder(cursor);
  }

  run(): PickleValue {
    for (;;) {
      const start = this.#cursor.at;
      const opcode = this.#cursor.u8();
      this.builder.spend(1);
      if (opcode === OP.STOP) {
        const value = this.#pop();
        if (this.#stack.length > 0 || this.#marked.length > 0) {
          this.#cursor.fail("one value at the end", "more", start);
        }
        return value;
      }
      if (!this.#literal(opcode) && !this.#container(opcode) && !this.#object(opcode)) {
        this.#cursor.fail(
          "an opcode that checkpoints need",
          `0x${opcode.toString(16).padStart(2, "0")} ${quote(String.fromCharCode(opcode))}`,
          start,
        );
      }
    }
  }

  /** Values written out in full. */
  #literal(opcode: number): boolean {
    const c = this.#cursor;
    switch (opcode) {
      case OP.NONE:
        return this.#push(null);
      case OP.NEWTRUE:
        return this.#push(true);
      case OP.NEWFALSE:
        return this.#push(false);
      case OP.BININT:
        return this.#push(c.i32());
      case OP.BININT1:
        return this.#push(c.u8());
      case OP.BININT2:
        return this.#push(c.u16());
      case OP.LONG1:
        return this.#push(readLong(c, c.u8()));
      case OP.LONG4:
        return this.#push(readLong(c, c.u32()));
      case OP.BINFLOAT:
        return this.#push(c.f64BigEndian());
      case OP.SHORT_BINUNICODE:
      case OP.SHORT_BINSTRING:
        return this.#push(c.text(c.u8()));
      case OP.BINUNICODE:
      case OP.BINSTRING:
        return this.#push(c.text(c.u32()));
      case OP.BINUNICODE8:
        return this.#push(c.text(c.u64()));
      case OP.SHORT_BINBYTES:
        return this.#push(c.take(c.u8()).slice());
      case OP.BINBYTES:
        return this.#push(c.take(c.u32()).slice());
      case OP.BINBYTES8:
      case OP.BYTEARRAY8:
        return this.#push(c.take(c.u64()).slice());
      default:
        return false;
    }
  }

  /** Lists, tuples, dicts, and the stack and memo they are built with. */
  #container(opcode: number): boolean {
    const c = this.#cursor;
    switch (opcode) {
      case OP.MARK:
        this.#marked.push(this.#stack);
        this.#stack = [];
        return true;
      case OP.POP:
        this.#pop();
        return true;
      case OP.POP_MARK:
        this.#popMark();
        return true;
      case OP.DUP:
        return this.#push(this.#top());
      case OP.EMPTY_TUPLE:
        return this.#push(new Tuple([]));
      case OP.TUPLE1:
      case OP.TUPLE2:
      case OP.TUPLE3:
        return this.#push(new Tuple(this.#popMany(opcode - OP.TUPLE1 + 1)));
      case OP.TUPLE:
        return this.#push(new Tuple(this.#popMark()));
      case OP.EMPTY_LIST:
        return this.#push([]);
      case OP.LIST:
        return this.#push(this.#popMark());
      case OP.APPEND:
        return this.#append([this.#pop()]);
      case OP.APPENDS:
        return this.#append(this.#popMark());
      case OP.EMPTY_DICT:
        return this.#push(new Map());
      case OP.DICT: {
        const items = this.#popMark();
        this.#push(new Map());
        return this.#setItems(items);
      }
      case OP.SETITEM:
        return this.#setItems(this.#popMany(2));
      case OP.SETITEMS:
        return this.#setItems(this.#popMark());
      case OP.EMPTY_SET:
        return this.#push(new Opaque("builtins.set"));
      case OP.ADDITEMS:
        return this.#append(this.#popMark());
      case OP.FROZENSET:
        this.#popMark();
        return this.#push(new Opaque("builtins.frozenset"));
      case OP.BINPUT:
        return this.#store(c.u8());
      case OP.LONG_BINPUT:
        return this.#store(c.u32());
      case OP.MEMOIZE:
        return this.#store(this.#memo.size);
      case OP.BINGET:
        return this.#recall(c.u8());
      case OP.LONG_BINGET:
        return this.#recall(c.u32());
      case OP.FRAME: {
        // Frames only help readers of streams; the bytes are all here, or they are not.
        const length = c.u64();
        const start = c.at;
        c.take(length);
        c.at = start;
        return true;
      }
      default:
        return false;
    }
  }

  /** Names, and what is built with them. */
  #object(opcode: number): boolean {
    const c = this.#cursor;
    switch (opcode) {
      case OP.GLOBAL:
        return this.#global(c.line(), c.line());
      case OP.STACK_GLOBAL: {
        const [module, name] = this.#popMany(2);
        if (typeof module !== "string" || typeof name !== "string") {
          return c.fail("a name of text", "something else");
        }
        return this.#global(module, name);
      }
      case OP.INST:
        return c.fail("no old-style instance", quote(`${c.line()}.${c.line()}`));
      case OP.REDUCE:
      case OP.NEWOBJ: {
        const [callee, args] = this.#popMany(2);
        if (!(callee instanceof Opaque) || !(args instanceof Tuple)) {
          return c.fail("a name and a tuple of arguments", "something else");
        }
        return this.#push(this.builder.call(callee, args.items));
      }
      case OP.NEWOBJ_EX: {
        const [callee, args, named] = this.#popMany(3);
        if (!(callee instanceof Opaque) || !(args instanceof Tuple) || !(named instanceof Map)) {
          return c.fail("a name, a tuple and a dict of arguments", "something else");
        }
        return this.#push(new Opaque(callee.name));
      }
      case OP.BUILD: {
        const state = this.#pop();
        this.builder.setState(this.#top(), state);
        return true;
      }
      case OP.BINPERSID:
        return this.#push(this.builder.storage(this.#pop()));
      default:
        return false;
    }
  }

  #global(module: string, name: string): true {
    const full = fullName(module, name);
    if (isHarmful(full)) {
      this.#cursor.fail(
        "names of data, as checkpoints need",
        `the name ${quote(`${module}.${name}`)}, which could run code; it was not run`,
      );
    }
    return this.#push(new GlobalRef(full));
  }

  #push(value: PickleValue): true {
    this.#stack.push(value);
    return true;
  }

  #top(): PickleValue {
    return this.#stack.length > 0
      ? this.#stack.at(-1)!
      : this.#cursor.fail("a value on the stack", "none");
  }

  #pop(): PickleValue {
    const value = this.#top();
    this.#stack.pop();
    return value;
  }

  #popMany(count: number): PickleValue[] {
    if (this.#stack.length < count) {
      this.#cursor.fail(`${count} values on the stack`, `${this.#stack.length}`);
    }
    return this.#stack.splice(-count);
  }

  #popMark(): PickleValue[] {
    const items = this.#stack;
    this.#stack = this.#marked.pop() ?? this.#cursor.fail("a mark on the stack", "none");
    return items;
  }

  #append(items: PickleValue[]): true {
    const list = this.#top();
    if (list instanceof Opaque) return true; // a kind of list or set, whose items are of no use here
    if (!Array.isArray(list)) return this.#cursor.fail("a list to append to", "something else");
    for (const item of items) list.push(item);
    return true;
  }

  #setItems(items: PickleValue[]): true {
    const target = this.#top();
    if (target instanceof GlobalRef) return this.#cursor.fail("a dict", "a bare name");
    const map = target instanceof Opaque ? target.entries : target;
    if (!(map instanceof Map) || items.length % 2 !== 0) {
      return this.#cursor.fail("a dict and pairs for it", "something else");
    }
    for (let i = 0; i < items.length; i += 2) map.set(this.builder.key(items[i]!), items[i + 1]!);
    return true;
  }

  #store(index: number): true {
    this.#memo.set(index, this.#top());
    return true;
  }

  #recall(index: number): true {
    const value = this.#memo.get(index);
    if (value === undefined) this.#cursor.fail("a value stored before", `none under ${index}`);
    return this.#push(value!);
  }
}

/** A little-endian integer in two's complement; a number where that is exact. */
function readLong(cursor: ByteCursor, length: number): number | bigint {
  if (length > 1024) cursor.fail("an integer of at most 1024 bytes", `${length}`);
  const bytes = cursor.take(length);
  let value = 0n;
  for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  if (length > 0 && bytes[length - 1]! & 0x80) value -= 1n << BigInt(8 * length);
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/**
 * Proves that a value is finished data: no value inside itself, nothing nested deeper than readers
 * of it could follow. What a placeholder holds is dropped where it breaks these rules, as objects
 * that know their parents do.
 */
class Finisher {
  readonly #cursor: ByteCursor;
  readonly #builder: Builder;
  readonly #at: number;
  /** Levels below each value seen; undefined while it is being looked at. */
  readonly #heights = new Map<object, number | undefined>();

  constructor(cursor: ByteCursor, builder: Builder, at: number) {
    this.#cursor = cursor;
    this.#builder = builder;
    this.#at = at;
  }

  finish(root: PickleValue): void {
    const height = this.#height(root, 0);
    if (height === "cycle") this.#cursor.fail("values in a tree", "one inside itself", this.#at);
    if (height === "depth") {
      this.#cursor.fail(`at most ${MAX_DEPTH} levels of nesting`, "more", this.#at);
    }
  }

  /** Levels below a value, or the rule that it breaks. */
  #height(value: PickleValue, depth: number): number | "cycle" | "depth" {
    this.#builder.spend(1);
    if (typeof value !== "object" || value === null || value instanceof Uint8Array) return 0;
    if (depth > MAX_DEPTH) return "depth";
    const known = this.#heights.get(value);
    if (known !== undefined) return depth + known > MAX_DEPTH ? "depth" : known;
    if (this.#heights.has(value)) return "cycle";
    this.#heights.set(value, undefined);
    let most: number | "cycle" | "depth" = 0;
    for (const child of children(value)) {
      const height = this.#height(child, depth + 1);
      if (typeof height === "string") {
        most = height;
        break;
      }
      most = Math.max(most, 1 + height);
    }
    if (typeof most === "string") {
      if (!(value instanceof Opaque)) {
        this.#heights.delete(value);
        return most;
      }
      value.entries.clear();
      most = 0;
    }
    this.#heights.set(value, most);
    return most;
  }
}

function children(value: PickleValue & object): Iterable<PickleValue> {
  if (Array.isArray(value)) return value;
  if (value instanceof Map) return value.values();
  if (value instanceof Tuple) return value.items;
  if (value instanceof Namespace || value instanceof Opaque) return value.entries.values();
  return [];
}
