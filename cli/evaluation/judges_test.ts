import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { init } from "@dit/core/tensor";
import { ImageArray } from "@dit/data";
import type { FeatureExtractor } from "./features.ts";
import { extractorJudge } from "./judges.ts";
import { chosen } from "./pictures.ts";
import { bars } from "./pictures_test_util.ts";
import { datasetPictures } from "./read_pictures.ts";

/** Means of the rows of grey pictures, and the largest batch that it was given. */
class RowMeans implements FeatureExtractor {
  readonly name = "means (v1)";
  readonly width = 80;
  largest = 0;
  isDisposed = false;

  extract(
    images: Uint8Array,
    [count, height, width]: readonly [number, number, number, number],
  ) {
    this.largest = Math.max(this.largest, count);
    const rows = Float32Array.from({ length: count * height }, (_, row) => {
      let sum = 0;
      for (let x = 0; x < width; x++) sum += images[row * width + x]!;
      return sum / width / 255;
    });
    return Promise.resolve({ count, width: height, rows });
  }

  [Symbol.dispose](): void {
    this.isDisposed = true;
  }
}

Deno.test("samples are judged in features of any network, at their full size", async () => {
  await init({ device: "wasm" });
  const size = [80, 8, 1] as const; // larger than pictures are held
  const all = bars(300, size, 2);
  const { pixels, labels } = all;
  const data = new ImageArray({
    pixels,
    labels,
    classNames: ["a", "b"],
    height: 80,
    width: 8,
    channels: 1,
  });
  const extractor = new RowMeans();
  const judge = await extractorJudge(
    extractor,
    (onPictures) => datasetPictures(data, "data", onPictures ? { onPictures } : {}),
  );
  assertEquals([judge.name, extractor.width, extractor.largest], ["means (v1)", 80, 16]);
  const same = await judge.judge({ ...all, name: "samples" });
  assertAlmostEquals(same.frechetDistance, 0, 1e-6);
  assertEquals([same.precision, same.recall, same.accuracy], [1, 1, undefined]);
  assert(same.nearestRatio! < 0.05, "they are the data");
  const some = chosen(bars(100, size, 2, 9), Array.from({ length: 100 }, (_, i) => i));
  const brighter = { ...some, pixels: some.pixels.map((v) => Math.min(255, v + 40)) };
  const [near, far] = [
    await judge.judge({ ...some, name: "s" }),
    await judge.judge({
      ...brighter,
      name: "s",
    }),
  ];
  assert(near.frechetDistance < far.frechetDistance && near.kid < far.kid);
  assert(near.nearestRatio! > 0.9);
  judge[Symbol.dispose]();
  assert(extractor.isDisposed);
});
