import { assert, assertEquals, assertThrows } from "@std/assert";
import { FormatError } from "../errors.ts";
import { readPickle } from "./pickle_reader.ts";
import { writePickle } from "./pickle_writer.ts";
import { Namespace, TensorRef, type TorchKey, type TorchValue, Tuple } from "./values.ts";

/** A protocol 2 pickle from its opcodes, as characters up to 255 or as numbers. */
function pickle(...parts: (string | number)[]): Uint8Array {
  const codes = parts.map((part) => typeof part === "number" ? String.fromCharCode(part) : part);
  return Uint8Array.from("\x80\x02" + codes.join(""), (code) => code.charCodeAt(0));
}

/** A protocol 2 string. */
const text = (value: string): string => `X${String.fromCharCode(value.length)}\0\0\0${value}`;

const load = (bytes: Uint8Array) => readPickle(bytes, "x.pt", "data.pkl");

/** The storage "0" of six floats. */
const STORAGE = `(${text("storage")}ctorch\nFloatStorage\n${text("0")}${text("cpu")}K\x06tQ`;

/** A pickled tuple of numbers below 256. */
const tuple = (...items: number[]): string =>
  `(${items.map((item) => `K${String.fromCharCode(item)}`).join("")}t`;

/** A pickled tensor over that storage, from element `offset` on. */
const tensor = (offset: number, size: string, strides: string): Uint8Array =>
  pickle(
    `ctorch._utils\n_rebuild_tensor_v2\n(${STORAGE}K${String.fromCharCode(offset)}`,
    `${size}${strides}`,
    0x89,
    "}tR.",
  );

Deno.test("pickles keep every kind of value", () => {
  const value = new Map<TorchKey, TorchValue<TensorRef>>([
    ["none", null],
    ["flags", [true, false]],
    ["ints", [0, 1, -1, 255, 65536, -(2 ** 31), 2 ** 31, 2 ** 53 - 1, -(2 ** 53) + 1]],
    ["longs", [2n ** 53n, -(2n ** 70n), 2n ** 2000n]],
    ["floats", [0.1, -0, 1e300, Infinity, -Infinity, NaN]],
    ["text", ["", "h\u00e9llo \u{1f600}"]],
    ["bytes", [new Uint8Array(0), Uint8Array.of(0, 127, 128, 255)]],
    ["tuples", new Tuple([new Tuple([]), 1, new Tuple(["x"])])],
    [7, new Map<TorchKey, TorchValue<TensorRef>>([[0, "by index"], [true, "by flag"]])],
    ["args", new Namespace(new Map([["lr", 1e-4]]))],
  ]);
  assertEquals(load(writePickle(value).bytes).value, value);
});

Deno.test("a tensor is written once however often it occurs", () => {
  const one = { dtype: "f32" as const, shape: [2, 3] };
  const { bytes, tensors } = writePickle([one, one]);
  assertEquals(tensors, [one]);
  const { value, storages } = load(bytes);
  assertEquals([...storages.values()], [{ key: "0", dtype: "f32", count: 6 }]);
  const [a] = value as TensorRef[];
  assert(a instanceof TensorRef);
  assertEquals([a.shape, a.strides, a.offset], [[2, 3], [3, 1], 0]);
});

Deno.test("writePickle() refuses what PyTorch has no type for", () => {
  assertThrows(() => writePickle({ dtype: "u16", shape: [1] }), TypeError, "u16");
  assertThrows(() => writePickle(undefined as unknown as null), TypeError);
});

Deno.test("readPickle() builds an OrderedDict from pairs and ignores its attributes", () => {
  const dict = pickle("ccollections\nOrderedDict\n]", text("a"), "K", 1, 0x86, "a", 0x85, "R}b.");
  assertEquals(load(dict).value, new Map([["a", 1]]));
});

Deno.test("readPickle() reads tensors that are views, up to the last element", () => {
  for (const bytes of [tensor(0, tuple(2, 3), tuple(1, 2)), tensor(5, tuple(9), tuple(0))]) {
    assert(load(bytes).value instanceof TensorRef);
  }
});

Deno.test("readPickle() keeps values that occur twice the same value", () => {
  const [a, b] = load(pickle("](]q", 0, "h", 0, "e.")).value as unknown[];
  assert(a === b);
});

const NAMES = [
  ["posix", "system"],
  ["builtins", "eval"],
  ["builtins", "getattr"],
  ["collections", "defaultdict"],
  ["torch", "load"],
  ["torch", "toString"],
  ["numpy.core.multiarray", "_reconstruct"],
] as const;

for (const [module, name] of NAMES) {
  Deno.test(`readPickle() refuses the name ${module}.${name} however it is spelled`, () => {
    const refused = (bytes: Uint8Array) =>
      assertThrows(() => load(bytes), FormatError, `${module}.${name}`);
    refused(pickle(`c${module}\n${name}\n)R.`));
    refused(pickle(text(module), text(name), 0x93, ")R."));
    refused(pickle(`(i${module}\n${name}\n.`));
  });
}

/** The same text made bytes, again and again. */
const COPIES = "c_codecs\nencode\nh\0h\x01\x86R0".repeat(40_000);

