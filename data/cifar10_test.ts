import { assertEquals, assertRejects } from "@std/assert";
import { FormatError } from "@dit/core/io";
import { join } from "@std/path";
import { diskTest } from "../tests/fixtures.ts";
import { loadCifar10 } from "./cifar10.ts";
import { DataError } from "./errors.ts";

/** A record: red, green and blue planes of one level each, but for the second pixel's green. */
function record(label: number, ...levels: [number, number, number]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(3073);
  bytes[0] = label;
  levels.forEach((level, plane) => bytes.fill(level, 1 + plane * 1024, 1 + (plane + 1) * 1024));
  bytes[1 + 1024 + 1] = 255;
  return bytes;
}

diskTest("CIFAR-10's batches are read in order, planes as pixels", async (folder) => {
  const write = (name: string, ...records: Uint8Array<ArrayBuffer>[]) =>
    Deno.writeFile(`${folder}/${name}`, new Blob(records).stream());
  await write("data_batch_2.bin", record(9, 0, 0, 0));
  await write("data_batch_1.bin", record(3, 255, 0, 0), record(0, 0, 0, 255));
  await write("test_batch.bin", record(1, 0, 0, 0));
  const data = await loadCifar10({ folder });
  assertEquals([data.size, data.channels, data.height, data.width], [3, 3, 32, 32]);
  assertEquals([[...data.labels], data.flippable], [[3, 0, 9], true]);
  assertEquals([data.classNames[3], data.classNames.length], ["cat", 10]);
  const { images } = await data.read([0]);
  assertEquals([images[0], images[1024], images[1025], images[2048]], [1, -1, 1, -1]);
  const test = await loadCifar10({ folder, split: "test" });
  assertEquals([...test.labels], [1]);
  await Deno.writeTextFile(`${folder}/batches.meta.txt`, "a\nb\r\n\n");
  await assertRejects(
    () => loadCifar10({ folder }),
    FormatError,
    `${
      join(folder, "data_batch_1.bin")
    }: byte 0: expected a class below 2, the number of classes ` +
      "with a name, but found 3",
  );
  await Deno.truncate(`${folder}/data_batch_2.bin`, 3000);
  await assertRejects(() => loadCifar10({ folder }), FormatError, "whole images of 3073 bytes");
  await Deno.remove(`${folder}/test_batch.bin`);
  const missing = () => loadCifar10({ folder, split: "test" });
  await assertRejects(missing, DataError, "expected test_batch.bin but found none");
});
