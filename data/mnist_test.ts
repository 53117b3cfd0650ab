import { assert, assertEquals, assertRejects } from "@std/assert";
import { FormatError } from "@dit/core/io";
import { join } from "@std/path";
import { diskTest } from "../tests/fixtures.ts";
import { packagesMissing, testUnless } from "../tests/npm.ts";
import { DataError } from "./errors.ts";
import { loadMnist, MNIST_PACKAGE } from "./mnist.ts";

testUnless(
  await packagesMissing(MNIST_PACKAGE),
  diskTest,
  "MNIST has 60,000 and 10,000 digits, black around",
  async () => {
    const [train, test] = [await loadMnist(), await loadMnist({ split: "test" })];
    assertEquals([train.size, test.size], [60_000, 10_000]);
    assertEquals([train.channels, train.height, train.width], [1, 32, 32]);
    assertEquals(train.classNames, [..."0123456789"]);
    assertEquals([...train.labels.subarray(0, 8)], [5, 0, 4, 1, 9, 2, 1, 3]);
    const { images, labels } = await test.read([0, 9_999]);
    assertEquals([...labels], [7, 6]);
    const { length } = images.filter((value) => value > 0);
    assert(length > 100 && length < 400, `${length} bright pixels`);
    for (let i = 0; i < 32; i++) {
      assertEquals([images[i], images[32 * i + 1], images[32 * 31 + i]], [-1, -1, -1]);
    }
  },
);

/** An IDX file of unsigned bytes. */
function idx(shape: number[], bytes: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(4 + 4 * shape.length + bytes.length);
  const view = new DataView(out.buffer);
  [0x800 + shape.length, ...shape].forEach((value, i) => view.setUint32(4 * i, value));
  out.set(Array.from(bytes), 4 + 4 * shape.length);
  return out;
}

async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(packed).bytes();
}

diskTest(
  "MNIST is read from a folder, packed or not, into the middle of 32 x 32",
  async (folder) => {
    const images = join(folder, "t10k-images-idx3-ubyte");
    const pixels = new Uint8Array(2 * 28 * 28);
    pixels[28 * 28] = 255; // the corner of the second digit
    await Deno.writeFile(`${images}.gz`, await gzip(idx([2, 28, 28], pixels)));
    await Deno.writeFile(join(folder, "t10k-labels-idx1-ubyte"), idx([2], [3, 4]));
    const data = await loadMnist({ split: "test", folder });
    const read = await data.read([1]);
    assertEquals([...read.labels], [4]);
    assertEquals(read.images.indexOf(1), 2 * 32 + 2);
    assertEquals(read.images.filter((value) => value !== -1).length, 1);
  },
);

diskTest("sets of other names, sizes and classes are read as MNIST is", async (folder) => {
  const pixels = Uint8Array.from({ length: 3 * 20 * 10 }, (_, i) => i === 0 ? 255 : 0);
  const write = async (name: string, bytes: Uint8Array<ArrayBuffer>) =>
    await Deno.writeFile(join(folder, name), bytes);
  await write("emnist-letters-train-images-idx3-ubyte", idx([3, 20, 10], pixels));
  await write("emnist-letters-train-labels-idx1-ubyte", idx([3], [1, 26, 7]));
  const data = await loadMnist({ folder });
  assertEquals([data.size, data.height, data.width], [3, 24, 24]);
  assertEquals([[...data.labels], data.classNames.length, data.classNames[25]], [
    [0, 25, 6],
    26,
    "26",
  ]);
  const { images } = await data.read([0]);
  assertEquals(images.indexOf(1), 2 * 24 + 7);
  await write("emnist-letters-train-labels-idx1-ubyte", idx([3], [1, 0, 2]));
  assertEquals((await loadMnist({ folder })).classNames, ["0", "1", "2"]);
  await write("train-images-idx3-ubyte", idx([3, 20, 10], pixels));
  await assertRejects(
    () => loadMnist({ folder }),
    DataError,
    "expected the files of one set but found emnist-letters-train and train",
  );
});

diskTest("MNIST says what is wrong with a folder", async (folder) => {
  const load = () => loadMnist({ folder });
  await assertRejects(
    load,
    DataError,
    `${folder}: expected train-images-idx3-ubyte or train-images-idx3-ubyte.gz but found neither`,
  );
  const images = join(folder, "train-images-idx3-ubyte");
  const labels = join(folder, "train-labels-idx1-ubyte");
  await Deno.writeFile(images, idx([1, 28, 28], new Uint8Array(28 * 28)));
  await Deno.writeFile(labels, idx([2], [0, 0]));
  await assertRejects(load, FormatError, "dimension 0: expected 1 but found 2");
  await Deno.writeFile(images, idx([1, 0, 28], []));
  await assertRejects(load, FormatError, "dimension 1: expected 1 or more but found 0");
  await Deno.writeFile(images, idx([1, 28, 28], new Uint8Array(28)));
  await assertRejects(load, FormatError, "its end: expected 800 bytes but found 44");
  await Deno.writeFile(images, Uint8Array.from({ length: 99 }, () => 1));
  await assertRejects(load, FormatError, "byte 0: expected the number 2051");
  await Deno.remove(images);
  const packed = await gzip(idx([1, 28, 28], new Uint8Array(28 * 28)));
  await Deno.writeFile(`${images}.gz`, packed.subarray(0, packed.length - 6));
  await assertRejects(load, FormatError, `${images}.gz: its content: expected a whole gzip stream`);
});
