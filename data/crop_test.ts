import { assert, assertEquals } from "@std/assert";
import { centerCrop } from "./crop.ts";
import type { ByteImage } from "./byte_image.ts";
import { resize } from "./resample.ts";

/** An image whose pixels differ from their neighbours. */
function image(width: number, height: number): ByteImage {
  const pixels = Uint8Array.from({ length: 3 * width * height }, (_, i) => i * i % 251);
  return { pixels, channels: 3, height, width };
}

Deno.test("resize() gives of a part the pixels that the whole has there", () => {
  const sizes = [[24, 18], [9, 31], [24, 31], [9, 18], [40, 5], [12, 9]] as const;
  for (const [width, height] of sizes) {
    const source = image(24, 18);
    for (const filter of ["box", "bicubic"] as const) {
      const whole = resize(source, width, height, filter);
      const crop = { left: 3, top: 2, width: width - 5, height: height - 3 };
      const part = resize(source, width, height, filter, crop);
      assertEquals([part.width, part.height], [crop.width, crop.height]);
      for (let y = 0; y < crop.height; y++) {
        const from = 3 * ((crop.top + y) * width + crop.left);
        assertEquals(
          part.pixels.subarray(3 * y * crop.width, 3 * (y + 1) * crop.width),
          whole.pixels.subarray(from, from + 3 * crop.width),
          `${filter} ${width}x${height}, row ${y}`,
        );
      }
    }
  }
});

Deno.test("centerCrop() of a line takes no more memory than the line and the square", () => {
  for (const [width, height] of [[60_000, 1], [1, 60_000]] as const) {
    const line = image(width, height);
    const before = Deno.memoryUsage();
    const { pixels } = centerCrop(line, 256);
    const { heapUsed, external } = Deno.memoryUsage();
    assert(heapUsed + external - before.heapUsed - before.external < 2 ** 25);
    // the square goes from the middle of one pixel to the middle of the next
    assertEquals(pixels.length, 3 * 256 ** 2);
    for (const at of [29_999, 30_000]) {
      const corner = at === 29_999 ? pixels.subarray(0, 3) : pixels.subarray(-3);
      const pixel = line.pixels.subarray(3 * at, 3 * at + 3);
      corner.forEach((v, c) => assert(Math.abs(v - pixel[c]!) <= 2, `${corner} for ${pixel}`));
    }
  }
});
