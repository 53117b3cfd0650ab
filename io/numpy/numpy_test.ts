import { assertEquals, assertRejects } from "@std/assert";
import { diskTest, goldenTest } from "../../tests/fixtures.ts";
import { type HostTensor, hostTensor, toFloat64 } from "../../tensor/mod.ts";
import { mapSource, readAll } from "../tensor_source.ts";
import { FormatError } from "../errors.ts";
import { loadSafetensors } from "../safetensors/reader.ts";
import { BytesSink, bytesSource, type RandomAccess } from "../source.ts";
import { ZipWriter } from "../zip/writer.ts";
import { encodeNpyHeader, encodeNpyText } from "./header.ts";
import { loadNpy, NpyFile, saveNpy, writeNpy } from "./npy.ts";
import { loadNpz, NpzFile, NpzWriter, saveNpz, writeNpz } from "./npz.ts";

/** A `.npy` file with this header and these bytes. */
function npyOf(header: string, data: Uint8Array, version = 1): Uint8Array<ArrayBuffer> {
  const prefix = version === 1 ? 10 : 12;
  const bytes = new Uint8Array(prefix + header.length + data.length);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  bytes.set([header.length & 255, header.length >> 8], 8);
  bytes.set(new TextEncoder().encode(header), prefix);
  bytes.set(data, prefix + header.length);
  return bytes;
}

async function decode(bytes: Uint8Array): Promise<HostTensor> {
  return await (await NpyFile.from(bytesSource(bytes, "x.npy"))).read();
}

async function encode(tensor: HostTensor): Promise<Uint8Array<ArrayBuffer>> {
  const sink = new BytesSink();
  await writeNpy(sink, tensor);
  return sink.bytes();
}

const header = (descr: string, shape: string, fortran = "False") =>
  `{'descr': ${descr}, 'fortran_order': ${fortran}, 'shape': ${shape}, }\n`;

const ARRAYS: HostTensor[] = [
  hostTensor(Float64Array.of(1.5, -2), [2, 1]),
  hostTensor(Float32Array.of(1.5, -2)),
  hostTensor(Float16Array.of(1.5, -2), [1, 2]),
  hostTensor(BigInt64Array.of(-(2n ** 60n))),
  hostTensor(Int32Array.of(-5), []),
  hostTensor(Int16Array.of(-5)),
  hostTensor(Int8Array.of(-5)),
  hostTensor(BigUint64Array.of(2n ** 63n)),
  hostTensor(Uint32Array.of(2 ** 31)),
  hostTensor(Uint16Array.of(65535)),
  hostTensor(Uint8Array.of(1, 2, 3, 4, 5, 6), [1, 2, 3]),
  hostTensor(Uint8Array.of(1, 0), [2], "bool"),
  hostTensor(new Float32Array(0), [0, 4]),
];

Deno.test("npy files keep every element type and shape", async () => {
  for (const tensor of ARRAYS) assertEquals(await decode(await encode(tensor)), tensor);
});

diskTest("saveNpy() and loadNpy() round-trip on disk, and by range", async (folder) => {
  const path = `${folder}/x.npy`;
  const tensor = ARRAYS[10]!;
  await saveNpy(path, tensor);
  assertEquals(await loadNpy(path), tensor);
  using file = await NpyFile.open(path);
  const part = new Uint8Array(2);
  await file.readInto(part, 3);
  assertEquals(part, Uint8Array.of(4, 5));
});

Deno.test("loadNpy() turns Fortran order and big-endian numbers around", async () => {
  // [[1, 2, 3], [4, 5, 6]] column by column, as big-endian 16-bit integers.
  const data = Uint8Array.of(0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6);
  for (const version of [1, 2, 3]) {
    const bytes = npyOf(header("'>i2'", "(2, 3)", "True"), data, version);
    const tensor = await decode(bytes);
    assertEquals([tensor.dtype, tensor.shape], ["i16", [2, 3]]);
    assertEquals([...toFloat64(tensor)], [1, 2, 3, 4, 5, 6]);
    const part = new Uint8Array(4);
    await (await NpyFile.from(bytesSource(bytes))).readInto(part, 2);
    assertEquals(part, Uint8Array.of(2, 0, 3, 0));
  }
});

