import { assert, assertEquals, assertThrows } from "@std/assert";
import { FormatError } from "../errors.ts";
import { readPickle } from "./pickle_reader.ts";
import { writePickle } from "./pickle_writer.ts";
import {
  mapTensors,
  Namespace,
  Opaque,
  TensorRef,
  type TorchKey,
  type TorchValue,
  Tuple,
} from "./values.ts";

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

/** The value of a pickle, with bare names as the placeholders that they are. */
async function plain(bytes: Uint8Array): Promise<TorchValue<TensorRef>> {
  const { value } = load(bytes);
  return await mapTensors(value, (part) => part instanceof TensorRef, (part) => part);
}

/**
 * What Python 3.11 with NumPy 1.24 pickled of objects that training programs keep beside weights,
 * deflated: NumPy's scalar, array and dtype, a path, sets, a defaultdict, a date, an enum's member, a
 * complex number, a kind of dict, objects that know their parents, a namespace, a class, a dict with
 * keys of other kinds, and an `argparse.Namespace`.
 */
const OBJECTS = {
  2: "eNp1U9lSE0EUnSQs0u47Iu5bUAmiiKhoRJYoozE0LuMSY0+nYaaYTHJmJlXEqlTpQ4L8hY/+B3/iqy/+gXb3QGHKoh" +
    "+mu87dzj33zpdkE0ba6jEMI+TMYwES3K9Xao0MrwYiU6l7kcuCgDVIbCZIxnZSjho1QZCykjJ2aQJd69/W0E3RkzZT" +
    "VkJik+jN5/Pzf+TRH9OIsMvmJV4tCx4S4asHQZ/VZ2ydje9ZEE3GY5Hrj2J3G3so9raxj2K/1S0NmgwO7ECyFAhe9c" +
    "MoqPOI4OAmVb8cW3HINFo47PRpfjaOODL/UYpjazhO0Z82E2aqhRNOz7p06Td2PhhQkScpBiOcsjUvLQdOO5t6jOGM" +
    "0uMsxTmph/O/Eudtq0s61ljk4AJXl+fapFAPRKEauqsFCRBc1ERHcEnfq7jcxhWKtJVS4xIRhnipZNdd2b5fKhGJEF" +
    "wt4pqZYC1cpxjWUi4F1c/CR6bDNwZ1xEgRN3TEKMVNndqrLuMW51XPEzxypZ6kLJaYVLnsKlnHOjJ5biix2y2MU9zR" +
    "PBkmirgrU4a6xTKLBO5xdUVuRRD1ILgvJVa69W78SCQxqfR8QPGwhSzFI22R9asBpjqKLYuIRZHcwscSrjCNTSs/gm" +
    "lNnc7OYKaNWYo5q1cnqdQ8sYpcR5pNlOBJbmukuezv+NHGU4r5eNdkqRDmdqkpBRA8G/qK53rOXoB8Ljsw/vPX4PRw" +
    "3K4vtxovtmPyessLMmShCRr/ajUWCD/CYj5u1HG9Ml46yudVE6+dRWchtOvxXoU1xgXecLVeIVl0FfE8qwiNE1hDFG" +
    "+beOdMmIkwjuAeC0O872g4HtwHTXBFNEIUm/io9j3ZRknuZ/xHrOCTmgOjsM2uunZmwXIIzuUlOYeC/FO6LOmKJpac" +
    "KWdO0s38BSpKUrs=",
  4: "eNp1Ut+L1DAQ3u6229VTfBJE/APOB1cfVHwQl7PKgoWyrIpPUtI2uwmX/iBJYVcQ9GFPDwIqHf8/8Unwxf/gnKSexy" +
    "EG2pnMfPnmm0ne+V9PhgO33sK+GaucCCLBXK3astlO81rSadkKzYmUZAt/AR2YwEHQFnrbUBsZrh7A8ccPsIT9eGS8" +
    "h5AkybMTXO4XDzRk0aQv9m0GR4gzQc/LhuZSKmleV0rLNtfIxgITVkWf7iAe7CDyMujJvXi0A3bxOLo2+M8CrMXGLE" +
    "RNd880sb1/FRm/IZqBCa0RPANzedFKuqgV3yxsBhvzbuO36RWPFNXwyYr4bMYrWb+hld18wYyo12D28loImmuOveCu" +
    "oCuC8yu4a8pMspbjNG3KF1zZ2M6yegReQ+wRZfyCaIpAazQv0e0jHUR++MMb9vgAq9TyHF+4pppo7e5mkqYl4VWaIj" +
    "JySAyOlk+f9D2EeV02gm6A3TnzO5ifTm8++9U7f+4IWRWwxyY4cF4HN9/jbQsJ89n1+99/3ohuoe6qLqgF+Yl1HMY9" +
    "qYZIWmlIUDPjogD2wmXYK/ZSZW1mAtWQHNsM7DPCPq4851ZQQkraZ5BqaQ/ciz2F8FwQpaxy/3So/iHdKlsMH8bwCO" +
    "JR5B1C7LfGJ3KNjBM0qEJhkQvnaJ2OR2yOOqa/AcejK2k=",
} as const;

