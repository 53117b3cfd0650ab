import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FormatError } from "../errors.ts";
import { diskTest, goldenTest } from "../../tests/fixtures.ts";
import { type HostTensor, hostTensor } from "../../tensor/mod.ts";
import { mapSource, readAll } from "../tensor_source.ts";
import { BytesSink, bytesSource } from "../source.ts";
import { loadSafetensors, SafetensorsFile } from "./reader.ts";
import { SafetensorsWriter, saveSafetensors, writeSafetensors } from "./writer.ts";

function sample(): Map<string, HostTensor> {
  return new Map<string, HostTensor>([
    ["u8", hostTensor(Uint8Array.of(1, 2, 3))],
    ["f32", hostTensor(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3])],
    ["f64", hostTensor(Float64Array.of(Math.PI), [])],
    ["f16", hostTensor(Float16Array.of(1, 2, 3))],
    ["bf16", hostTensor(Uint16Array.of(0x3f80), [1], "bf16")],
    ["i64", hostTensor(BigInt64Array.of(-1n))],
    ["u64", hostTensor(BigUint64Array.of(1n))],
    ["i32", hostTensor(Int32Array.of(-1))],
    ["u32", hostTensor(Uint32Array.of(1))],
    ["i16", hostTensor(Int16Array.of(-1))],
    ["u16", hostTensor(Uint16Array.of(1))],
    ["i8", hostTensor(Int8Array.of(-1))],
    ["bool", hostTensor(Uint8Array.of(0, 1), [2], "bool")],
    ["empty", hostTensor(new Float32Array(0), [0, 4])],
    ["7", hostTensor(Float32Array.of(7))],
    ['odd "name"\n\u00e9', hostTensor(Float32Array.of(8))],
    ["__proto__", hostTensor(Float32Array.of(9))],
  ]);
}

async function encode(
  tensors: Map<string, HostTensor>,
  metadata: [string, string][] = [],
): Promise<Uint8Array<ArrayBuffer>> {
  const sink = new BytesSink();
  await writeSafetensors(sink, mapSource(tensors), metadata);
  return sink.bytes();
}

async function decode(bytes: Uint8Array): Promise<Map<string, HostTensor>> {
  return await readAll(await SafetensorsFile.from(bytesSource(bytes, "x.safetensors")));
}