const REFUSED: [string, Uint8Array, string][] = [
  ["no pickle", Uint8Array.of(1, 2, 3), "protocol 2 to 5"],
  ["protocol 1", Uint8Array.of(0x80, 1, 0x2e), "protocol 2 to 5"],
  ["protocol 6", Uint8Array.of(0x80, 6, 0x2e), "protocol 2 to 5"],
  ["an empty program", pickle(), "1 more bytes"],
  ["nothing on the stack", pickle("."), "a value on the stack"],
  ["two values", pickle("NN."), "one value at the end"],
  ["an open mark", pickle("(N."), "one value at the end"],
  ["a missing mark", pickle("t."), "a mark on the stack"],
  ["a value nobody stored", pickle("h", 5, "."), "none under 5"],
  ["an opcode of sets", pickle(0x8f, "."), "0x8f"],
  ["an opcode of extensions", pickle(0x82, 1, "."), "0x82"],
  ["an opcode of text protocols", pickle("I1\n."), '0x49 "I"'],
  ["a persistent id in text", pickle("P0\n."), '"P"'],
  ["a protocol in the middle", pickle(0x80, 2, "N."), "0x80"],
  ["text that is no UTF-8", pickle("X", 1, 0, 0, 0, 0xff, "."), "UTF-8"],
  ["text longer than the file", pickle("X", 255, 255, 255, 255, "a."), "4294967295 more bytes"],
  ["text longer than any file", pickle(0x8d, ...Array(8).fill(255), "."), "more bytes"],
  ["a frame longer than the file", pickle(0x95, 255, 0, 0, 0, 0, 0, 0, 0, "N."), "255 more bytes"],
  ["an endless integer", pickle(0x8b, 255, 255, 0, 0, "."), "at most 1024 bytes"],
  ["a name without end", pickle("c" + "a".repeat(300)), "a line of at most 256"],
  ["a name as value", pickle("ccollections\nOrderedDict\n."), "a bare name"],
  ["a storage as value", pickle(STORAGE, "."), "a bare name or storage"],
  ["a call of a value", pickle("N)R."), "a name and a tuple"],
  ["a call of a storage class", pickle("ctorch\nFloatStorage\n)R."), "constructs"],
  ["a call of a tensor with nothing", pickle("ctorch._utils\n_rebuild_tensor_v2\n)R."), "tensor's"],
  ["a parameter of nothing", pickle("ctorch._utils\n_rebuild_parameter\n)R."), "parameter"],
  ["a Namespace with arguments", pickle("cargparse\nNamespace\nN", 0x85, "R."), "without"],
  ["a state for a list", pickle("]}b."), "a Namespace and a dict"],
  ["fields that are not named", pickle("cargparse\nNamespace\n)", 0x81, "}NNsb."), "text"],
  ["a list inside itself", pickle("]q", 0, "h", 0, "a."), "inside itself"],
  ["a dict as key", pickle("}}Ns."), "key of a dict"],
  ["half a pair", pickle("}(Nu."), "pairs"],
  ["an append to a tuple", pickle(")Na."), "a list to append to"],
  ["a storage that is a number", pickle("K", 1, "Q."), "a storage's class"],
  ["nesting past all use", pickle("]".repeat(200), "a".repeat(199), "."), "levels"],
  [
    "shared nesting past all use",
    pickle("]q", 0, "0", ("](h\0eq\0" + "0").repeat(101), "h\0."),
    "levels",
  ],
  [
    "bytes of another encoding",
    pickle("c_codecs\nencode\n", text("a"), text("hex"), 0x86, "R."),
    "latin1",
  ],
  [
    "bytes past 255",
    pickle("c_codecs\nencode\n", "X", 2, 0, 0, 0, 0xc4, 0x80, text("latin1"), 0x86, "R."),
    "latin1",
  ],
  [
    "a small pickle of large values",
    pickle(text("a".repeat(120)) + "q", 0, text("latin1") + "q", 1, COPIES, "."),
    "more values",
  ],
  ["a tensor past its storage", tensor(0, tuple(7), tuple(1)), "inside the 6 elements"],
  ["a tensor past its storage by its offset", tensor(1, tuple(6), tuple(1)), "inside the 6"],
  ["a tensor past its storage by its strides", tensor(0, tuple(2, 2), tuple(3, 3)), "inside the 6"],
  ["a tensor with fewer strides than sizes", tensor(0, tuple(2, 2), tuple(1)), "size and strides"],
  ["a tensor of more dimensions than any", tensor(0, tuple(...Array(65).fill(1)), tuple()), "size"],
  [
    "a tensor expanded past all use",
    tensor(0, tuple(255, 255, 255, 255), tuple(0, 0, 0, 0)),
    "expanded by at most",
  ],
];

for (const [what, bytes, message] of REFUSED) {
  Deno.test(`readPickle() refuses ${what}`, () => {
    const error = assertThrows(() => load(bytes), FormatError, message);
    assertEquals(error.file, "x.pt");
    assert(error.place.startsWith("data.pkl, byte "));
  });
}
