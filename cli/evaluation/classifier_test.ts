import { assert, assertEquals } from "@std/assert";
import { expect } from "@std/expect";
import { init, memory } from "@dit/core/tensor";
import { diskTest } from "../../tests/fixtures.ts";
import { accuracy, classify, ImageClassifier, recipeFor, trainClassifier } from "./classifier.ts";
import { classifierKey, loadClassifier, saveClassifier } from "./classifier_file.ts";
import { bars } from "./pictures_test_util.ts";

const SIZE = [16, 16, 1] as const;
const CONFIG = { size: SIZE, numClasses: 4 };
const SHORT = { ...recipeFor(bars(64, SIZE, 4), false), batchSize: 16, steps: 30 };

async function weightsOf(model: ImageClassifier): Promise<number[]> {
  return (await Promise.all(model.parameters().map((p) => p.data()))).flatMap((part) => [...part]);
}

Deno.test("a classifier learns classes, the same way each time", async () => {
  await init({ device: "wasm" });
  const before = memory().liveBytes;
  const pictures = bars(64, SIZE, 4);
  const unseen = bars(40, SIZE, 4, 2);
  using model = await trainClassifier(pictures, CONFIG, SHORT);
  const { classes, features } = await classify(model, unseen);
  expect(accuracy(classes, unseen.labels)).toBeGreaterThan(0.9);
  assertEquals([features.count, features.width, features.rows.length], [40, 128, 40 * 128]);
  {
    using again = await trainClassifier(pictures, CONFIG, SHORT);
    assertEquals(await weightsOf(again), await weightsOf(model));
    using other = await trainClassifier(pictures, CONFIG, { ...SHORT, seed: 1 });
    const same = await weightsOf(model);
    assert((await weightsOf(other)).some((weight, i) => weight !== same[i]));
  }
  assert(model.training, "the mode that it was in");
  model.dispose();
  assertEquals(memory().liveBytes, before);
});

Deno.test("features do not depend on the batch, and pictures need not be square", async () => {
  await init({ device: "wasm" });
  const size = [24, 40, 3] as const; // halved to 3x5 by the network
  using model = new ImageClassifier({ size, numClasses: 2 });
  const all = bars(300, size, 2);
  const { features } = await classify(model, all);
  const one = { count: 1, size, pixels: all.pixels.subarray(299 * 24 * 40 * 3) };
  assertEquals((await classify(model, one)).features.rows, features.rows.subarray(299 * 128));
});

diskTest("a classifier is kept by pictures, classes and recipe", async (folder) => {
  await init({ device: "wasm" });
  const pictures = bars(8, SIZE, 4);
  const key = await classifierKey(pictures, CONFIG, SHORT);
  const others = [
    await classifierKey(bars(8, SIZE, 4, 2), CONFIG, SHORT),
    await classifierKey({ ...pictures, labels: new Int32Array(8) }, CONFIG, SHORT),
    await classifierKey(pictures, { ...CONFIG, numClasses: 5 }, SHORT),
    await classifierKey(pictures, CONFIG, { ...SHORT, steps: 31 }),
  ];
  assertEquals(new Set([key, ...others]).size, 5);
  assertEquals(await loadClassifier(folder, key, CONFIG), null);
  using model = new ImageClassifier(CONFIG, 3);
  await saveClassifier(`${folder}/kept`, key, { model, accuracy: 0.75 });
  const loaded = await loadClassifier(`${folder}/kept`, key, CONFIG);
  using found = loaded!.model;
  assertEquals([loaded!.accuracy, await weightsOf(found)], [0.75, await weightsOf(model)]);
  // damaged, or of another network: trained again
  assertEquals(await loadClassifier(`${folder}/kept`, key, { ...CONFIG, numClasses: 3 }), null);
  const path = `${folder}/kept/classifier-${key}.safetensors`;
  await Deno.truncate(path, 1000);
  assertEquals(await loadClassifier(`${folder}/kept`, key, CONFIG), null);
});
