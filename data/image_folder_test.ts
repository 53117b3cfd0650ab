import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { diskTest, granted, tempDir } from "../tests/fixtures.ts";
import { type Examples, normalizeInto } from "./dataset.ts";
import { decodeImage } from "./decode.ts";
import { DamagedImageError, DataError } from "./errors.ts";
import { ImageFolder } from "./image_folder.ts";
import { encodePng } from "./png.ts";

/** Why images cannot be decoded here. */
const blocked = ["read", "env", "ffi"].filter((name) => {
  return !granted({ name } as Deno.PermissionDescriptor);
});

/** A test that writes images and reads them again. */
function imageTest(name: string, run: (folder: string) => Promise<void>): void {
  if (blocked.length === 0) return diskTest(name, run);
  const needs = blocked.map((right) => `--allow-${right}`).join(" ");
  Deno.test({ name: `${name} (needs ${needs})`, ignore: true, fn: () => {} });
}

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
  return { images, labels: Int32Array.from(labels) };
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

imageTest("images below a class's own folders belong to the class", async (folder) => {
  await write(join(folder, "cat", "tabby", "a.png"), 7);
  await using images = await ImageFolder.open(folder, { size: SIZE, workers: 0 });
  assertEquals(images.paths, [join(folder, "cat", "tabby", "a.png")]);
});

imageTest(
  "a damaged image is told of once, counted, and replaced by the next sound one",
  async (folder) => {
    await threeImages(folder);
    const bad = join(folder, "cat", "b.PNG");
    await Deno.truncate(bad, 70);
    for (const workers of [0, 1]) {
      const told: string[] = [];
      const onDamaged = (path: string): number => told.push(path);
      await using images = await ImageFolder.open(folder, { size: SIZE, workers, onDamaged });
      assertEquals(await images.read([1, 0]), expected([5, 2], [1, 0]));
      const flips = [false, false, true];
      const { indices, ...sound } = await images.readSound([0, 1, 2], { flips });
      assertEquals(indices, [0, 2]);
      assertEquals(sound, expected([2, 5], [0, 1], [false, true]));
      assertEquals(told, [bad]);
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

imageTest("a folder says what it lacks", async (folder) => {
  const open = (path: string) => ImageFolder.open(path, { size: SIZE });
  await assertRejects(() => open(join(folder, "none")), DataError, "found nothing there");
  await assertRejects(() => open(folder), DataError, "found neither");
  await write(join(folder, "cat", "a.png"), 2);
  await Deno.mkdir(join(folder, "bird"));
  await assertRejects(() => open(folder), DataError, "found none in bird");
  await write(join(folder, "stray.png"), 2);
  await assertRejects(() => open(folder), DataError, "stray.png beside bird/");
});

imageTest(
  "an image that goes away while it is used is an error, not a damaged one",
  async (folder) => {
    await write(join(folder, "a.png"), 2);
    for (const workers of [0, 1]) {
      await using images = await ImageFolder.open(folder, { size: SIZE, workers, cacheBytes: 0 });
      await images.read([0]);
      await Deno.rename(join(folder, "a.png"), join(folder, "b.png"));
      await assertRejects(() => images.read([0]), Error, "a.png");
      await Deno.rename(join(folder, "b.png"), join(folder, "a.png"));
    }
  },
);

imageTest("images in the cache are not read again", async (folder) => {
  await write(join(folder, "a.png"), 2);
  await using images = await ImageFolder.open(folder, { size: SIZE, workers: 0 });
  await images.read([0]);
  await Deno.remove(join(folder, "a.png"));
  assertEquals(await images.read([0]), expected([2], [0]));
});

imageTest("images of any size are cropped, or enlarged, to the one asked for", async (folder) => {
  await write(join(folder, "a.png"), 2);
  for (const size of [1, 3, 9]) {
    await using images = await ImageFolder.open(folder, { size, workers: 0 });
    assertEquals((await images.read([0])).images.length, 3 * size ** 2);
  }
});

imageTest(
  "reading goes on after the threads were ended, and fails for what was under way",
  async (folder) => {
    await threeImages(folder);
    await using images = await ImageFolder.open(folder, { size: SIZE, workers: 1, cacheBytes: 0 });
    const failing = assertRejects(() => images.read([0]), Error, "were closed");
    await images.close();
    await failing;
    assertEquals(await images.read([0]), expected([2], [0]));
  },
);

imageTest("PNG files of every number of channels are decoded to what was encoded", async () => {
  for (const channels of [1, 2, 3, 4]) {
    for (const [width, height] of [[1, 1], [7, 5]] as const) {
      const encoded = Uint8Array.from({ length: width * height * channels }, (_, i) => i * i);
      const got = await decodeImage(await encodePng(encoded, width, height, channels));
      assertEquals([got.width, got.height, got.channels], [width, height, 3]);
      const gray = channels < 3;
      for (let i = 0; i < got.pixels.length; i++) {
        const [pixel, c] = [Math.floor(i / 3), gray ? 0 : i % 3];
        assertEquals(got.pixels[i], encoded[pixel * channels + c], `${channels} channels, ${i}`);
      }
    }
  }
});

/** The little of sharp that makes files of other kinds. */
interface Encoder {
  (pixels: Uint8Array, options: { raw: { width: number; height: number; channels: number } }): {
    toColourspace(name: string): ReturnType<Encoder>;
    withMetadata(options: { orientation: number }): ReturnType<Encoder>;
    toFormat(format: string, options?: object): { toBuffer(): Promise<Uint8Array> };
  };
}

imageTest("JPEG, WebP, GIF, CMYK and turned pictures are decoded", async () => {
  const { default: sharp } = await import("npm:sharp@0.34.5" as string) as { default: Encoder };
  const red = Uint8Array.from({ length: 16 * 8 * 3 }, (_, i) => i % 3 === 0 ? 220 : 30);
  const image = () => sharp(red, { raw: { width: 16, height: 8, channels: 3 } });
  const files = {
    jpeg: await image().toFormat("jpeg").toBuffer(),
    webp: await image().toFormat("webp", { lossless: true }).toBuffer(),
    gif: await image().toFormat("gif").toBuffer(),
    turned: await image().withMetadata({ orientation: 6 }).toFormat("jpeg").toBuffer(),
    cmyk: await image().toColourspace("cmyk").toFormat("jpeg").toBuffer(),
  };
  for (const [kind, bytes] of Object.entries(files)) {
    const { width, height, channels, pixels } = await decodeImage(bytes);
    assertEquals([width, height, channels], kind === "turned" ? [8, 16, 3] : [16, 8, 3], kind);
    const near = kind === "cmyk" ? 60 : 6;
    [220, 30, 30].forEach((want, c) => {
      assert(Math.abs(pixels[c]! - want) <= near, `${kind}: ${pixels.subarray(0, 3)}`);
    });
  }
});

imageTest("decodeImage() refuses what is no image, and what is cut short or changed", async () => {
  const png = await encodePng(pixels(9), SIZE, SIZE, 3);
  const refuse = (bytes: Uint8Array) => assertRejects(() => decodeImage(bytes), DamagedImageError);
  await refuse(new Uint8Array(0));
  await refuse(new TextEncoder().encode("<svg/>"));
  for (const length of [8, 30, 60, png.length - 20]) await refuse(png.subarray(0, length));
  const changed = png.slice();
  changed[50]! ^= 0x55;
  await refuse(changed);
});

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
