import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { expect } from "@std/expect";
import { init } from "@dit/core/tensor";
import { numbers } from "../../tests/numbers.ts";
import { memorisation, standingOut } from "./memorisation.ts";
import { findNearest, NEIGHBOURS } from "./nearest.ts";
import { chosen, type Pictures } from "./pictures.ts";

/** Pictures [N, side, side, channels] of random bytes. */
function noise(count: number, side: number, channels: number, seed: number): Pictures {
  const next = numbers(seed);
  const pixels = Uint8Array.from(
    { length: count * side * side * channels },
    () => Math.floor(next() * 256),
  );
  return { count, size: [side, side, channels], pixels, labels: new Int32Array(count) };
}

function mirrored({ count, size, pixels, labels }: Pictures): Pictures {
  const [height, width, channels] = size;
  const out = pixels.slice();
  for (let i = 0; i < count * height; i++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) {
        out[(i * width + x) * channels + c] = pixels[(i * width + width - 1 - x) * channels + c]!;
      }
    }
  }
  return { count, size, pixels: out, labels };
}

Deno.test("findNearest() finds what comparing every pair finds, in order", async () => {
  await init({ device: "wasm" });
  const [queries, reference] = [noise(7, 4, 3, 1), noise(5000, 4, 3, 2)]; // two blocks
  const found = await findNearest(queries, reference, { mirrored: false });
  for (const [query, { indices, distances }] of found.entries()) {
    const all = Array.from({ length: reference.count }, (_, picture) => {
      let sum = 0;
      for (let i = 0; i < 48; i++) {
        sum += ((queries.pixels[query * 48 + i]! - reference.pixels[picture * 48 + i]!) / 255) ** 2;
      }
      return { picture, distance: Math.sqrt(sum / 48) };
    }).sort((a, b) => a.distance - b.distance).slice(0, NEIGHBOURS);
    assertEquals(indices, all.map(({ picture }) => picture));
    all.forEach(({ distance }, i) => assertAlmostEquals(distances[i]!, distance, 1e-12));
  }
});

Deno.test("findNearest() passes a picture itself over, and mirrors where training did", async () => {
  await init({ device: "wasm" });
  const reference = noise(40, 32, 1, 3); // compared at half their size
  const some = chosen(reference, [5, 39]);
  const [first] = await findNearest(some, reference, { mirrored: false });
  assertEquals([first!.indices[0], first!.distances[0]], [5, 0]);
  const without = await findNearest(some, reference, { mirrored: false, themselves: [5, 39] });
  assert(without.every(({ distances }) => distances[0]! > 0));
  const turned = mirrored(some);
  const [unlike] = await findNearest(turned, reference, { mirrored: false });
  const [same] = await findNearest(turned, reference, { mirrored: true });
  assert(unlike!.distances[0]! > 0);
  assertEquals([same!.indices[0], same!.distances[0]], [5, 0]);
});

Deno.test("memorisation() tells copies from new pictures of the same kind", async () => {
  await init({ device: "wasm" });
  const [reference, fresh] = [noise(600, 8, 1, 4), noise(200, 8, 1, 5)];
  const themselves = Array.from({ length: 100 }, (_, i) => 6 * i);
  const search = { mirrored: false };
  const heldOut = await findNearest(chosen(reference, themselves), reference, {
    ...search,
    themselves,
  });
  const verdictOn = async (pictures: Pictures) =>
    memorisation(await findNearest(pictures, reference, search), heldOut);

  const ofNew = await verdictOn(fresh);
  assertEquals(ofNew.verdict, "new");
  expect(ofNew.ratio).toBeGreaterThan(0.97);
  expect(ofNew.ratio).toBeLessThan(1.03);

  const copies = chosen(reference, Array.from({ length: 200 }, (_, i) => 3 * i));
  const shaken = { ...copies, pixels: copies.pixels.map((v, i) => v + (i % 2 && v < 250 ? 5 : 0)) };
  const ofCopies = await verdictOn(shaken);
  assertEquals(ofCopies.verdict, "memorised");
  expect(ofCopies.ratio).toBeLessThan(0.1);
  assertEquals(ofCopies.suspicious, 1);

  // a third of the samples are copies: the median distance does not show it, single samples do
  const mixed = { ...shaken, pixels: shaken.pixels.slice() };
  mixed.pixels.set(fresh.pixels.subarray(0, 134 * 64));
  const ofMixed = await verdictOn(mixed);
  assertEquals(ofMixed.verdict, "memorised");
  expect(ofMixed.ratio).toBeGreaterThan(0.9);
  expect(ofMixed.suspicious).toBeGreaterThan(0.3);
});

Deno.test("standingOut() is small for a copy and 1 among equals", () => {
  assertAlmostEquals(standingOut({ indices: [1, 2, 3, 4], distances: [0.1, 1, 1, 1] }), 0.4 / 3.1);
  assertEquals(standingOut({ indices: [1, 2], distances: [0.5, 0.5] }), 1);
  assertEquals(standingOut({ indices: [1, 2], distances: [0, 0] }), 0);
});
