import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { makeGrid, toPixels } from "./byte_image.ts";
import { crc32 } from "@dit/core/io";
import { DamagedImageError } from "./errors.ts";
import { decodePng, encodePng } from "./png.ts";

const one = { channels: 1, height: 1, width: 1 };

Deno.test("toPixels() cuts fractions off, clamps, and puts channels last", () => {
  const images = Float32Array.of(-1, -0.5, 0, 1, 2, -2, 0.996, NaN);
  const shape = { channels: 2, height: 2, width: 2 };
  assertEquals([...toPixels(images, shape)], [0, 255, 64, 0, 128, 254, 255, 0]);
});

Deno.test("makeGrid() rounds, and draws gray pictures row by row, black between", () => {
  const grid = makeGrid(Float32Array.of(-1, 0, 1), one, { columns: 2, padding: 1 });
  assertEquals([grid.channels, grid.height, grid.width], [1, 5, 5]);
  // deno-fmt-ignore
  assertEquals([...grid.pixels], [
    0, 0, 0, 0, 0,
    0, 0, 0, 128, 0,
    0, 0, 0, 0, 0,
    0, 255, 0, 0, 0,
    0, 0, 0, 0, 0,
  ]);
});

Deno.test("makeGrid() leaves one picture alone", () => {
  assertEquals(makeGrid(Float32Array.of(1), one), { ...one, pixels: Uint8Array.of(255) });
});

Deno.test("images refuse numbers that do not fit", async () => {
  assertThrows(() => makeGrid(new Float32Array(0), one), RangeError, "one image or more");
  assertThrows(() => makeGrid(new Float32Array(1), one, { columns: 0 }), RangeError, "1 column");
  assertThrows(
    () => toPixels(new Float32Array(5), { channels: 3, height: 1, width: 1 }),
    RangeError,
    "images of 3 x 1 x 1 but got 5 values",
  );
  await assertRejects(() => encodePng(new Uint8Array(6), 2, 1, 4), RangeError, "2 x 1 x 4");
  await assertRejects(() => encodePng(new Uint8Array(5), 1, 1, 5), RangeError, "1 to 4 channels");
});

Deno.test("a PNG file has its chunks, and smooth pictures become small", async () => {
  const pixels = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => Math.floor(i / 3) % 64 * 3);
  const file = await encodePng(pixels, 64, 64, 3);
  const text = new TextDecoder("latin1").decode(file);
  assertEquals(["IHDR", "IDAT", "IEND"].map((type) => text.includes(type)), [true, true, true]);
  assertEquals(file.length < 400, true);
});

/** Rows of a PNG file with the filters of the format by turns, as other programs write them. */
async function filteredPng(pixels: Uint8Array, width: number, filters: number[]) {
  const height = filters.length;
  const rows = new Uint8Array(height * (1 + width));
  const at = (y: number, x: number) => x < 0 || y < 0 ? 0 : pixels[y * width + x]!;
  for (let y = 0; y < height; y++) {
    rows[y * (1 + width)] = filters[y]!;
    for (let x = 0; x < width; x++) {
      const [a, b, c] = [at(y, x - 1), at(y - 1, x), at(y - 1, x - 1)];
      const p = a + b - c;
      const paeth = Math.abs(p - a) <= Math.abs(p - b) && Math.abs(p - a) <= Math.abs(p - c)
        ? a
        : Math.abs(p - b) <= Math.abs(p - c)
        ? b
        : c;
      const predicted = [0, a, b, Math.floor((a + b) / 2), paeth][filters[y]!]!;
      rows[y * (1 + width) + 1 + x] = at(y, x) - predicted;
    }
  }
  const packed = await new Response(
    new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate")),
  ).bytes();
  const plain = await encodePng(pixels, width, height, 1);
  const chunk = new Uint8Array(12 + packed.length);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, packed.length);
  chunk.set([0x49, 0x44, 0x41, 0x54], 4);
  chunk.set(packed, 8);
  view.setUint32(8 + packed.length, crc32(chunk.subarray(4, 8 + packed.length)));
  return await new Blob([plain.subarray(0, 33), chunk, plain.subarray(-12)]).bytes();
}

Deno.test("decodePng() gives back what was encoded, with every filter of the format", async () => {
  for (const [width, height, channels] of [[1, 1, 1], [5, 7, 3], [16, 3, 4], [3, 9, 2]] as const) {
    const pixels = Uint8Array.from({ length: width * height * channels }, (_, i) => i * i * 37);
    const file = await encodePng(pixels, width, height, channels);
    assertEquals(await decodePng(file), { pixels, width, height, channels });
  }
  const pixels = Uint8Array.from({ length: 7 * 5 }, (_, i) => i * i * 91);
  const file = await filteredPng(pixels, 7, [4, 3, 1, 2, 4]);
  assertEquals((await decodePng(file)).pixels, pixels);
});

Deno.test("decodePng() refuses files that are cut short or changed", async () => {
  const file = await encodePng(Uint8Array.from({ length: 48 }, (_, i) => i * 7), 4, 4, 3);
  for (const length of [0, 7, 20, 40, file.length - 1]) {
    await assertRejects(() => decodePng(file.slice(0, length)), DamagedImageError);
  }
  for (let i = 0; i < file.length; i++) {
    const changed = file.slice();
    changed[i]! ^= 1;
    await assertRejects(() => decodePng(changed), DamagedImageError, undefined, `byte ${i}`);
  }
});
