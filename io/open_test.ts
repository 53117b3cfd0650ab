import { assertEquals, assertRejects } from "@std/assert";
import { diskTest } from "../tests/fixtures.ts";
import { hostTensor } from "../tensor/mod.ts";
import { FormatError } from "./errors.ts";
import { loadNpy, writeNpy } from "./numpy/npy.ts";
import { loadNpz, writeNpz } from "./numpy/npz.ts";
import { type FileLike, openBytes } from "./open.ts";
import { loadSafetensors } from "./safetensors/reader.ts";
import { writeSafetensors } from "./safetensors/writer.ts";
import { BytesSink, bytesSource, readRange } from "./source.ts";
import { loadTorch } from "./torch/file.ts";
import { writeTorch } from "./torch/writer.ts";

/** The same bytes in every form that files may have, but paths and addresses. */
function forms(bytes: Uint8Array<ArrayBuffer>): Record<string, FileLike> {
  return {
    bytes,
    "an ArrayBuffer": bytes.slice().buffer,
    "a Blob": new Blob([bytes]),
    "a File": new File([bytes], "chosen.bin"),
    "a Response": new Response(bytes),
    "a stream": new Blob([bytes]).stream(),
    "a source": bytesSource(bytes),
  };
}

const tensor = hostTensor(Float32Array.of(1, 2, 3, 4), [2, 2]);

async function written(
  write: (sink: BytesSink) => Promise<void>,
): Promise<Uint8Array<ArrayBuffer>> {
  const sink = new BytesSink();
  await write(sink);
  return sink.bytes().slice();
}

const FORMATS = {
  safetensors: {
    bytes: await written((sink) => writeSafetensors(sink, new Map([["x", tensor]]))),
    load: async (file: FileLike) => (await loadSafetensors(file)).get("x"),
  },
  npy: {
    bytes: await written((sink) => writeNpy(sink, tensor)),
    load: (file: FileLike) => loadNpy(file),
  },
  npz: {
    bytes: await written((sink) => writeNpz(sink, new Map([["x", tensor]]))),
    load: async (file: FileLike) => (await loadNpz(file)).get("x"),
  },
  torch: {
    bytes: await written((sink) => writeTorch(sink, new Map([["x", tensor]]))),
    load: async (file: FileLike) => (await loadTorch(file) as Map<string, unknown>).get("x"),
  },
};

for (const [format, { bytes, load }] of Object.entries(FORMATS)) {
  Deno.test(`${format} is read from whatever holds its bytes`, async () => {
    for (const [form, file] of Object.entries(forms(bytes))) {
      assertEquals(await load(file), tensor, form);
    }
  });
}

diskTest("a file has a path or an address", async (folder) => {
  const path = `${folder}/an x.npy`;
  await Deno.writeFile(path, FORMATS.npy.bytes);
  assertEquals(await loadNpy(path), tensor);
  assertEquals(await loadNpy(new URL(`file://${folder}/an%20x.npy`)), tensor);
});

Deno.test("what is no file is refused, and messages name the file", async () => {
  const answer = new Response("<!doctype html>", { status: 404, statusText: "Not Found" });
  await assertRejects(
    () => loadNpy(answer),
    FormatError,
    "(response): response: expected a file but found status 404 Not Found",
  );
  const page = new File(["<!doctype html>"], "weights.safetensors");
  await assertRejects(() => loadSafetensors(page), FormatError, "weights.safetensors");
  await assertRejects(() => openBytes(7 as unknown as string), TypeError, "but got number");
  await assertRejects(() => openBytes(null as unknown as string), TypeError, "but got null");
  const source = await openBytes(new Blob(["abc"]));
  await assertRejects(() => source.readInto(2, new Uint8Array(2)), FormatError, "byte 2");
  assertEquals(await readRange(source, 1, 2), new TextEncoder().encode("bc"));
});
