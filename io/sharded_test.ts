import { assertEquals, assertRejects } from "@std/assert";
import { diskTest } from "../tests/fixtures.ts";
import { FormatError } from "./errors.ts";
import { type HostTensor, hostTensor } from "../tensor/mod.ts";
import { readAll } from "./tensor_source.ts";
import { saveSafetensors } from "./safetensors/writer.ts";
import { ShardedFile } from "./sharded.ts";
import { saveTorch } from "./torch/writer.ts";

const A = new Map<string, HostTensor>([["a", hostTensor(Float32Array.of(1, 2))]]);
const B = new Map<string, HostTensor>([["b", hostTensor(Float16Array.of(3), [])]]);

const index = (map: unknown) => JSON.stringify({ metadata: { total_size: 10 }, weight_map: map });

diskTest("ShardedFile reads each tensor from its file, of either format", async (folder) => {
  await saveSafetensors(`${folder}/1.safetensors`, A);
  await saveTorch(`${folder}/2.bin`, B);
  const path = `${folder}/x.index.json`;
  await Deno.writeTextFile(path, index({ b: "2.bin", a: "1.safetensors" }));
  using file = await ShardedFile.open(path);
  assertEquals(file.keys(), ["b", "a"]);
  assertEquals([file.has("a"), file.has("c"), file.info("a").shape], [true, false, [2]]);
  assertEquals(await readAll(file), new Map([...B, ...A]));
  const part = new Uint8Array(4);
  await file.readInto("a", part, 4);
  assertEquals(part, new Uint8Array(Float32Array.of(2).buffer));
});

diskTest("ShardedFile names what is missing or wrong", async (folder) => {
  await saveSafetensors(`${folder}/1.safetensors`, A);
  const path = `${folder}/x.index.json`;
  const cases: [string, string][] = [
    [index({ a: "1.safetensors", b: "2.safetensors" }), `${folder}/2.safetensors`],
    [index({ a: "1.safetensors", b: "1.safetensors" }), '1.safetensors: tensor "b"'],
    [index({ a: "../1.safetensors" }), 'a file in the index\'s folder but found "\\"../1'],
    [index({ a: 1 }), "a file in the index's folder"],
    [index(["a"]), "a weight_map"],
    ["null", "a weight_map"],
    ["{", "expected JSON"],
  ];
  for (const [text, message] of cases) {
    await Deno.writeTextFile(path, text);
    await assertRejects(() => ShardedFile.open(path), FormatError, message);
  }
});
