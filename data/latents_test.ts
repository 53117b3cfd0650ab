import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { expect } from "@std/expect";
import { loadSafetensors, saveSafetensors } from "@dit/core/io";
import { join } from "@std/path";
import { diskTest } from "../tests/fixtures.ts";
import { DataError } from "./errors.ts";
import { LatentDataset } from "./latent_dataset.ts";
import { type LatentSettings, loadManifest } from "./latent_manifest.ts";
import {
  completeShards,
  type LatentBatch,
  LatentWriter,
  type ShareOptions,
} from "./latent_writer.ts";

const LENGTH = 2 * 1 * 3;
const settings: LatentSettings = {
  vae: { name: "tiny", sha256: "ab" },
  imageSize: 8,
  latentShape: [2, 1, 3],
  scalingFactor: 0.5,
  kind: "distribution",
  flips: true,
  dtype: "f32",
  classNames: ["cat", "dog"],
  count: 7,
  files: "ef",
  tile: null,
  shardSize: 3,
};

/** Latents that follow from the image's number. */
function batch(indices: number[]): LatentBatch {
  const values = (offset: number) =>
    Float32Array.from({ length: indices.length * LENGTH }, (_, i) => {
      return offset + indices[Math.floor(i / LENGTH)]! + i % LENGTH / 8;
    });
  return {
    indices,
    labels: indices.map((index) => index % 2),
    parts: {
      mean: values(0),
      std: values(1),
      sample: values(2),
      mean_flipped: values(16),
      std_flipped: values(32),
      sample_flipped: values(64),
    },
  };
}

/** Makes what is left to make, but for `damaged` images, and stops after `limit` shards. */
async function extract(
  folder: string,
  changed: Partial<LatentSettings> = {},
  { limit, damaged, ...share }: ShareOptions & { limit?: number; damaged?: number[] } = {},
): Promise<number[]> {
  const writer = await LatentWriter.open(folder, { ...settings, ...changed }, share);
  return await make(writer, limit, damaged);
}

async function make(
  writer: LatentWriter,
  limit = Infinity,
  damaged: readonly number[] = [],
): Promise<number[]> {
  const made = writer.remaining.slice(0, limit);
  for (const plan of made) {
    const shard = writer.begin(plan);
    for (let index = plan.first; index < plan.end; index++) {
      if (!damaged.includes(index)) shard.add(batch([index]));
    }
    await shard.commit();
  }
  return made.map(({ number }) => number);
}

const noise = (epoch: number, positions: number[]) => ({ seed: 5n, epoch, positions });

diskTest(
  "latents that were written are read, scaled, in the order of their images",
  async (folder) => {
    for (const dtype of ["f32", "f16"] as const) {
      const path = join(folder, dtype);
      assertEquals(await extract(path, { dtype }), [0, 1, 2]);
      using data = await LatentDataset.open(path, { verify: true });
      assertEquals([data.size, data.channels, data.height, data.width], [7, 2, 1, 3]);
      assertEquals([...data.labels], [0, 1, 0, 1, 0, 1, 0]);
      assertEquals([data.classNames, data.flippable], [["cat", "dog"], true]);
      const { images, labels } = await data.read([6, 2, 3], { flips: [false, true, false] });
      assertEquals([...labels], [0, 0, 1]);
      const expected = [6, 2 + 16, 3].flatMap((first) =>
        [0, 1, 2, 3, 4, 5].map((i) => first + i / 8)
      );
      assertEquals([...images], expected.map((value) => value / 2));
    }
  },
);

diskTest(
  "distributions are sampled by place in the run, whatever else is in the batch",
  async (folder) => {
    await extract(folder);
    using data = await LatentDataset.open(folder);
    const both = await data.read([4, 1], { noise: noise(2, [9, 10]) });
    const alone = await data.read([1], { noise: noise(2, [10]) });
    assertEquals([...both.images.subarray(LENGTH)], [...alone.images]);
    const later = await data.read([1], { noise: noise(3, [10]) });
    expect(later.images).not.toEqual(alone.images);
    // eps = (z / scale - mean) / std: the same for every image at that place.
    const eps = (read: Float32Array, index: number) =>
      Array.from(read, (z, i) => (z / 0.5 - index - i / 8) / (1 + index + i / 8));
    const other = await data.read([3], { noise: noise(2, [10]) });
    eps(other.images, 3).forEach((value, i) => {
      assert(Math.abs(value - eps(alone.images, 1)[i]!) < 1e-5);
    });
  },
);

diskTest(
  "samples are read as they are, and have no mirror unless one was stored",
  async (folder) => {
    await extract(folder, { kind: "sample", flips: false });
    using data = await LatentDataset.open(folder);
    const read = await data.read([1], { noise: noise(0, [0]) });
    assertEquals([...read.images], [0, 1, 2, 3, 4, 5].map((i) => (3 + i / 8) / 2));
    assertEquals(data.flippable, false);
    await assertRejects(() => data.read([0], { flips: [true] }), RangeError, "cannot be mirrored");
  },
);

