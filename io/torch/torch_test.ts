import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { diskTest, goldenTest } from "../../tests/fixtures.ts";
import { FormatError } from "../errors.ts";
import { type HostTensor, hostTensor } from "../../tensor/mod.ts";
import { readAll } from "../tensor_source.ts";
import { loadSafetensors } from "../safetensors/reader.ts";
import { BytesSink, bytesSource } from "../source.ts";
import { ZipWriter } from "../zip/writer.ts";
import { loadTorch, StoredTensor, TorchFile } from "./file.ts";
import { writePickle } from "./pickle_writer.ts";
import { Namespace, type TorchKey, type TorchValue, Tuple } from "./values.ts";
import { lazyStateDict, saveTorch, writeTorch } from "./writer.ts";

type Loaded = TorchValue<HostTensor>;
type Dict = Map<TorchKey, Loaded>;

/** Follows keys into nested dicts. */
function at(value: Loaded, ...path: TorchKey[]): Loaded {
  for (const key of path) value = (value as Dict).get(key)!;
  return value;
}

/** Compares a dict of tensors with those of `expected` under `prefix`, by bit patterns. */
function assertTensors(
  got: Loaded,
  expected: ReadonlyMap<string, HostTensor>,
  prefix: string,
  names = [...expected.keys()].filter((n) => n.startsWith(prefix)).map((n) =>
    n.slice(prefix.length)
  ),
): void {
  assertInstanceOf(got, Map);
  assertEquals([...got.keys()].sort(), names.sort());
  for (const [name, tensor] of got) {
    const { dtype, shape, data } = tensor as HostTensor;
    const want = expected.get(prefix + name)!;
    assertEquals([dtype, shape, data], [want.dtype, want.shape, want.data], `${prefix}${name}`);
  }
}

for (
  const name of [
    "protocol3",
    "protocol4",
    "protocol5",
    "newer_layout",
    "deflated",
    "legacy",
  ] as const
) {
  goldenTest(`loadTorch() reads ${name}.pt bit for bit`, [
    `checkpoint/${name}.pt`,
    "checkpoint/small_expected.safetensors",
  ], async ([path, expected]) => {
    const tensors = await loadSafetensors(expected!);
    assertTensors(at(await loadTorch(path!), "tensors"), tensors, "tensors/");
    // By range, in an order that is not the file's, each range on its own.
    using file = await TorchFile.open(path!);
    const dict = file.stateDict("tensors");
    for (const name of dict.keys().reverse()) {
      const want = tensors.get(`tensors/${name}`)!.data;
      const got = new Uint8Array(want.byteLength - 1);
      await dict.readInto(name, got, 1);
      assertEquals(got, want.slice(1));
    }
  });
}

goldenTest("loadTorch() reads views, shared storages and nested values bit for bit", [
  "checkpoint/mixed.pt",
  "checkpoint/mixed_expected.safetensors",
], async ([path, expected]) => {
  const value = await loadTorch(path!);
  const tensors = await loadSafetensors(expected!);
  assertTensors(at(value, "tensors"), tensors, "tensors/");
  assertTensors(at(value, "half"), tensors, "half/");
  const nested = at(value, "other", "nested") as Dict;
  assertEquals(nested.get("t"), at(value, "tensors", "view_a"));
  nested.delete("t");
  assertEquals(
    nested,
    new Map<TorchKey, Loaded>([
      ["n", 5],
      ["big", 2n ** 70n],
      ["neg", -3],
      ["f", 1.5],
      ["s", "h\u00e9llo"],
      ["none", null],
      ["flag", true],
      ["tup", new Tuple([1, new Tuple([2.5, "x"])])],
      ["lst", [1, [2]]],
      ["by", Uint8Array.of(0, 255)],
    ]),
  );
  assertEquals(at(value, "other", "ints"), Array.from({ length: 300 }, (_, i) => i));
  const args = at(value, "args");
  assertInstanceOf(args, Namespace);
  assertEquals([...args.entries], [["a", 1], ["b", "two"], ["c", null], ["d", [1, 2]], ["e", 0.5]]);
});

