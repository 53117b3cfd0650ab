import { assert, assertEquals, assertRejects } from "@std/assert";
import { lazyStateDict, saveTorch } from "@dit/core/io";
import { diskTest } from "../../tests/fixtures.ts";
import { init } from "@dit/core/tensor";
import { absoluteError, scaledError } from "../../tests/devices.ts";
import { drawnInception } from "../../tests/inception_weights.ts";
import { CommandError } from "../shared/errors.ts";
import type { ImageSource } from "./image_source.ts";
import { InceptionExtractor } from "./inception_extractor.ts";
import { featuresPath, loadMeasured, measure, saveMeasured } from "./measured.ts";

/** The least size keeps this quick. */
const SIZE = 75;

/** Images of ramps and steps in memory. */
function imagesOf(count: number): ImageSource {
  const pixels = Uint8Array.from(
    { length: count * 16 * 16 * 3 },
    (_, i) => (i * (3 + Math.floor(i / 768)) + ((i >> 5) & 1) * 60) & 255,
  );
  return {
    name: "memory",
    count,
    size: [16, 16, 3],
    classNames: null,
    labels: () => Promise.resolve(null),
    digest: () => Promise.resolve(String(count)),
    async *batches(rows) {
      for (let i = 0; i < count; i += rows) {
        const some = Math.min(rows, count - i);
        yield await Promise.resolve({
          count: some,
          pixels: pixels.subarray(i * 768, (i + some) * 768),
        });
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

diskTest(
  "features are the same in any batches, kept exactly, and near in float16",
  async (folder) => {
    await init({ device: "wasm" });
    const weights = `${folder}/weights.pth`;
    await saveTorch(weights, lazyStateDict(drawnInception(5)));
    const images = imagesOf(5);
    const whole = await (async () => {
      using extractor = await InceptionExtractor.open(weights, { size: SIZE });
      const counts: number[] = [];
      const options = { batchSize: 2, onProgress: (done: number) => counts.push(done) };
      const parts = await measure(images, extractor, options);
      assertEquals(counts, [2, 4, 5]);
      const whole = await measure(images, extractor, { batchSize: 8 });
      assert(scaledError(parts.pool.rows, whole.pool.rows) < 1e-6);
      assert(scaledError(parts.spatial!.covariance, whole.spatial!.covariance) < 1e-5);
      assert(Math.abs(parts.inceptionScore / whole.inceptionScore - 1) < 1e-5);
      const one = await measure(imagesOf(1), extractor, { batchSize: 8 });
      assertEquals([one.pool.count, one.gaussian, one.spatial], [1, null, null]);

      const path = await featuresPath(`${folder}/kept`, images, extractor.name, () => {});
      assertEquals(await loadMeasured(path), null);
      await saveMeasured(path, whole, extractor.name);
      const kept = (await loadMeasured(path))!;
      assertEquals(kept.pool.rows, whole.pool.rows);
      assertEquals(kept.inceptionScore, whole.inceptionScore);
      for (const  of of["gaussian", "spatial"] as const) {
        assertEquals(kept[of]!.count, 5);
        assertEquals(absoluteError(kept[of]!.mean, whole[of]!.mean), 0);
        assertEquals(absoluteError(kept[of]!.covariance, whole[of]!.covariance), 0);
      }
      const others = await featuresPath(`${folder}/kept`, imagesOf(4), extractor.name, () => {});
      const network = await featuresPath(`${folder}/kept`, images, "another", () => {});
      assertEquals(new Set([path, others, network]).size, 3);
      return whole;
    })();
    using half = await InceptionExtractor.open(weights, { size: SIZE, half: true });
    assert(half.name.includes("f16"), half.name);
    const rounded = await measure(images, half, { batchSize: 8 });
    const off = scaledError(rounded.pool.rows, whole.pool.rows);
    assert(off > 0 && off < 5e-3, `${off}`);

    const broken = {
      ...half,
      width: 2048,
      extractAll: half.extractAll,
    } as unknown as InceptionExtractor;
    Object.assign(broken, {
      extractAll: async (...args: Parameters<InceptionExtractor["extractAll"]>) => {
        const result = await half.extractAll(...args);
        result.pool.rows[2048 * 3 + 7] = Infinity;
        return result;
      },
    });
    await assertRejects(
      () => measure(images, broken, { batchSize: 8 }),
      CommandError,
      "memory: expected numbers as features of image 3 but got Infinity",
    );
  },
);
