import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { makeLinks, tempDir } from "../tests/fixtures.ts";
import { type Examples, normalizeInto } from "./dataset.ts";
import { DamagedImageError, DataError } from "./errors.ts";
import { ImageFolder } from "./image_folder.ts";
import { loadImage } from "./image_task.ts";
import { imageTest } from "./image_test_util.ts";
import { encodePng } from "./png.ts";

const SIZE = 4;
const pixels = (seed: number) => Uint8Array.from({ length: 3 * SIZE ** 2 }, (_, i) => i * seed);

/** A small PNG whose pixels follow from `seed`. */
async function write(path: string, seed: number): Promise<void> {
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await Deno.writeFile(path, await encodePng(pixels(seed), SIZE, SIZE, 3));
}

/** What the images of those seeds are read as. */
function expected(seeds: number[], labels: number[], flips: boolean[] = []): Examples {
  const shape = { channels: 3, height: SIZE, width: SIZE };
  const images = new Float32Array(seeds.length * 3 * SIZE ** 2);
  seeds.forEach((seed, i) => {
    normalizeInto(images.subarray(i * 3 * SIZE ** 2), pixels(seed), shape, flips[i]);
  });
  return { images, shape: [seeds.length, 3, SIZE, SIZE], labels: Int32Array.from(labels) };
}

/** Three images in two classes, out of order on the disk. */
async function threeImages(folder: string): Promise<void> {
  await write(join(folder, "dog", "a.png"), 5);
  await write(join(folder, "cat", "b.PNG"), 3);
  await write(join(folder, "cat", "a.png"), 2);
  await Deno.writeTextFile(join(folder, "cat", "notes.txt"), "no image");
  await Deno.writeTextFile(join(folder, "cat", ".hidden.png"), "no image");
}

imageTest(
  "a folder of folders is a dataset, its classes and images in order of name",
  async (folder) => {
    await threeImages(folder);
    for (const workers of [0, 1, 2]) {
      await using images = await ImageFolder.open(folder, { size: SIZE, workers });
      assertEquals(images.classNames, ["cat", "dog"]);
      assertEquals([images.size, images.channels, images.height, images.width], [3, 3, SIZE, SIZE]);
      assertEquals([...images.labels], [0, 0, 1]);
      assertEquals(await images.read([2, 0, 1, 1]), expected([5, 2, 3, 3], [1, 0, 0, 0]));
      const flips = [true, false];
      assertEquals(await images.read([1, 2], { flips }), expected([3, 5], [0, 1], flips));
    }
  },
);

imageTest("a folder of images alone is one class, of the folder's name", async (folder) => {
  await write(join(folder, "pets", "x.png"), 7);
  await using images = await ImageFolder.open(join(folder, "pets"), { size: SIZE, workers: 0 });
  assertEquals(images.classNames, ["pets"]);
  assertEquals(await images.read([0]), expected([7], [0]));
});

imageTest(
  "a damaged image is reported once, counted, and replaced by the next sound one",
  async (folder) => {
    await threeImages(folder);
    const bad = join(folder, "cat", "b.PNG");
    await Deno.truncate(bad, 70);
    for (const workers of [0, 1]) {
      const damagedPaths: string[] = [];
      const onDamaged = (path: string): number => damagedPaths.push(path);
      await using images = await ImageFolder.open(folder, { size: SIZE, workers, onDamaged });
      assertEquals(await images.read([1, 0]), expected([5, 2], [1, 0]));
      const flips = [false, false, true];
      const { indices, ...sound } = await images.readSound([0, 1, 2], { flips });
      assertEquals(indices, [0, 2]);
      assertEquals(sound, expected([2, 5], [0, 1], [false, true]));
      assertEquals(damagedPaths, [bad]);
      assertEquals([...images.damaged.keys()], [bad]);
      await using strict = await ImageFolder.open(folder, { size: SIZE, workers, strict: true });
      await assertRejects(() => strict.read([1]), DataError, `${bad}: damaged image: `);
    }
  },
);

imageTest("a folder of nothing but damaged images is an error", async (folder) => {
  await Deno.writeTextFile(join(folder, "a.jpg"), "");
  await using images = await ImageFolder.open(folder, { size: SIZE, workers: 0 });
  await assertRejects(() => images.read([0]), DataError, "all 1 images are damaged");
});

imageTest("an image that goes away, or becomes something else, is damaged", async (folder) => {
  const paths = ["a/0.png", "a/1.png", "b/2.png", "b/3.png"].map((name) => join(folder, name));
  for (const workers of [0, 1]) {
    for (const [i, path] of paths.entries()) await write(path, i + 1);
    await using images = await ImageFolder.open(folder, { size: SIZE, workers, cacheBytes: 0 });
    await images.read([0, 1, 2, 3]);
    await Deno.remove(paths[0]!);
    await Deno.remove(join(folder, "b"), { recursive: true });
    await Deno.mkdir(paths[2]!, { recursive: true });
    assertEquals(await images.read([0, 2, 3]), expected([2, 2, 2], [0, 0, 0]));
    assertEquals([...images.damaged.keys()].sort(), [paths[0]!, paths[2]!, paths[3]!]);
    assertMatch(images.damaged.get(paths[0]!)!, /^No such file/);
    await Deno.remove(join(folder, "b"), { recursive: true });
    await using strict = await ImageFolder.open(folder, { size: SIZE, workers, strict: true });
    await Deno.remove(paths[1]!);
    await assertRejects(() => strict.read([0]), DataError, `${paths[1]}: damaged image: No such`);
  }
});