goldenTest("loadTorch() reads a training checkpoint: weights, EMA, optimiser, options", [
  "checkpoint/train/0000003.pt",
  "checkpoint/train/expected.safetensors",
  "checkpoint/train/expected.json",
], async ([path, expected, description]) => {
  const value = await loadTorch(path!);
  const tensors = await loadSafetensors(expected!);
  const { args, opt_param_groups: [group] } = JSON.parse(await Deno.readTextFile(description!));
  assertTensors(at(value, "model"), tensors, "model/");
  assertTensors(at(value, "ema"), tensors, "ema/");
  for (const [index, state] of at(value, "opt", "state") as Dict) {
    assertTensors(state, tensors, `opt/state/${index}/`);
  }
  const read = (at(value, "opt", "param_groups") as Dict[])[0]!;
  assertEquals((read.get("betas") as Tuple<HostTensor>).items, group.betas);
  assertEquals([read.get("lr"), read.get("params")], [group.lr, group.params]);
  assertEquals(Object.fromEntries((at(value, "args") as Namespace<HostTensor>).entries), args);
});

goldenTest("loadTorch() reads bare state dicts and old-format checkpoints bit for bit", [
  "checkpoint/bare_state_dict.pt",
  "checkpoint/legacy_train_style.pt",
  "checkpoint/train/expected.safetensors",
], async ([bare, legacy, expected]) => {
  const tensors = await loadSafetensors(expected!);
  assertTensors(await loadTorch(bare!), tensors, "ema/");
  const value = await loadTorch(legacy!);
  for (const key of ["model", "ema"]) {
    const dict = at(value, key) as Dict;
    // The script that made the file saved the averaged weights under both keys.
    assertTensors(dict, tensors, "ema/", [...dict.keys()] as string[]);
  }
});

/** What stands in the message for each file that must be refused. */
const BAD: Record<string, string> = {
  "exec_os_system.pt": '"posix.system"',
  "exec_eval_legacy.pt": '"__builtin__.eval"',
  "exec_subprocess_protocol4.pt": '"subprocess.Popen"',
  "exec_getattr_chain.pt": '"__builtin__.getattr"',
  "truncated_half.pt": "truncated",
  "truncated_tail.pt": "truncated",
  "empty.pt": "an empty file",
  "not_a_checkpoint.pt": "a PyTorch checkpoint",
  "wrong_crc.pt": 'entry "archive/data/0"',
  "missing_storage.pt": 'entry "archive/data/0"',
  "short_storage.pt": 'entry "archive/data/0"',
  "missing_pickle.pt": "data.pkl",
  "tensor_exceeds_storage.pt": "size [200, 200]",
  "big_endian_marker.pt": '"big"',
  "deep_nesting.pt": "levels of nesting",
};

for (const [name, message] of Object.entries(BAD)) {
  goldenTest(
    `loadTorch() refuses ${name} and says why`,
    [`checkpoint/bad/${name}`],
    async ([path]) => {
      const error = await assertRejects(() => loadTorch(path!), FormatError, message);
      assertEquals(error.file, path);
    },
  );
}

async function encode(value: TorchValue<HostTensor>): Promise<Uint8Array<ArrayBuffer>> {
  const sink = new BytesSink();
  await writeTorch(sink, value);
  return sink.bytes();
}

const SAMPLE = new Map<TorchKey, Loaded>([
  ["ema", new Map([["w", hostTensor(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3])]])],
  ["opt", [hostTensor(BigInt64Array.of(-1n), []), hostTensor(new Float16Array(0), [0, 3])]],
  ["step", 3],
]);

