import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { CropRecord, CropStore, type CropStoreOptions } from "./crop_store.ts";
import { ImageFolder, type ImageFolderOptions } from "./image_folder.ts";
import { imageTest } from "./image_test_util.ts";
import { encodePng } from "./png.ts";

const SIZE = 4;
const RECORD = 32 + 1 + 3 * SIZE ** 2;

/** A PNG whose pixels follow from `seed`. */
async function write(path: string, seed: number, side = 2 * SIZE): Promise<void> {
  const pixels = Uint8Array.from({ length: 3 * side ** 2 }, (_, i) => i * seed);
  await Deno.mkdir(join(path, ".."), { recursive: true });
  await Deno.writeFile(path, await encodePng(pixels, side, side, 3));
}

/** Images in `images` of a folder, and crops of them in its `kept`. */
class Case {
  readonly images: string;
  readonly kept: string;
  constructor(folder: string) {
    this.images = join(folder, "images");
    this.kept = join(folder, "kept");
  }

  async write(names: readonly string[]): Promise<void> {
    for (const [i, name] of names.entries()) await write(join(this.images, name), i + 3);
  }

  /** Opens the images as a process does that has nothing in memory. */
  open(
    crops: Partial<CropStoreOptions> | null = {},
    options: Partial<ImageFolderOptions> = {},
  ): Promise<ImageFolder> {
    const kept = { folder: this.kept, mostBytes: 1e6, leastSourceBytes: 0 };
    return ImageFolder.open(this.images, {
      size: SIZE,
      workers: 0,
      cacheBytes: 0,
      ...(crops === null ? {} : { crops: { ...kept, ...crops } }),
      ...options,
    });
  }

  /** What is read without any crops that are kept. */
  async decoded(): Promise<Float32Array> {
    await using images = await this.open(null);
    return await pixels(images);
  }
}

/** Pixels of all images that are sound. */
async function pixels(images: ImageFolder): Promise<Float32Array> {
  return (await images.readSound([...images.labels.keys()])).images;
}

/** Which images have a crop that fits them. */
async function keptOf({ crops, paths }: ImageFolder): Promise<boolean[]> {
  return await Promise.all(paths.map(async (path, i) => {
    const place = crops?.placeOf(i);
    return place !== undefined && await CropRecord.of(path, SIZE, place)!.read() !== undefined;
  }));
}

const FOUR = ["a/0.png", "a/1.png", "b/2.png", "b/3.png"];

imageTest("crops that are kept are the bits that decoding gives, and are taken", async (folder) => {
  const its = new Case(folder);
  await its.write(FOUR);
  const expected = await its.decoded();
  for (const workers of [0, 1]) {
    for (const isKept of [false, true]) {
      await using images = await its.open({}, { workers });
      assertEquals(await keptOf(images), [isKept, isKept, isKept, isKept]);
      assertEquals(await pixels(images), expected);
      assertEquals(await keptOf(images), [true, true, true, true]);
    }
    await Deno.remove(its.kept, { recursive: true });
  }
  await using images = await its.open();
  const record = CropRecord.of(images.paths[2]!, SIZE, images.crops!.placeOf(2)!)!;
  const pixelsOfNone = new Uint8Array(3 * SIZE ** 2).fill(255);
  await record.write({ pixels: pixelsOfNone, enlarged: false });
  await using next = await its.open();
  assert((await next.read([2])).images.every((value) => value === 1));
  await using other = await its.open({}, { size: SIZE - 1 });
  assertEquals((await other.read([2])).images.length, 3 * (SIZE - 1) ** 2);
  assert((await other.read([2])).images.some((value) => value !== 1));
});

imageTest("records that are torn, damaged or of other images are not taken", async (folder) => {
  const its = new Case(folder);
  await its.write(FOUR);
  const expected = await its.decoded();
  await using images = await its.open();
  await pixels(images);
  const { file } = images.crops!;
  const whole = await Deno.readFile(file);
  assertEquals(whole.length, 4 * RECORD);
  const record = (place: number) => whole.subarray(place * RECORD, (place + 1) * RECORD);
  const half = RECORD / 2;
  const damages: [bytes: Uint8Array, kept: boolean[]][] = [
    [whole.subarray(0, 3 * RECORD + half), [true, true, true, false]], // killed while writing
    [whole.map((byte, i) => i === RECORD + 40 ? byte ^ 1 : byte), [true, false, true, true]],
    [whole.map((byte, i) => i === 0 ? byte ^ 128 : byte), [false, true, true, true]],
    [new Uint8Array(4 * RECORD), [false, false, false, false]], // a place that was skipped
    // another image's, and one of which two processes wrote a half each
    [
      Uint8Array.from([...record(1), ...record(0), ...record(2), ...record(3)]),
      [false, false, true, true],
    ],
    [
      Uint8Array.from([...record(1).subarray(0, half), ...whole.subarray(half)]),
      [false, true, true, true],
    ],
  ];
  for (const [bytes, kept] of damages) {
    await Deno.writeFile(file, bytes);
    await using next = await its.open();
    assertEquals(await keptOf(next), kept);
    assertEquals(await pixels(next), expected);
    assertEquals(await Deno.readFile(file), whole); // written anew
  }
  // a list that says something else costs time only
  for (const list of ["[", "{}", '["b/3.png","a/0.png","a/1.png","b/2.png"]']) {
    await Deno.writeTextFile(file.replace(/\.crops$/, ".names.json"), list);
    await using next = await its.open();
    assertEquals(await pixels(next), expected);
  }
});