imageTest("a folder that goes away as a whole is an error that names it", async (folder) => {
  await write(join(folder, "data", "a.png"), 2);
  await using images = await ImageFolder.open(join(folder, "data"), { size: SIZE, workers: 0 });
  await Deno.remove(join(folder, "data"), { recursive: true });
  const message = `${join(folder, "data")}: expected the folder of images but it has gone`;
  await assertRejects(() => images.read([0]), DataError, message);
});

imageTest("images are decoded while the thread that asked for them is busy", async (folder) => {
  const seeds = Array.from({ length: 12 }, (_, i) => i + 1);
  const paths = seeds.map((seed) => join(folder, `${String(seed).padStart(2, "0")}.png`));
  for (const [i, path] of paths.entries()) await write(path, seeds[i]!);
  await using images = await ImageFolder.open(folder, { size: SIZE, workers: 2, cacheBytes: 0 });
  await images.read([0, 1]); // the threads have started
  const reading = images.read([...seeds.keys()]);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000); // as in a training step
  for (const path of paths) Deno.removeSync(path); // reading must not need them again
  assertEquals(await reading, expected(seeds, seeds.map(() => 0)));
});

imageTest("images in the cache are not read again", async (folder) => {
  await write(join(folder, "a.png"), 2);
  await using images = await ImageFolder.open(folder, { size: SIZE, workers: 0 });
  await images.read([0]);
  await Deno.remove(join(folder, "a.png"));
  assertEquals(await images.read([0]), expected([2], [0]));
});

imageTest(
  "images of any size are cropped, or enlarged and counted, to the one asked for",
  async (folder) => {
    await write(join(folder, "a.png"), 2);
    for (const [size, enlarged] of [[1, 0], [3, 0], [4, 0], [9, 1]] as const) {
      for (const workers of [0, 1]) {
        await using images = await ImageFolder.open(folder, { size, workers, cacheBytes: 0 });
        assertEquals((await images.read([0, 0])).images.length, 2 * 3 * size ** 2);
        assertEquals(images.enlarged.size, enlarged);
      }
    }
  },
);

imageTest("an image that cannot be read is damaged, and says why", async (folder) => {
  await threeImages(folder);
  const [gone, round] = ["gone.png", "round.png"].map((name) => join(folder, "dog", name));
  await makeLinks({ [gone!]: "nothing.png", [round!]: "round.png" });
  for (const workers of [0, 1]) {
    await using images = await ImageFolder.open(folder, { size: SIZE, workers });
    const { indices } = await images.readSound([0, 1, 2, 3, 4]);
    assertEquals(indices, [0, 1, 2]);
    assertEquals(images.damaged.size, 2);
    assertMatch(images.damaged.get(gone!)!, /^No such file/);
    assertMatch(images.damaged.get(round!)!, /^Too many levels of symbolic links/);
  }
  await assertRejects(
    () => loadImage({ path: join(folder, "caf\ufffd.png"), size: SIZE }),
    DamagedImageError,
    "no UTF-8",
  );
  const { readFile } = Deno; // as root reads every file, and disks fail seldom
  const failures: [error: Error, isDamage: boolean][] = [
    [new Deno.errors.PermissionDenied("Permission denied"), true],
    [Object.assign(new Error("Input/output error"), { code: "EIO" }), true],
    [Object.assign(new Error("Too many open files"), { code: "EMFILE" }), false],
    [new Deno.errors.NotCapable("Requires read access"), false],
  ];
  try {
    for (const [error, isDamage] of failures) {
      Deno.readFile = () => Promise.reject(error);
      await using images = await ImageFolder.open(folder, { size: SIZE, workers: 0 });
      if (!isDamage) await assertRejects(() => images.readSound([0]), Error, error.message);
      else await images.readSound([0]);
      assertEquals([...images.damaged.values()], isDamage ? [error.message] : []);
    }
  } finally {
    Deno.readFile = readFile;
  }
});

imageTest(
  "reading works after the threads were ended, and fails for what was under way",
  async (folder) => {
    await threeImages(folder);
    await using images = await ImageFolder.open(folder, { size: SIZE, workers: 1, cacheBytes: 0 });
    const failing = assertRejects(() => images.read([0]), Error, "were closed");
    await images.close();
    await failing;
    assertEquals(await images.read([0]), expected([2], [0]));
  },
);

imageTest("reading images needs no more rights than it says", async () => {
  await using folder = await tempDir();
  await write(join(folder.path, "a.png"), 2);
  const script = `import { ImageFolder } from ${JSON.stringify(import.meta.resolve("./mod.ts"))};
    const images = await ImageFolder.open(${JSON.stringify(folder.path)}, { size: 2, workers: 1 });
    console.log((await images.read([0])).images.length);`;
  const file = join(folder.path, "main.ts");
  await Deno.writeTextFile(file, script);
  const { success, stdout } = await new Deno.Command("deno", {
    args: ["run", "--quiet", "--no-prompt", "--allow-read", "--allow-env", "--allow-ffi", file],
    stderr: "inherit",
  }).output();
  assert(success);
  assertEquals(new TextDecoder().decode(stdout), "12\n"); // and the process ended by itself
});