diskTest("extraction continues after the last complete shard", async (folder) => {
  assertEquals(await extract(folder, {}, { limit: 1 }), [0]);
  await assertRejects(
    () => LatentDataset.open(folder),
    DataError,
    "expected 3 shards but 2 are not made yet, number 1 the first",
  );
  const before = await Deno.stat(join(folder, "shard-00000.safetensors"));
  const writer = await LatentWriter.open(folder, settings);
  assertEquals(writer.doneBefore, 3);
  assertEquals(writer.remaining.at(-1), { number: 2, first: 6, end: 7 });
  assertEquals(await extract(folder), [1, 2]);
  assertEquals(await Deno.stat(join(folder, "shard-00000.safetensors")), before);
  assertEquals(await extract(folder), []);
});

diskTest("processes share the shards, and any number of them continues", async (folder) => {
  assertEquals(await extract(folder, {}, { rank: 1, world: 2 }), [1]);
  assertEquals(await extract(folder, {}, { rank: 0, world: 3 }), [0]);
  assertEquals(await extract(folder), [2]);
  using data = await LatentDataset.open(folder, { verify: true });
  const expected = [0, 1, 2, 3, 4, 5, 6].map((index) => index / 2);
  const { images } = await data.read([0, 1, 2, 3, 4, 5, 6]);
  assertEquals(expected.map((_, i) => images[i * LENGTH]), expected);
});

/** The files of a folder, with their content. */
async function contentOf(folder: string): Promise<Map<string, Uint8Array>> {
  const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
  const read = (name: string) => Deno.readFile(join(folder, name));
  return new Map(
    await Promise.all(names.sort().map(async (name) => [name, await read(name)] as const)),
  );
}

diskTest(
  "ranks leave what one process leaves, also after one of them was lost",
  async (folder) => {
    const [one, many] = [join(folder, "one"), join(folder, "many")];
    await extract(one);
    /** The writers of so many ranks, opened one after the other. */
    const open = async (world: number): Promise<LatentWriter[]> => {
      const done = await completeShards(many, settings);
      const ranks = Array.from({ length: world }, (_, rank) => ({ rank, world, done }));
      return await Array.fromAsync(ranks, (share) => LatentWriter.open(many, settings, share));
    };
    // Two of three ranks make their share; then all are gone.
    const [, second, third] = await open(3);
    assertEquals([await make(second!), await make(third!)], [[1], [2]]);
    const lost = ["manifest-1-of-3.json", "manifest-2-of-3.json", "manifest.json"];
    assertEquals([...(await contentOf(many)).keys()].slice(0, 3), lost);
    const before = await Deno.stat(join(many, "shard-00002.safetensors"));
    await Deno.remove(join(many, "shard-00001.safetensors"));
    const writers = await open(2);
    assertEquals([...(await contentOf(many)).keys()], ["manifest.json", "shard-00002.safetensors"]);
    assertEquals(writers.map(({ doneBefore }) => doneBefore), [1, 1]);
    // what is left is shared evenly, whatever its numbers
    assertEquals(await Promise.all(writers.map((writer) => make(writer))), [[0], [1]]);
    await writers[0]!.take(writers.flatMap(({ made }) => made));
    assertEquals(await contentOf(many), await contentOf(one));
    assertEquals(await Deno.stat(join(many, "shard-00002.safetensors")), before);
    assertEquals((await open(4)).map(({ remaining }) => remaining.length), [0, 0, 0, 0]);
  },
);

diskTest("damaged images leave no gap", async (folder) => {
  await extract(folder, {}, { damaged: [0, 4, 6] }); // the last shard is empty
  using data = await LatentDataset.open(folder);
  assertEquals([...data.labels], [1, 0, 1, 1]);
  const { images } = await data.read([2, 3]);
  assertEquals([images[0], images[LENGTH]], [1.5, 2.5]);
});

diskTest("a folder of latents made with other settings is left alone", async (folder) => {
  await extract(folder);
  const changes: [Partial<LatentSettings>, string][] = [
    [{ vae: { name: "tiny", sha256: "cd" } }, "made with vae"],
    [{ imageSize: 16 }, "made with imageSize 16 but found 8"],
    [{ flips: false }, "made with flips false but found true"],
    [{ classNames: ["cat"] }, 'classNames ["cat"] but found ["cat","dog"]'],
    [{ count: 8 }, "made with count 8 but found 7"],
    [{ files: "gh" }, 'made with files "gh" but found "ef"'],
    [{ tile: 64 }, "made with tile 64 but found null"],
  ];
  for (const [changed, message] of changes) {
    await assertRejects(() => extract(folder, changed), DataError, message);
  }
  await assertRejects(() => extract(folder, { count: 0 }), DataError, "setting count but found 0");
});

