import { assertEquals, assertRejects } from "@std/assert";
import { hostTensor, loadNpy, saveNpy, toFloat32 } from "@dit/core/io";
import { join } from "@std/path";
import { diskTest, goldenTest } from "../tests/fixtures.ts";
import { DataError } from "./errors.ts";
import { hasNpyFeatures, NpyFeatures, saveNpyFeature } from "./npy_features.ts";

const shape = [4, 2, 2];
const latent = (value: number) => new Float32Array(16).fill(value);

async function three(folder: string): Promise<void> {
  for (const [number, label] of [[10, 1], [2, 0], [0, 2]] as const) {
    await saveNpyFeature(folder, 16, { number, latent: latent(number), shape, label });
  }
}

diskTest(
  "features in the original's layout are paired by name, in order of number",
  async (folder) => {
    assertEquals(await hasNpyFeatures(folder), false);
    await three(folder);
    assertEquals(await hasNpyFeatures(folder), true);
    const data = await NpyFeatures.open(folder);
    assertEquals([data.size, data.channels, data.height, data.width], [3, 4, 2, 2]);
    assertEquals([...data.labels], [2, 0, 1]);
    assertEquals(data.classNames, ["0", "1", "2"]);
    const { images, labels } = await data.read([2, 0]);
    assertEquals([...labels], [1, 2]);
    assertEquals([images[0], images[16]], [10, 0]);
  },
);

diskTest("features are stored with the original's types and shapes", async (folder) => {
  await three(folder);
  const feature = await loadNpy(join(folder, "imagenet16_features", "2.npy"));
  const label = await loadNpy(join(folder, "imagenet16_labels", "2.npy"));
  assertEquals([feature.dtype, feature.shape], ["f32", [1, 4, 2, 2]]);
  assertEquals([label.dtype, label.shape], ["i64", [1]]);
});

diskTest("features say what they lack", async (folder) => {
  const open = (options = {}) => NpyFeatures.open(folder, options);
  await assertRejects(open, DataError, "NAME_features beside NAME_labels but found none");
  await three(folder);
  await assertRejects(() => open({ numClasses: 2 }), DataError, "labels in [0, 2) but found 2");
  const features = join(folder, "imagenet16_features");
  const labels = join(folder, "imagenet16_labels");
  await saveNpy(join(features, "2.npy"), hostTensor(new Float32Array(4), [1, 4, 1, 1]));
  const message = `${join(features, "2.npy")}: expected [1, 4, 2, 2], as the first is, but found`;
  await assertRejects(open, DataError, `${message} [1, 4, 1, 1]`);
  await saveNpy(join(features, "2.npy"), hostTensor(latent(2), [1, 4, 2, 2]));
  await saveNpy(join(labels, "0.npy"), hostTensor(Int32Array.of(1, 2)));
  await assertRejects(open, DataError, "a whole number of 0 or more, but found [1,2]");
  const wrong = [Float32Array.of(1), BigInt64Array.of(10n ** 12n), Int32Array.of(1e8)];
  for (const label of wrong) {
    await saveNpy(join(labels, "0.npy"), hostTensor(label));
    await assertRejects(open, DataError, `${join(labels, "0.npy")}: expected`);
  }
  await saveNpy(join(features, "0.npy"), hostTensor(new Float32Array(0), [1, 4, 0, 0]));
  await assertRejects(open, DataError, `${join(features, "0.npy")}: expected a latent`);
  await Deno.remove(join(labels, "0.npy"));
  await assertRejects(open, DataError, `${join(labels, "0.npy")}: the file is missing`);
  await Deno.remove(labels, { recursive: true });
  await assertRejects(
    open,
    DataError,
    `${labels}: expected a folder of .npy files but found nothing`,
  );
});

diskTest("hidden files beside features are left alone", async (folder) => {
  await three(folder);
  for (const kind of ["features", "labels"]) {
    for (const name of ["._0.npy", ".DS_Store", "Thumbs.db"]) {
      await Deno.writeTextFile(join(folder, `imagenet16_${kind}`, name), "not an array");
    }
  }
  await Deno.mkdir(join(folder, ".trash_features"));
  assertEquals((await NpyFeatures.open(folder)).size, 3);
});

diskTest("features that are not square are refused when they are opened", async (folder) => {
  const feature = { number: 0, latent: latent(0), shape: [4, 1, 4], label: 0 };
  await saveNpyFeature(folder, 16, feature);
  const path = join(folder, "imagenet16_features", "0.npy");
  await assertRejects(
    () => NpyFeatures.open(folder),
    DataError,
    `${path}: expected a latent [1, C, S, S] but found [1, 4, 1, 4]`,
  );
});

diskTest(
  "features that are no numbers, or have gone, are an error of their file",
  async (folder) => {
    await three(folder);
    const path = join(folder, "imagenet16_features", "2.npy");
    for (const value of [NaN, Infinity, -Infinity]) {
      await saveNpy(path, hostTensor(latent(0).with(5, value), [1, 4, 2, 2]));
      const data = await NpyFeatures.open(folder);
      await data.read([0, 2]);
      const message = `${path}: expected finite numbers but found ${value} at 5`;
      await assertRejects(() => data.read([0, 1]), DataError, message);
    }
    const data = await NpyFeatures.open(folder);
    await Deno.remove(path);
    await assertRejects(
      () => data.read([1]),
      DataError,
      `${path}: could not be read: No such file`,
    );
  },
);

goldenTest(
  "features that the original extracted are read",
  ["checkpoint/features/imagenet256_features/0.npy", "checkpoint/features/imagenet256_features"],
  async ([file, features]) => {
    const data = await NpyFeatures.open(join(features!, ".."), { numClasses: 1000 });
    assertEquals([data.size, data.channels, data.height, data.width], [2, 4, 32, 32]);
    assertEquals((await data.read([0])).images, toFloat32(await loadNpy(file!)));
  },
);