imageTest("an image whose file has changed is decoded anew", async (folder) => {
  const its = new Case(folder);
  await its.write(FOUR);
  for (const i of FOUR.keys()) await Deno.utime(join(its.images, FOUR[i]!), 1000, 1000);
  await using images = await its.open();
  const before = await pixels(images);
  const [first, second] = FOUR.map((name) => join(its.images, name));
  await write(first!, 91, 3 * SIZE); // of another size
  await Deno.utime(first!, 1000, 1000);
  await Deno.utime(second!, 1000, 1001); // of another time
  await using next = await its.open();
  assertEquals(await keptOf(next), [false, false, true, true]);
  const after = await pixels(next);
  assertEquals(after, await its.decoded());
  const length = 3 * SIZE ** 2;
  assert(after.subarray(0, length).some((value, i) => value !== before[i]));
  assertEquals(after.subarray(length), before.subarray(length));
});

imageTest("several at once keep crops in one file and take each other's", async (folder) => {
  const its = new Case(folder);
  const names = Array.from({ length: 24 }, (_, i) => `${i % 2}/${i}.png`);
  await its.write(names);
  const expected = await its.decoded();
  const opened = await Promise.all([1, 1, 0].map((workers) => its.open({}, { workers })));
  const indices = [...names.keys()];
  const shares = [indices.slice(0, 16), indices.slice(8).reverse(), indices];
  await Promise.all(opened.map((images, i) => images.read(shares[i]!)));
  for (const images of opened) {
    assertEquals(await keptOf(images), names.map(() => true));
    assertEquals(await pixels(images), expected);
    await images.close();
  }
});

imageTest("what is damaged, gone or enlarged is found again with every opening", async (folder) => {
  const its = new Case(folder);
  await its.write(FOUR);
  const [cut, gone, small] = FOUR.map((name) => join(its.images, name));
  await write(small!, 2, SIZE - 1);
  await Deno.truncate(cut!, 70);
  await using first = await its.open();
  assertEquals((await first.readSound([0, 1, 2, 3])).indices, [1, 2, 3]);
  assertEquals(await keptOf(first), [false, true, true, true]);
  for (const crops of [{}, null]) {
    const damaged: string[] = [];
    await using images = await its.open(crops, { onDamaged: (path) => damaged.push(path) });
    await Deno.rename(gone!, `${gone}.away`);
    await images.readSound([0, 1, 2, 3]);
    await Deno.rename(`${gone}.away`, gone!);
    assertEquals(damaged.sort(), [cut!, gone!]);
    assertEquals([...images.enlarged], [2]);
  }
});

imageTest("nothing is written where crops are off, only read, or not worth it", async (folder) => {
  const its = new Case(folder);
  await its.write(FOUR);
  const readOnly: Partial<ImageFolderOptions> = { crops: { folder: its.kept } };
  const ways: (() => Promise<ImageFolder>)[] = [
    () => its.open(null),
    () => its.open(null, readOnly),
    () => its.open({ leastSourceBytes: 1e5 }),
    () => its.open({ mostBytes: RECORD - 1 }),
  ];
  for (const open of ways) {
    await using images = await open();
    assertEquals(images.crops, null);
    await pixels(images);
  }
  assertEquals(await Array.fromAsync(Deno.readDir(folder), ({ name }) => name), ["images"]);
  await using writer = await its.open();
  await writer.read([1, 2]);
  const before = await Deno.readFile(writer.crops!.file);
  await using reader = await its.open(null, readOnly);
  assertEquals(await keptOf(reader), [false, true, true, false]);
  assertEquals(await pixels(reader), await its.decoded());
  assertEquals(await Deno.readFile(writer.crops!.file), before);
});