Deno.test("loadNpy() reads headers however Python spells them", async () => {
  const texts = [
    "{'shape': (2L,), 'fortran_order': True, 'descr': '|u1'}\n",
    " { 'descr' : '<u1' ,'shape':( 2 , ),'fortran_order':False , } \n",
  ];
  for (const text of texts) {
    assertEquals(await decode(npyOf(text, Uint8Array.of(7, 8))), hostTensor(Uint8Array.of(7, 8)));
  }
});

const DATA = new Uint8Array(8);
const REFUSED: [string, Uint8Array, string][] = [
  ["an empty file", new Uint8Array(0), "a NumPy array"],
  ["other bytes", new Uint8Array(200), "a NumPy array"],
  ["version 4", npyOf(header("'<f4'", "(2,)"), DATA, 4), "npy version"],
  ["a header longer than the file", npyOf(header("'<f4'", "(2,)"), DATA).subarray(0, 40), "header"],
  ["too few elements", npyOf(header("'<f4'", "(3,)"), DATA), "12 bytes of f32 [3]"],
  ["too many elements", npyOf(header("'<f4'", "(1,)"), DATA), "4 bytes of f32 [1]"],
  ["objects", npyOf(header("'|O'", "(1,)"), DATA), "element type"],
  ["text", npyOf(header("'<U2'", "(1,)"), DATA), "element type"],
  ["complex numbers", npyOf(header("'<c8'", "(1,)"), DATA), "element type"],
  ["records", npyOf(header("[('a', '<f4')]", "(2,)"), DATA), "descr"],
  ["a shape past any memory", npyOf(header("'<f4'", "(999999999999999, 999999)"), DATA), "a shape"],
  ["a negative size", npyOf(header("'<f4'", "(-2,)"), DATA), "descr"],
  ["a call in the header", npyOf(header("'<f4'", "(exit(),)"), DATA), "descr"],
  ["a missing field", npyOf("{'descr': '<f4', 'shape': (2,), }\n", DATA), "descr"],
  [
    "a field that occurs twice",
    npyOf("{'shape': (2,), " + header("'<f4'", "(2,)").slice(1), DATA),
    "descr",
  ],
  ["text behind the header", npyOf(header("'<f4'", "(2,)") + "x", DATA), "descr"],
];

for (const [what, bytes, message] of REFUSED) {
  Deno.test(`loadNpy() refuses ${what}`, async () => {
    const error = await assertRejects(() => decode(bytes), FormatError, message);
    assertEquals(error.file, "x.npy");
  });
}

Deno.test("saveNpy() refuses what NumPy has no type for, and tensors of the wrong size", async () => {
  const bf16 = hostTensor(Uint16Array.of(1), [1], "bf16");
  await assertRejects(() => encode(bf16), TypeError, "bf16");
  const short = { dtype: "f32", shape: [2], data: new Uint8Array(4) } as const;
  await assertRejects(() => encode(short), FormatError, "8 bytes");
});

goldenTest("npy files of the original's feature extraction are read, and written to the byte", [
  "checkpoint/features/imagenet256_labels/0.npy",
], async ([path]) => {
  const label = await loadNpy(path!);
  assertEquals(label, hostTensor(BigInt64Array.of(5n)));
  assertEquals(await encode(label), await Deno.readFile(path!));
});

goldenTest("npy latents of the original's feature extraction are read, and written to the byte", [
  "checkpoint/features/imagenet256_features/0.npy",
  "checkpoint/features/imagenet256_features/1.npy",
], async (paths) => {
  for (const path of paths) {
    const latent = await loadNpy(path);
    assertEquals([latent.dtype, latent.shape], ["f32", [1, 4, 32, 32]]);
    assertEquals(await encode(latent), await Deno.readFile(path));
  }
});

diskTest("saveNpz() and loadNpz() round-trip", async (folder) => {
  const path = `${folder}/x.npz`;
  const arrays = new Map(ARRAYS.map((tensor, i) => [`arr_${i}`, tensor]));
  await saveNpz(path, arrays);
  assertEquals(await loadNpz(path), arrays);
  using file = await NpzFile.open(path);
  const part = new Uint8Array(2);
  await file.readInto("arr_10", part, 3);
  assertEquals(part, Uint8Array.of(4, 5));
  await assertRejects(() => file.read("arr_13"), FormatError, "arr_13");
});

