import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FormatError } from "../errors.ts";
import { BytesSink, bytesSource } from "../source.ts";
import { crc32, crc32Combine } from "./crc32.ts";
import { ZipReader } from "./reader.ts";
import { ZipWriter } from "./writer.ts";

const TEXT = new TextEncoder();

function noise(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  let state = seed;
  return Uint8Array.from(
    { length },
    () => (state = Math.imul(state, 1664525) + 1013904223 >>> 0) >>> 24,
  );
}

async function archive(files: Record<string, Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const sink = new BytesSink();
  const writer = new ZipWriter(sink);
  for (const [name, bytes] of Object.entries(files)) await writer.add(name, bytes);
  await writer.finish();
  return sink.bytes();
}

/** An archive of one deflated entry "a". */
async function deflatedArchive(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const stored = await archive({ a: new Uint8Array(await new Response(packed).arrayBuffer()) });
  const view = new DataView(stored.buffer, stored.byteOffset, stored.byteLength);
  const central = view.getUint32(stored.byteLength - 6, true);
  for (const at of [4, central + 6]) {
    view.setUint16(at + 4, 8, true);
    view.setUint32(at + 10, crc32(bytes), true);
    view.setUint32(at + 18, bytes.byteLength, true);
  }
  return stored;
}

const open = (bytes: Uint8Array) => ZipReader.open(bytesSource(bytes, "x.zip"));

Deno.test("crc32() gives the check value, at every alignment and in pieces", () => {
  assertEquals(crc32(TEXT.encode("123456789")), 0xcbf43926);
  const bytes = noise(200);
  for (let start = 0; start < 5; start++) {
    let slow = 0;
    for (const byte of bytes.subarray(start)) slow = crc32(Uint8Array.of(byte), slow);
    assertEquals(crc32(bytes.subarray(start)), slow);
  }
});

Deno.test("crc32Combine() is the checksum of both parts together", () => {
  const bytes = noise(1000);
  for (const cut of [0, 1, 7, 500, 999, 1000]) {
    const [a, b] = [bytes.subarray(0, cut), bytes.subarray(cut)];
    assertEquals(crc32Combine(crc32(a), crc32(b), b.byteLength), crc32(bytes));
  }
});

Deno.test("zip archives keep names and bytes, in order", async () => {
  const files = { "b/1": noise(300), empty: new Uint8Array(0), "\u00e9": TEXT.encode("x") };
  const reader = await open(await archive(files));
  assertEquals([...reader.entries.keys()], Object.keys(files));
  for (const [name, bytes] of Object.entries(files)) {
    assertEquals(await reader.read(reader.entries.get(name)!), bytes);
  }
});

Deno.test("ZipWriter aligns data and takes a head after the rest", async () => {
  const sink = new BytesSink();
  const writer = new ZipWriter(sink);
  await writer.add("first", noise(5));
  for (let i = 0; i < 9; i++) {
    const entry = writer.begin("x".repeat(i + 1), { align: 64, headBytes: 3 });
    await entry.write(TEXT.encode("de"));
    await entry.write(TEXT.encode("f"));
    await entry.end(TEXT.encode("abc"));
  }
  await writer.finish();
  const reader = await open(sink.bytes());
  for (const entry of [...reader.entries.values()].slice(1)) {
    assertEquals(entry.dataOffset % 64, 0);
    assertEquals(await reader.read(entry), TEXT.encode("abcdef"));
  }
});

Deno.test("ZipWriter refuses what would make a broken archive", async () => {
  const writer = new ZipWriter(new BytesSink());
  const entry = writer.begin("a", { size: 3 });
  assertThrows(() => writer.begin("b"), Error, "has not ended");
  await assertRejects(() => writer.finish(), Error, "has not ended");
  await entry.write(noise(2));
  await assertRejects(() => entry.end(), FormatError, "3 bytes");
  await entry.write(noise(1));
  await entry.end();
  assertThrows(() => writer.begin("a"), FormatError, "taken");
});

Deno.test("archives of more than 65535 entries use the zip64 directory", async () => {
  const sink = new BytesSink();
  const writer = new ZipWriter(sink);
  for (let i = 0; i < 65600; i++) await writer.add(String(i), Uint8Array.of(i & 255));
  await writer.finish();
  const reader = await open(sink.bytes());
  assertEquals(reader.entries.size, 65600);
  assertEquals(await reader.read(reader.entries.get("65599")!), Uint8Array.of(65599 & 255));
});