diskTest("missing and changed shards are found", async (folder) => {
  await extract(folder);
  const path = join(folder, "shard-00001.safetensors");
  const bytes = await Deno.readFile(path);
  const changed = bytes.slice();
  changed[bytes.length - 1]! ^= 1;
  await Deno.writeFile(path, changed);
  await assertRejects(
    () => LatentDataset.open(folder, { verify: true }),
    DataError,
    "but found another checksum",
  );
  await Deno.writeFile(path, bytes.subarray(1));
  await assertRejects(() => LatentDataset.open(folder), DataError, "bytes instead of");
  await Deno.remove(path);
  await assertRejects(() => LatentDataset.open(folder), DataError, "the shard is missing");
  assertEquals(await extract(folder), [1]); // a shard that is gone is made again
  (await LatentDataset.open(folder, { verify: true })).close();
});

diskTest("a shard of other sizes than the manifest's is refused", async (folder) => {
  await extract(folder);
  const path = join(folder, "shard-00002.safetensors");
  const tensors = await loadSafetensors(path);
  const mean = tensors.get("mean")!;
  await saveSafetensors(path, tensors.set("mean", { ...mean, shape: [1, 1, 2, 3] }));
  const manifest = join(folder, "manifest.json");
  const { size } = await Deno.stat(path);
  const json = JSON.parse(await Deno.readTextFile(manifest));
  json.shards[2].bytes = size;
  await Deno.writeTextFile(manifest, JSON.stringify(json));
  await assertRejects(
    () => LatentDataset.open(folder),
    DataError,
    "expected mean f32[1, 2, 1, 3], as the manifest says, but found mean f32[1, 1, 2, 3]",
  );
});

diskTest("a manifest.json of another program is left alone", async (folder) => {
  const manifest = join(folder, "manifest.json");
  for (const text of ['{ "name": "photos" }', "[]", "{", ""]) {
    await Deno.writeTextFile(manifest, text);
    assertEquals(await loadManifest(folder), undefined);
    await assertRejects(() => extract(folder), DataError, "another program's file");
    assertEquals(await Deno.readTextFile(manifest), text);
  }
});

diskTest(
  "latents that are no numbers, or have gone, are an error of their file",
  async (folder) => {
    await extract(folder, { kind: "sample", flips: false });
    const path = join(folder, "shard-00001.safetensors");
    const bytes = await Deno.readFile(path);
    new DataView(bytes.buffer).setFloat32(bytes.length - 4, NaN, true); // of the last latent
    await Deno.writeFile(path, bytes);
    const dataset = await LatentDataset.open(folder);
    await dataset.read([3, 4]);
    await assertRejects(
      () => dataset.read([3, 5]),
      DataError,
      `latent 5 in ${path}: expected finite numbers but found NaN at 5`,
    );
    dataset.close();
    await Deno.remove(path);
    await assertRejects(
      () => dataset.read([3]),
      DataError,
      `${path}: could not be read: No such file`,
    );
  },
);

diskTest("manifests that are none, or of another version, are refused", async (folder) => {
  await assertRejects(() => LatentDataset.open(folder), DataError, "no manifest.json");
  const manifest = join(folder, "manifest.json");
  const refuse = async (text: string, message: string): Promise<void> => {
    await Deno.writeTextFile(manifest, text);
    await assertRejects(() => loadManifest(folder), DataError, message);
  };
  await refuse('{ "format": "dit-latents"', "found no JSON");
  await refuse('["dit-latents"]', "version 1 but found [null,null]");
  await refuse('{ "format": "dit-latents", "version": 2 }', "version 1 but found");
  const head = '"format": "dit-latents", "version": 1';
  await refuse(`{ ${head} }`, "setting vae but found nothing");
  const good = JSON.stringify(settings);
  await refuse(`{ ${head}, "settings": ${good} }`, "a list of complete shards");
  const climbing = '{ "number": 0, "file": "../x", "count": 1, "bytes": 1, "sha256": "" }';
  await refuse(`{ ${head}, "settings": ${good}, "shards": [${climbing}] }`, "complete shards");
});

diskTest(
  "a shard refuses latents that are not its own, incomplete or not finite",
  async (folder) => {
    const writer = await LatentWriter.open(folder, { ...settings, dtype: "f16" });
    const shard = writer.begin(writer.remaining[1]!);
    const add = (changed: Partial<LatentBatch>) => () => shard.add({ ...batch([3]), ...changed });
    const mean = (value: number) => ({
      parts: { ...batch([3]).parts, mean: new Float32Array(LENGTH).fill(value) },
    });
    assertThrows(add({ indices: [2] }), DataError, "expected images 3 to 5 but got 2");
    assertThrows(add({ labels: [2] }), DataError, "labels in [0, 2) but got 2");
    assertThrows(add({ labels: [] }), DataError, "1 labels but got 0");
    assertThrows(add({ parts: {} }), DataError, "6 elements of mean but got none");
    assertThrows(add(mean(NaN)), DataError, "mean that f16 can hold but got NaN");
    assertThrows(add(mean(70000)), DataError, "mean that f16 can hold but got 70000");
    shard.add(batch([4]));
    await shard.commit();
    const tensors = await loadSafetensors(join(folder, "shard-00001.safetensors"));
    assertEquals(tensors.get("mean")!.shape, [1, 2, 1, 3]);
  },
);