diskTest("NpzWriter writes batches and learns their number at the end", async (folder) => {
  const path = `${folder}/samples.npz`;
  await using npz = await NpzWriter.create(path);
  const images = npz.begin("arr_0", "u8", [2, 2, 3]);
  for (let i = 0; i < 5; i++) await images.write(new Uint8Array(3 * 12).fill(i));
  assertEquals(await images.end(), [15, 2, 2, 3]);
  const labels = npz.begin("arr_1", "i64", []);
  await labels.write(new Uint8Array(BigInt64Array.of(1n, 2n).buffer));
  await labels.end();
  await npz.text("made_by", '{"seed": "π𝒩"}');
  await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
  await npz.finish();
  using file = await NpzFile.open(path);
  assertEquals(file.info("arr_0").shape, [15, 2, 2, 3]);
  assertEquals([...file.texts], [["made_by", '{"seed": "π𝒩"}']]);
  assertEquals(file.keys(), ["arr_0", "arr_1"]);
  assertEquals(await file.read("arr_1"), hostTensor(BigInt64Array.of(1n, 2n)));
  const batches = await Array.fromAsync(file.batches("arr_0", 4));
  assertEquals(batches.map((batch) => batch.shape[0]), [4, 4, 4, 3]);
  const joined = new Uint8Array(await new Blob(batches.map((batch) => batch.data)).arrayBuffer());
  assertEquals(joined, (await file.read("arr_0")).data);
});

diskTest("NpzWriter leaves nothing behind when it is abandoned", async (folder) => {
  {
    await using npz = await NpzWriter.create(`${folder}/samples.npz`);
    const images = npz.begin("arr_0", "u8", [3]);
    await images.write(new Uint8Array(4));
    await assertRejects(() => images.end(), RangeError, "whole rows of 3 bytes");
  }
  assertEquals([...Deno.readDirSync(folder)], []);
});

Deno.test("a header for few rows fits where one for many was reserved", () => {
  const reserved = encodeNpyHeader({ dtype: "u8", shape: [Number.MAX_SAFE_INTEGER, 256, 256, 3] });
  const small = encodeNpyHeader({ dtype: "u8", shape: [0, 256, 256, 3] }, reserved.byteLength);
  assertEquals(small.byteLength, reserved.byteLength);
});

Deno.test("NpzFile refuses archives of other things and damaged arrays", async () => {
  const sink = new BytesSink();
  const zip = new ZipWriter(sink);
  await zip.add("readme.txt", new Uint8Array(3));
  await zip.finish();
  await assertRejects(() => NpzFile.from(bytesSource(sink.bytes())), FormatError, "ends in .npy");

  const arrays = new BytesSink();
  await writeNpz(arrays, mapSource(new Map([["arr_0", hostTensor(new Uint8Array(5000))]])));
  const bytes = arrays.bytes();
  bytes[3000]! ^= 1;
  const file = await NpzFile.from(bytesSource(bytes, "x.npz"));
  await assertRejects(() => file.read("arr_0"), FormatError, "checksum");
  await assertRejects(() => file.readInto("arr_0", new Uint8Array(1)), FormatError, "checksum");
  await assertRejects(() => Array.fromAsync(file.batches("arr_0", 999)), FormatError, "checksum");
});

/**
 * An archive of one deflated entry that claims to be as large as the shape of its array asks for, of
 * which only the header is there: the rest of the file is zeros that take no memory.
 */