Deno.test("entries from a limit on have their sizes and offsets in zip64 fields", async () => {
  for (const limit of [0, 100, 250]) {
    const sink = new BytesSink();
    const writer = new ZipWriter(sink, limit);
    const streamed = writer.begin("large", { headBytes: 2 });
    await streamed.write(noise(200));
    await streamed.end(Uint8Array.of(1, 2));
    await writer.add("small", noise(50, 2));
    await writer.finish();
    const bytes = sink.bytes();
    const reader = await open(bytes);
    assertEquals([...reader.entries.values()].map(({ size }) => size), [202, 50]);
    assertEquals(await reader.read(reader.entries.get("small")!), noise(50, 2));
    const large = await reader.read(reader.entries.get("large")!);
    assertEquals(large, Uint8Array.of(1, 2, ...noise(200)));
    const end = new DataView(bytes.buffer).getUint32(bytes.length - 6, true);
    assertEquals(end === 0xffffffff, true, "the place of the directory");
  }
});

Deno.test("ZipReader inflates deflated entries, whole and by range", async () => {
  const bytes = new Uint8Array(3_000_000);
  bytes.set(noise(100_000), 1_000_000);
  const reader = await open(await deflatedArchive(bytes));
  const entry = reader.entries.get("a")!;
  assert(entry.deflated && entry.compressedSize < 200_000);
  assertEquals(await reader.read(entry), bytes);
  const part = new Uint8Array(50);
  await reader.readInto(entry, part, 1_000_100);
  assertEquals(part, bytes.slice(1_000_100, 1_000_150));
});

Deno.test("ZipReader compares checksums before it hands out a range", async () => {
  const bytes = await archive({ a: noise(3_000_000), b: noise(10) });
  bytes[2_500_000]! ^= 1;
  const reader = await open(bytes);
  const entry = reader.entries.get("a")!;
  await assertRejects(() => reader.readInto(entry, new Uint8Array(10), 5), FormatError, "checksum");
  await assertRejects(() => reader.read(entry), FormatError, 'x.zip: entry "a"');
  assertEquals(await reader.read(reader.entries.get("b")!), noise(10));
});

Deno.test("ZipReader refuses what an archive must not be", async () => {
  const good = await archive({ a: noise(10), b: noise(10) });
  const central = new DataView(good.buffer).getUint32(good.byteLength - 6, true);
  const end = good.byteLength - 22;
  const changed = (at: number, value: number): Uint8Array => {
    const bytes = good.slice();
    bytes[at] = value;
    return bytes;
  };
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(0), "an empty file"],
    [good.subarray(0, good.byteLength - 1), "truncated"],
    [good.subarray(0, 60), "truncated"],
    [changed(0, 0), "local header"],
    [changed(8, 8), "agrees"],
    [changed(30, 99), "agrees"],
    [changed(central + 10, 12), "method 12"],
    [changed(central + 8, 1), "encrypted"],
    [changed(central + 20, 11), "size"],
    [changed(central + 46, 98), "agrees"],
    [changed(end + 4, 1), "several"],
    [changed(end + 8, 3), "several"],
    [changed(end + 12, 3), "a directory that ends"],
    [changed(end + 16, 3), "a directory that ends"],
  ];
  for (const [bytes, message] of cases) {
    await assertRejects(() => open(bytes), FormatError, message);
  }
});

Deno.test("ZipReader refuses entries of one name and entries that overlap", async () => {
  const bytes = await archive({ a: noise(10), b: noise(10) });
  const central = new DataView(bytes.buffer).getUint32(bytes.byteLength - 6, true);
  const second = central + 47;
  const overlapping = bytes.slice();
  overlapping.set(overlapping.subarray(central, second), second);
  await assertRejects(() => open(overlapping), FormatError);
});

Deno.test("ZipReader refuses a deflated entry that could not be that large", async () => {
  const bytes = await deflatedArchive(new Uint8Array(1000));
  const view = new DataView(bytes.buffer);
  const central = view.getUint32(bytes.byteLength - 6, true);
  view.setUint32(central + 24, 0xfffffffe, true);
  await assertRejects(() => open(bytes), FormatError, "a size that");
  // A size that is possible but false is found out while inflating.
  for (const size of [999, 1001]) {
    view.setUint32(central + 24, size, true);
    view.setUint32(22, size, true);
    const reader = await open(bytes);
    await assertRejects(() => reader.read(reader.entries.get("a")!), FormatError, `${size} bytes`);
  }
});
