import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { hostTensor, type SavableTensor, saveNpz } from "@dit/core/io";
import { ImageArray } from "@dit/data";
import { diskTest } from "../../tests/fixtures.ts";
import { CommandError } from "../shared/errors.ts";
import { SampleArchive } from "../shared/sample_archive.ts";
import { bars } from "./pictures_test_util.ts";
import { archivePictures, archiveReference, datasetPictures } from "./read_pictures.ts";

Deno.test("datasetPictures() reads bytes as they are, all or an even choice", async () => {
  const { pixels, labels, size, count } = bars(600, [6, 5, 3], 4);
  const [height, width, channels] = size;
  const classNames = ["a", "b", "c", "d"];
  const data = new ImageArray({ pixels, labels, classNames, height, width, channels });
  const all = await datasetPictures(data, "data");
  assertEquals(all, {
    count,
    size,
    pixels,
    labels,
    name: "data",
    classNames,
    flippable: true,
    fullSize: size,
    total: 600,
  });
  const some = await datasetPictures(data, "data", { limit: 8 });
  assertEquals([some.count, some.total, [...some.labels]], [8, 600, [0, 1, 2, 3, 0, 1, 2, 3]]);
  assertEquals(some.pixels.subarray(0, 90), pixels.subarray(148 * 90, 149 * 90));
});

Deno.test("datasetPictures() shows what is made of examples that are no pictures", async () => {
  const { pixels, labels } = bars(4, [1, 2, 1], 2);
  const options = { pixels, labels, classNames: ["a", "b"], height: 1, width: 2, channels: 1 };
  const grey = await datasetPictures(new ImageArray(options), "data", {
    decode: ({ shape: [n] }) =>
      Promise.resolve({ images: new Float32Array(n * 12).fill(1), shape: [n, 3, 2, 2] }),
  });
  assertEquals([grey.size, new Set(grey.pixels)], [[2, 2, 3], new Set([255])]);
});

diskTest("archives are read with their classes and what made them", async (folder) => {
  const { pixels, labels, count } = bars(300, [70, 10, 1], 5); // 35x5 once reduced
  const path = `${folder}/samples.npz`;
  {
    await using archive = await SampleArchive.create(path);
    await archive.write({ pixels, size: [70, 10, 1] });
    await archive.finish((number) => labels[number]!, { made_by: "{}" });
  }
  const found = await archivePictures(path);
  assertEquals([found.count, found.total, found.madeBy], [count, count, "{}"]);
  assertEquals([found.fullSize, found.size, found.labels], [[70, 10, 1], [35, 5, 1], labels]);
  const reference = await archiveReference(path);
  assertEquals([reference.classNames, reference.flippable], [["0", "1", "2", "3", "4"], false]);
});

diskTest("archives that are not labelled pictures are refused", async (folder) => {
  const images = hostTensor(new Uint8Array(2 * 4), [2, 2, 2, 1]);
  const classes = hostTensor(BigInt64Array.of(0n, 1n));
  const cases: [Record<string, SavableTensor>, string][] = [
    [{ mu: hostTensor(new Float32Array(3)) }, "expected images in arr_0 but found mu"],
    // nothing that a terminal would act on
    [{ "\x1b[2J": hostTensor(new Float32Array(3)) }, 'in arr_0 but found "\\u001b[2J"'],
    [
      { arr_0: hostTensor(new Float32Array(8), [2, 2, 2, 1]) },
      "u8 [N, H, W, 1 or 3], but found f32",
    ],
    [{ arr_0: hostTensor(new Uint8Array(8), [1, 2, 2, 2]) }, "but found u8 [1, 2, 2, 2]"],
    [
      { arr_0: hostTensor(new Uint8Array(0), [0, 2, 2, 1]) },
      "expected images in arr_0 but found none",
    ],
    [{ arr_0: images }, "--features inception needs none"],
    [
      { arr_0: images, arr_1: hostTensor(Float32Array.of(0, 1)) },
      "whole numbers [2], but found f32 [2]",
    ],
    [
      { arr_0: images, arr_1: hostTensor(Int32Array.of(1, -2)) },
      "from 0 to 65535 in arr_1 but found -2",
    ],
    [
      { arr_0: images, arr_1: hostTensor(Int32Array.of(1)) },
      "each of 2 images in arr_1, whole numbers [2], but found i32 [1]",
    ],
    // numbers of something else: a list of all classes up to it would fill memory
    [
      { arr_0: images, arr_1: hostTensor(BigInt64Array.of(0n, 4_000_000_000n)) },
      "from 0 to 65535 in arr_1 but found 4000000000",
    ],
    [
      { arr_0: hostTensor(new Uint8Array(16385), [1, 1, 16385, 1]) },
      "at most 16384 pixels a side in arr_0 but found 16385x1",
    ],
  ];
  for (const [i, [arrays, message]] of cases.entries()) {
    const path = `${folder}/${i}.npz`;
    await saveNpz(path, new Map(Object.entries(arrays)));
    const error = await assertRejects(() => archivePictures(path), CommandError);
    assertStringIncludes(error.message, message);
    assertStringIncludes(error.message, path);
  }
  await saveNpz(`${folder}/whole.npz`, new Map([["arr_0", images], ["arr_1", classes]]));
  await Deno.truncate(`${folder}/whole.npz`, 100);
  await assertRejects(() => archivePictures(`${folder}/whole.npz`), CommandError, "whole.npz");
  await assertRejects(
    () => archivePictures(`${folder}/no.npz`),
    CommandError,
    "there is no such file",
  );
});