imageTest("images keep their places while others come and go", async (folder) => {
  const its = new Case(folder);
  await its.write(["a/1.png", "a/3.png", "a/5.png"]);
  await using images = await its.open();
  await pixels(images);
  await its.write(["a/0.png", "a/2.png"]);
  await Deno.remove(join(its.images, "a/3.png"));
  await using next = await its.open();
  assertEquals(await keptOf(next), [false, true, false, true]); // 0, 1, 2, 5
  assertEquals(await pixels(next), await its.decoded());
  for (const name of ["0", "1", "2"]) await Deno.remove(join(its.images, `a/${name}.png`));
  await using last = await its.open(); // where most have gone, places are given anew
  assertEquals(await pixels(last), await its.decoded());
  assertEquals((await Deno.stat(last.crops!.file)).size, RECORD);
});

imageTest("crops have a bound: the least recently used folder's go first", async (folder) => {
  const [a, b, c] = ["a", "b", "c"].map((name) => new Case(join(folder, name)));
  const folderOf = { folder: join(folder, "kept") };
  const files: string[] = [];
  for (const [i, its] of [a!, b!].entries()) {
    await its.write(FOUR);
    await using images = await its.open(folderOf);
    await pixels(images);
    files.push(images.crops!.file);
    await Deno.utime(files[i]!, 2000 - i, 2000 - i);
  }
  const others = join(folderOf.folder, "notes.txt");
  await Deno.writeTextFile(others, "a person's");
  await c!.write(FOUR);
  const isThere = (path: string) => Deno.stat(path).then(() => true, () => false);
  await using images = await c!.open({ ...folderOf, mostBytes: 9 * RECORD });
  assertEquals(await Promise.all(files.map(isThere)), [true, false]);
  assertEquals(await isThere(files[1]!.replace(".crops", ".names.json")), false);
  await pixels(images);
  // a run that still uses what has gone reads on, and keeps nothing more
  await using evicted = await b!.open({ folder: folderOf.folder });
  await Deno.remove(evicted.crops!.file);
  assertEquals(await pixels(evicted), await b!.decoded());
  assertEquals(await isThere(evicted.crops!.file), false);
  // of a folder that is too large by itself as many images as there is room for
  await using part = await a!.open({ ...folderOf, mostBytes: 3 * RECORD + 1 });
  assertEquals([part.crops!.count, part.crops!.bytes], [3, 3 * RECORD]);
  assertEquals(await pixels(part), await a!.decoded());
  assertEquals(await keptOf(part), [true, true, true, false]);
  const left = await Array.fromAsync(Deno.readDir(folderOf.folder), ({ name }) => name);
  assertEquals(left.filter((name) => name.endsWith(".crops")).length, 1);
  assert(left.includes("notes.txt"));
});

imageTest(
  "where crops cannot be written that is said once, and images are read",
  async (folder) => {
    const its = new Case(folder);
    await its.write(FOUR);
    const expected = await its.decoded();
    const reasons: string[] = [];
    const onFailure = (reason: string): number => reasons.push(reason);
    await Deno.writeTextFile(its.kept, "a file where the folder should be");
    await using none = await its.open({ onFailure });
    assertEquals(none.crops, null);
    assertEquals(await pixels(none), expected);
    assertEquals(reasons.length, 1);
    await Deno.remove(its.kept);
    for (const workers of [0, 2]) {
      await using images = await its.open({ onFailure }, { workers });
      await Deno.remove(images.crops!.file);
      await Deno.mkdir(join(images.crops!.file, "full"), { recursive: true });
      assertEquals(await pixels(images), expected);
      assertEquals(images.crops!.placeOf(0)!.isWritten, false);
      await Deno.remove(images.crops!.file, { recursive: true });
    }
    assertEquals(reasons.length, 3);
  },
);

imageTest("files of crops have names that every system takes, one a folder", async (folder) => {
  const files: string[] = [];
  for (const name of ["Ä (1) 猫 & co", "con", "x".repeat(200)]) {
    const its = new Case(folder);
    const renamed = join(folder, name);
    await its.write(FOUR);
    await Deno.rename(its.images, renamed);
    const options = { folder: its.kept, mostBytes: 1e6, leastSourceBytes: 0 };
    const paths = FOUR.map((image) => join(renamed, image));
    const file = (await CropStore.open(renamed, paths, SIZE, options))!.file;
    const other = join(renamed, "..", name); // another way to it
    assertEquals((await CropStore.open(other, paths, SIZE, options))!.file, file);
    files.push(file);
  }
  for (const file of files) assertMatch(file, /[\\/]\w{1,32}-4-[0-9a-f]{16}\.crops$/);
  assertEquals(new Set(files).size, 3);
});
