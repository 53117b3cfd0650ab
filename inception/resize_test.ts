import { assertEquals } from "@std/assert";
import { noGrad } from "../autograd/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { inceptionInput } from "./resize.ts";

type Shape = readonly [number, number, number, number];

/** TensorFlow 1's ResizeBilinear by its definition, in float64, of one pixel and channel. */
function expected(images: Uint8Array, shape: Shape, size: number, at: readonly number[]): number {
  const [, height, width, channels] = shape;
  const [n, c, y, x] = at as [number, number, number, number];
  const pixel = (row: number, column: number) =>
    images[((n * height + row) * width + column) * channels + (channels === 1 ? 0 : c)]!;
  const [row, column] = [y * height / size, x * width / size];
  const [top, left] = [Math.floor(row), Math.floor(column)];
  const [bottom, right] = [Math.min(top + 1, height - 1), Math.min(left + 1, width - 1)];
  const [down, across] = [row - top, column - left];
  const upper = pixel(top, left) * (1 - across) + pixel(top, right) * across;
  const lower = pixel(bottom, left) * (1 - across) + pixel(bottom, right) * across;
  return (upper * (1 - down) + lower * down - 128) / 128;
}

/** The result on the host. */
async function resized(images: Uint8Array, shape: Shape, size: number): Promise<ArrayLike<number>> {
  using x = noGrad(() => inceptionInput(images, shape, size));
  assertEquals(x.shape, [shape[0], 3, size, size]);
  return await x.data();
}

eachDevice("inceptionInput() doubles an image of 2x2 as worked out by hand", async () => {
  // pixels at 0, 0.5, 1 and 1.5, of which the last is the edge's
  const got = await resized(new Uint8Array([0, 128, 64, 255]), [1, 2, 2, 1], 4);
  const plane = [
    [0, 64, 128, 128],
    [32, 111.75, 191.5, 191.5],
    [64, 159.5, 255, 255],
    [64, 159.5, 255, 255],
  ].flat().map((value) => (value - 128) / 128);
  assertEquals(Array.from(got), [...plane, ...plane, ...plane]);
});

eachDevice("inceptionInput() is TensorFlow 1's resize by its definition, up and down", async () => {
  const cases: [Shape, number][] = [
    [[2, 5, 7, 3], 13],
    [[1, 64, 48, 3], 299],
    [[1, 300, 310, 3], 75],
    [[2, 8, 8, 1], 11],
    [[1, 9, 9, 3], 9],
  ];
  for (const [shape, size] of cases) {
    const count = shape.reduce((a, b) => a * b, 1);
    const images = Uint8Array.from({ length: count }, (_, i) => (i * 7919 + (i >> 3) * 31) & 255);
    const got = await resized(images, shape, size);
    let worst = 0;
    for (let i = 0; i < got.length; i++) {
      const x = i % size, y = Math.floor(i / size) % size;
      const c = Math.floor(i / size / size) % 3, n = Math.floor(i / size / size / 3);
      const off = Math.abs(got[i]! - expected(images, shape, size, [n, c, y, x]));
      worst = Math.max(worst, off);
    }
    // places are float32 in TensorFlow, which moves a pixel of 299 by 2e-5 of a step
    assertEquals(worst < 1e-4, true, `${shape} to ${size}: off by ${worst}`);
  }
});