function claiming(shape: readonly number[]): RandomAccess {
  const head = encodeNpyHeader({ dtype: "u8", shape });
  const size = head.byteLength + shape.reduce((product, d) => product * d, 1);
  const packed = Math.ceil(size / 1032);
  const name = new TextEncoder().encode("arr_0.npy");
  const view = (bytes: number) => new DataView(new ArrayBuffer(bytes));
  const extra = view(20); // sizes of 64 bits
  extra.setUint16(0, 1, true);
  extra.setUint16(2, 16, true);
  extra.setBigUint64(4, BigInt(size), true);
  extra.setBigUint64(12, BigInt(packed), true);
  const record = (signature: number, bytes: number, method: number) => {
    const header = view(bytes);
    const shift = bytes === 46 ? 2 : 0; // an entry of the directory has one field more before
    header.setUint32(0, signature, true);
    header.setUint16(8 + shift, method, true);
    header.setUint32(18 + shift, 0xffffffff, true);
    header.setUint32(22 + shift, 0xffffffff, true);
    header.setUint16(26 + shift, name.byteLength, true);
    header.setUint16(28 + shift, extra.byteLength, true);
    return [new Uint8Array(header.buffer), name, new Uint8Array(extra.buffer)];
  };
  // blocks of deflate that are stored as they are, a little more than what is inflated at a time
  const block = joinedBytes(Uint8Array.of(0, 0xff, 0xff, 0, 0), new Uint8Array(65535));
  const first = block.slice();
  first.set(head, 5);
  const start = joinedBytes(...record(0x04034b50, 30, 8), first, ...Array(16).fill(block));
  const directory = joinedBytes(...record(0x02014b50, 46, 8));
  const at = start.byteLength + packed;
  const end = view(22);
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, 1, true);
  end.setUint16(10, 1, true);
  end.setUint32(12, directory.byteLength, true);
  end.setUint32(16, at, true);
  const tail = joinedBytes(directory, new Uint8Array(end.buffer));
  const pieces = [[0, start], [at, tail]] as const;
  return {
    name: "x.npz",
    size: at + tail.byteLength,
    readInto(offset, target) {
      target.fill(0);
      for (const [from, bytes] of pieces) {
        const first = Math.max(offset, from);
        const last = Math.min(offset + target.byteLength, from + bytes.byteLength);
        if (first < last) target.set(bytes.subarray(first - from, last - from), first - offset);
      }
      return Promise.resolve();
    },
    close() {},
  };
}

function joinedBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}

Deno.test("an archive that unpacks to more than memory holds is refused, and read by rows", async () => {
  const large = await NpzFile.from(claiming([2 ** 40]));
  assertEquals(large.info("arr_0").shape, [2 ** 40]);
  await assertRejects(() => large.read("arr_0"), FormatError, "expected what memory can hold");
  const images = await NpzFile.from(claiming([1, 2 ** 20, 2 ** 20]));
  const all = () => Array.fromAsync(images.batches("arr_0", 1));
  await assertRejects(all, FormatError, "expected what memory can hold");
  // 256 rows of 256 MiB would be too many; of one at a time, what is there is found damaged
  const rows = await NpzFile.from(claiming([256, 2 ** 28]));
  await assertRejects(() => Array.fromAsync(rows.batches("arr_0", 256)), FormatError, "inflate");
});

Deno.test("a text is as long as its header says", async () => {
  const text = encodeNpyText("made by");
  for (const bytes of [text.subarray(0, -4), joinedBytes(text, new Uint8Array(4))]) {
    const sink = new BytesSink();
    const zip = new ZipWriter(sink);
    await zip.add("made_by.npy", bytes);
    await zip.finish();
    const open = () => NpzFile.from(bytesSource(sink.bytes(), "x.npz"));
    await assertRejects(open, FormatError, `"made_by.npy": expected ${text.byteLength} bytes`);
  }
});

goldenTest("loadNpz() reads a batch of samples that NumPy wrote", [
  "image/samples.npz",
], async ([path]) => {
  using file = await NpzFile.open(path!);
  assertEquals(file.keys(), ["arr_0"]);
  assertEquals(file.info("arr_0").shape, [5, 6, 7, 3]);
  assertEquals((await readAll(file)).get("arr_0")!.data.length, 630);
});

goldenTest("a batch of samples holds the pixels of the original", [
  "image/samples.npz",
  "image/output.safetensors",
], async ([path, expected]) => {
  const want = (await loadSafetensors(expected!)).get("ddp_u8");
  assertEquals((await loadNpz(path!)).get("arr_0"), want);
});
