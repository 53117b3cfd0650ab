import { assertEquals, assertRejects } from "@std/assert";
import { loadNpz } from "@dit/core/io";
import { diskTest } from "../../../tests/fixtures.ts";
import { CommandError } from "../../shared/errors.ts";
import { readArchive, writeArchive } from "./archive.ts";
import type { Images } from "../../shared/sample_archive.ts";
import { PartStore, PngStore, type SampleStore } from "./store.ts";

/** Samples of 3x2 pixels whose first byte is their number. */
function images(numbers: readonly number[]): Images {
  const pixels = new Uint8Array(numbers.length * 18);
  numbers.forEach((number, i) => pixels.fill(number, i * 18, i * 18 + 9).fill(7, i * 18 + 9));
  return { pixels, size: [2, 3, 3] };
}

/** Where the first byte of each sample says which it is. */
async function numbersIn(store: SampleStore, count: number): Promise<number[]> {
  const all: number[] = [];
  for await (const { pixels, size } of store.read(count)) {
    assertEquals(size, [2, 3, 3]);
    for (let at = 0; at < pixels.length; at += 18) all.push(pixels[at]!);
  }
  return all;
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

for (
  const [kind, open] of [
    ["PNG files", (folder: string) => new PngStore(folder)],
    ["parts", (folder: string) => new PartStore(folder)],
  ] as const
) {
  diskTest(`${kind} hold samples of any order, and none that is half written`, async (folder) => {
    const store = open(folder);
    await store.write([40, 41, 50], images([40, 41, 50]));
    await Deno.writeTextFile(`${folder}/000003.png.deadbeef.tmp`, "half");
    await Deno.writeTextFile(`${folder}/part-0000003-0000004.npy.deadbeef.tmp`, "half");
    const present = await store.present(45);
    assertEquals(upTo(45).filter((i) => present[i]), [40, 41]);
    await assertRejects(() => numbersIn(store, 45), CommandError, "start the same command again");
    await store.write(upTo(40), images(upTo(40)));
    await store.write([42, 43], images([42, 43]));
    await store.write([44], images([44]));
    assertEquals(await numbersIn(store, 45), upTo(45));
    assertEquals(await numbersIn(store, 33), upTo(33));
    await store.write(upTo(42), images(upTo(42))); // again, in other parts
    assertEquals(await numbersIn(store, 45), upTo(45));
    await assertRejects(() => numbersIn(store, 46), CommandError);
  });

  diskTest(`an archive of ${kind} has pixels, classes and what made them`, async (folder) => {
    const store = open(folder);
    await store.write(upTo(5), images(upTo(5)));
    const path = `${folder}/samples.npz`;
    assertEquals(await readArchive(path), null);
    const done: number[] = [];
    const content = { count: 5, label: (number: number) => 9 - number, madeBy: '{"seed": 1}' };
    await writeArchive(path, store, content, (images) => done.push(images));
    assertEquals(done, [5]);
    const arrays = await loadNpz(path);
    assertEquals(arrays.get("arr_0")!.shape, [5, 2, 3, 3]);
    assertEquals(arrays.get("arr_0")!.data, images(upTo(5)).pixels);
    assertEquals(
      [...new BigInt64Array(arrays.get("arr_1")!.data.buffer)],
      [9n, 8n, 7n, 6n, 5n],
    );
    assertEquals(await readArchive(path), { count: 5, madeBy: '{"seed": 1}' });
    await store.write([5, 6], images([5, 6])); // of more samples than the archive has
    await store.clear(5);
    const kept = kind === "parts" ? [5, 6] : upTo(7);
    const present = await store.present(7);
    assertEquals(upTo(7).filter((i) => present[i]), kept);
  });
}

diskTest("a damaged PNG file ends the archive with what to do", async (folder) => {
  const store = new PngStore(folder);
  await store.write([0, 1], images([0, 1]));
  const path = `${folder}/000001.png`;
  const bytes = await Deno.readFile(path);
  await Deno.writeFile(path, bytes.slice(0, 60));
  const content = { count: 2, label: () => 0, madeBy: "{}" };
  await assertRejects(
    () => writeArchive(`${folder}/x.npz`, store, content),
    CommandError,
    "000001.png: the PNG file is cut short; remove it",
  );
  assertEquals(Array.from(Deno.readDirSync(folder), ({ name }) => name).sort(), [
    "000000.png",
    "000001.png",
  ]);
});