/** A file with this header and `dataBytes` zeros. */
function fileOf(header: unknown, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(
    typeof header === "string" ? header : JSON.stringify(header),
  );
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

Deno.test("safetensors files keep every element type, shape, name and the metadata", async () => {
  const bytes = await encode(sample(), [["format", "pt"], ["step", "3"]]);
  const file = await SafetensorsFile.from(bytesSource(bytes));
  assertEquals(sorted(await readAll(file)), sorted(sample()));
  assertEquals([...file.metadata], [["format", "pt"], ["step", "3"]]);
});

Deno.test("safetensors data is aligned to its elements", async () => {
  const bytes = await encode(sample());
  const file = await SafetensorsFile.from(bytesSource(bytes));
  assertEquals(file.keys().slice(0, 3), ["f64", "i64", "u64"]);
  assertEquals(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8, 0);
});

diskTest("saveSafetensors() and loadSafetensors() round-trip on disk", async (folder) => {
  const path = `${folder}/sample.safetensors`;
  await saveSafetensors(path, sample());
  assertEquals(sorted(await loadSafetensors(path)), sorted(sample()));
  using file = await SafetensorsFile.open(path);
  const target = new Float32Array(2);
  await file.readInto("f32", new Uint8Array(target.buffer), 8);
  assertEquals([...target], [3, 4]);
  await assertRejects(() => file.readInto("f32", new Uint8Array(5), 20), FormatError, "inside");
  await assertRejects(() => file.read("g32"), FormatError, 'tensor "g32"');
  // A file is a source like any other: it can be saved again without being loaded.
  await saveSafetensors(path + ".copy", file);
  assertEquals(await Deno.readFile(path + ".copy"), await Deno.readFile(path));
});

Deno.test("SafetensorsWriter takes tensors in any order and in pieces", async () => {
  const sink = new BytesSink();
  const writer = await SafetensorsWriter.create(sink, [
    { name: "a", dtype: "u8", shape: [4] },
    { name: "b", dtype: "f32", shape: [1] },
  ]);
  await writer.write("a", Uint8Array.of(1, 2, 3));
  await writer.write("b", Uint8Array.of(0, 0, 128, 63));
  await assertRejects(() => writer.write("a", Uint8Array.of(4, 5)), FormatError, "at most 1 more");
  assertThrows(() => writer.finish(), FormatError, 'tensor "a"');
  await writer.write("a", Uint8Array.of(4));
  writer.finish();
  const tensors = await decode(sink.bytes());
  assertEquals([...tensors.get("a")!.data], [1, 2, 3, 4]);
  assertEquals([...tensors.get("b")!.data], [0, 0, 128, 63]);
});

Deno.test("SafetensorsWriter refuses a plan with a repeated name", async () => {
  const plan = [1, 2].map((d) => ({ name: "a", dtype: "u8" as const, shape: [d] }));
  await assertRejects(() => SafetensorsWriter.create(new BytesSink(), plan), FormatError, "taken");
});

const F32 = (shape: number[], begin: number, end: number) => ({
  dtype: "F32",
  shape,
  data_offsets: [begin, end],
});

const REFUSED: [string, Uint8Array, string][] = [
  ["an empty file", new Uint8Array(0), "an empty file"],
  ["a header longer than the file", fileOf("{}", 0).subarray(0, 9), "a length of 2"],
  ["a header past the limit", Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255), "a length of"],
  ["a header that is no JSON", fileOf("{a}", 0), "a header of JSON"],
  ["a header that is no object", fileOf("[]", 0), "a JSON object"],
  ["a header that begins with a space", fileOf(" {}", 0), "a JSON object"],
  ["a header that is no UTF-8", fileOf("{}", 0).map((b, i) => i === 9 ? 0xff : b), "JSON"],
  ["a tensor without fields", fileOf({ a: 1 }, 0), 'tensor "a"'],
  ["an unknown dtype", fileOf({ a: { ...F32([1], 0, 4), dtype: "F4" } }, 4), "F4"],
  [
    "a dtype called constructor",
    fileOf({ a: { ...F32([1], 0, 4), dtype: "toString" } }, 4),
    "dtype",
  ],
  ["a negative dimension", fileOf({ a: F32([-1], 0, 4) }, 4), "whole numbers"],
  ["a fractional dimension", fileOf({ a: F32([0.5], 0, 2) }, 2), "whole numbers"],
  ["a shape of text", fileOf({ a: { ...F32([], 0, 4), shape: "1" } }, 4), "whole numbers"],
  ["a shape past any memory", fileOf({ a: F32([2 ** 40, 2 ** 40], 0, 4) }, 4), "whole numbers"],
  ["a size that is not the shape's", fileOf({ a: F32([2], 0, 4) }, 4), "8 bytes for f32 [2]"],
  ["offsets the wrong way round", fileOf({ a: F32([1], 4, 0) }, 4), "begin, end"],
  ["three offsets", fileOf({ a: { ...F32([1], 0, 4), data_offsets: [0, 4, 4] } }, 4), "begin, end"],
  ["tensors that overlap", fileOf({ a: F32([2], 0, 8), b: F32([2], 4, 12) }, 12), 'tensor "b"'],
  ["the same bytes twice", fileOf({ a: F32([1], 0, 4), b: F32([1], 0, 4) }, 4), 'tensor "b"'],
  ["a gap", fileOf({ a: F32([1], 0, 4), b: F32([1], 8, 12) }, 12), 'tensor "b"'],
  ["a gap at the start", fileOf({ a: F32([1], 4, 8) }, 8), 'tensor "a"'],
  ["data past the end of the file", fileOf({ a: F32([2], 0, 8) }, 4), "as its header says"],
  ["bytes no tensor owns", fileOf({ a: F32([1], 0, 4) }, 5), "as its header says"],
  [
    "a name that occurs twice",
    fileOf(
      `{"a":${JSON.stringify(F32([1], 0, 4))},"\\u0061"  :${JSON.stringify(F32([1], 0, 4))}}`,
      4,
    ),
    '"a" again',
  ],
  ["metadata that is not text", fileOf({ __metadata__: { a: 1 } }, 0), "__metadata__"],
];

for (const [what, bytes, message] of REFUSED) {
  Deno.test(`SafetensorsFile refuses ${what}`, async () => {
    const error = await assertRejects(() => decode(bytes), FormatError, message);
    assertEquals(error.file, "x.safetensors");
  });
}

Deno.test("SafetensorsFile accepts a file without tensors and spaces behind the header", async () => {
  assertEquals((await decode(fileOf("{}      ", 0))).size, 0);
});

goldenTest("loadSafetensors() reads files of the reference library bit for bit", [
  "dit/dit_a.weights.safetensors",
  "checkpoint/mixed_expected.safetensors",
], async ([weights, mixed]) => {
  const tensors = await loadSafetensors(weights!);
  assertEquals(tensors.get("blocks.0.attn.qkv.weight")!.shape, [192, 64]);
  for (const path of [weights!, mixed!]) {
    const loaded = await loadSafetensors(path);
    assertEquals(sorted(await decode(await encode(loaded))), sorted(loaded));
  }
});