for (const [protocol, encoded] of Object.entries(OBJECTS)) {
  Deno.test(`readPickle() keeps placeholders of other objects, protocol ${protocol}`, async () => {
    const deflated = new Blob([Uint8Array.fromBase64(encoded)]).stream();
    const inflated = deflated.pipeThrough(new DecompressionStream("deflate"));
    const value = await plain(await new Response(inflated).bytes());
    assert(value instanceof Map);
    const scalar = "numpy.core.multiarray.scalar";
    const attributes = (name: string, ...entries: [string, TorchValue<TensorRef>][]) =>
      new Opaque<TensorRef>(name, new Map<TorchKey, TorchValue<TensorRef>>(entries));
    const date = new Opaque("datetime.date");
    const node = value.get("node") as Opaque<TensorRef>;
    assertEquals([...node.entries.keys()], ["parent", "child"]);
    assertEquals(node.entries.get("child"), new Opaque("__main__.Node")); // it knows its parent
    const keys = value.get("keys") as Map<TorchKey, unknown>;
    assertEquals([...keys], [[new Opaque("tuple"), 3], [new Opaque("bytes"), 4]]);
    for (const part of ["node", "keys"]) value.delete(part);
    assertEquals(
      value,
      new Map<TorchKey, TorchValue<TensorRef>>([
        ["scalar", new Opaque(scalar)],
        ["array", new Opaque("numpy.ndarray")],
        ["dtype", new Opaque("numpy.dtype")],
        ["path", new Opaque("pathlib.PurePosixPath")],
        ["set", new Opaque("builtins.set")],
        ["frozen", new Opaque("builtins.frozenset")],
        ["log", new Map([["a", [1]]])],
        ["date", date],
        ["color", new Opaque("__main__.Color.RED")],
        ["complex", new Opaque("builtins.complex")],
        ["attrs", attributes("__main__.Attrs", ["lr", 1e-4])],
        ["space", attributes("types.SimpleNamespace", ["a", 1])],
        ["class", new Opaque("builtins.dict")],
        ["args", new Namespace(new Map([["color", new Opaque("__main__.Color.RED")]]))],
      ]),
    );
  });
}

Deno.test("readPickle() reads what PyTorch keeps beside tensors", async () => {
  const cases: [string, TorchValue<TensorRef>][] = [
    [`ctorch\ndevice\n${text("cuda")}\x85R.`, new Opaque("torch.device")],
    ["ctorch\nfloat32\n.", new Opaque("torch.float32")],
    ["ctorch\nSize\n(K\x01K\x02t\x85R.", new Tuple([1, 2])],
    [`${STORAGE}.`, new Opaque("torch.FloatStorage")],
    [
      `ctorch._utils\n_rebuild_tensor_v2\n(${
        STORAGE.replace("Float", "ComplexFloat")
      }K\0))\x89}tR.`,
      new Opaque("torch.Tensor of a torch.ComplexFloatStorage"),
    ],
  ];
  for (const [code, want] of cases) {
    assertEquals(await plain(pickle(code)), want, code);
  }
  const six = `ctorch._utils\n_rebuild_tensor_v2\n(${STORAGE}K\0${tuple(6)}${tuple(1)}\x89}t`;
  const typed = "ctorch._tensor\n_rebuild_from_type_v2\n(";
  for (
    const code of [
      `ctorch._utils\n_rebuild_parameter_with_state\n(${six}R\x88}}tR.`,
      `${typed}${six.replace("\n(", "\nctorch\nTensor\n(")}}tR.`,
    ]
  ) {
    const got = load(pickle(code)).value;
    assert(got instanceof TensorRef, code);
    assertEquals(got.shape, [6]);
  }
});

const NAMES = [
  ["posix", "system"],
  ["builtins", "eval"],
  ["__builtin__", "exec"],
  ["__builtin__", "getattr"],
  ["nt", "system"],
  ["subprocess", "Popen"],
  ["runpy", "_run_code"],
  ["importlib", "import_module"],
  ["pickle", "loads"],
  ["numpy.testing._private.utils", "runstring"],
  ["shutil.os", "system"],
  ["some.package.subprocess", "run"],
  ["torch", "load"],
  ["torch", "toString"],
  ["torch.hub", "load"],
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
  ["a value that was not stored", pickle("h", 5, "."), "none under 5"],
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
  ["items for a bare name", pickle("ccollections\nOrderedDict\nNNs."), "a bare name"],
  [
    "an attribute of a known class",
    pickle("c__builtin__\ngetattr\nccollections\nOrderedDict\n", text("fromkeys"), 0x86, "R."),
    "getattr",
  ],
  [
    "an attribute of another object",
    pickle("c__builtin__\ngetattr\n}", text("get"), 0x86, "R."),
    "getattr",
  ],
  [
    "an attribute that is hidden",
    pickle("c__builtin__\ngetattr\nca\nB\n", text("__class__"), 0x86, "R."),
    "getattr",
  ],
  [
    "a call of an attribute",
    pickle("c__builtin__\ngetattr\nca\nB\n", text("run"), 0x86, "R)R."),
    "a class to call",
  ],
  ["a call of a value", pickle("N)R."), "a name and a tuple"],
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
