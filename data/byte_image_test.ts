import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { makeGrid, toPixels } from "./byte_image.ts";
import { encodePng } from "./png.ts";

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