diskTest("saveTorch() and loadTorch() round-trip on disk", async (folder) => {
  const path = `${folder}/x.pt`;
  await saveTorch(path, SAMPLE);
  assertEquals(await loadTorch(path), SAMPLE);
  using file = await TorchFile.open(path);
  assert(file.has("ema") && !file.has("model"));
  assert(at(file.value as Loaded, "opt") instanceof Array);
  // One file can be written from another, tensor by tensor.
  await saveTorch(path + ".copy", lazyStateDict(file.stateDict("ema")));
  using copy = await TorchFile.open(path + ".copy");
  assertEquals(await readAll(copy.stateDict()), at(SAMPLE, "ema"));
});

Deno.test("writeTorch() aligns storages as PyTorch does, and always writes the same bytes", async () => {
  const bytes = await encode(SAMPLE);
  assertEquals(await encode(SAMPLE), bytes);
  const data = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
  const offset = bytes.findIndex((_, i) => data.every((byte, k) => bytes[i + k] === byte));
  assertEquals(offset % 64, 0);
});

/** SHA-256 of what `writeTorch()` made of SAMPLE when PyTorch 1.13 was seen to read it. */
const SAMPLE_HASH = "72f9264f306112b437cf23d1d38a23fbf2a26a1e998c5f6229a5bd3950e5fb49";

Deno.test("writeTorch() writes the bytes that PyTorch was seen to read", async () => {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await encode(SAMPLE)));
  assertEquals(hash.toHex(), SAMPLE_HASH);
});

Deno.test("TorchFile.stateDict() says what there is when the path leads nowhere", async () => {
  const file = await TorchFile.from(bytesSource(await encode(SAMPLE), "x.pt"));
  const refused = (path: TorchKey[], message: string) =>
    assertRejects(
      () => Promise.resolve().then(() => file.stateDict(...path)),
      FormatError,
      message,
    );
  await refused(
    ["model"],
    'x.pt: value: expected the key model but found keys "ema", "opt", "step"',
  );
  await refused(["ema", "w", "x"], "no dict");
  await refused(["step"], 'a dict of tensors but found the number "3"');
  await refused([], 'a dict under "ema"');
  await assertRejects(() => file.stateDict("ema").read("v"), FormatError, 'tensor "v"');
  assertInstanceOf(at(file.value as Loaded, "ema", "w"), StoredTensor);
});

Deno.test("TorchFile refuses an object only where it is asked for, and finds dicts of tensors", async () => {
  const w = hostTensor(Float32Array.of(1));
  const value = new Map<TorchKey, Loaded>([
    ["state_dict", new Map([["w", w]])],
    ["loss", new Map<TorchKey, Loaded>([["w", w], ["last", 0.5]])],
    ["nets", new Map([["ema", new Map([["w", w]])]])],
    ["epoch", 3],
  ]);
  const { bytes, tensors } = writePickle(value);
  const zip = new BytesSink("x.pt");
  const writer = new ZipWriter(zip);
  // the number 3 becomes an object, and so does the loss
  await writer.add("a/data.pkl", withObjects(bytes));
  for (const key of tensors.keys()) await writer.add(`a/data/${key}`, w.data);
  await writer.finish();
  const file = await TorchFile.from(bytesSource(zip.bytes(), "x.pt"));
  assertEquals(file.stateDictPaths(), [["state_dict"], ["nets", "ema"]]);
  assertEquals((await file.stateDict("nets", "ema").read("w")).data, w.data);
  const refused = (path: TorchKey[], message: string) =>
    assertThrows(() => file.stateDict(...path), FormatError, message);
  refused(["epoch"], "a dict of tensors but found an object numpy.dtype");
  refused(["loss"], 'an object numpy.dtype under "last"');
});

/** A pickle with each number in it replaced by an object. */
function withObjects(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const dtype = "cnumpy\ndtype\n)R";
  const replaced = text.replace("G?\xe0\0\0\0\0\0\0", dtype).replace("J\x03\0\0\0u", dtype + "u");
  return Uint8Array.from(replaced, (character) => character.charCodeAt(0));
}
