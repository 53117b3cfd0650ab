import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ImageArray, normalizeInto } from "./dataset.ts";
import { DataError } from "./errors.ts";

const shape = { channels: 3, height: 1, width: 2 };
const two = () =>
  new ImageArray({
    ...shape,
    pixels: Uint8Array.of(0, 255, 51, 255, 0, 0, 9, 9, 9, 9, 9, 9),
    labels: Int32Array.of(1, 0),
    classNames: ["cat", "dog"],
  });

Deno.test("an array of images is read by number, channels first, from -1 to 1", async () => {
  const { images, shape: size, labels } = await two().read([1, 0]);
  assertEquals(size, [2, 3, 1, 2]);
  assertEquals([...labels], [0, 1]);
  assertEquals([...images.subarray(6)], [-1, 1, 1, -1, Math.fround(-0.6), -1]);
});

Deno.test("a flip mirrors left to right", () => {
  const out = new Float32Array(6);
  normalizeInto(out, Uint8Array.of(0, 255, 0, 255, 0, 255), shape, true);
  assertEquals([...out], [1, -1, -1, 1, 1, -1]);
});

Deno.test("an array of images refuses labels, pixels and indices that do not fit", async () => {
  const options = { ...shape, pixels: new Uint8Array(6), classNames: ["a"] };
  assertThrows(
    () => new ImageArray({ ...options, labels: Int32Array.of(1) }),
    DataError,
    "expected labels in [0, 1) but got 1",
  );
  assertThrows(
    () => new ImageArray({ ...options, labels: new Int32Array(2) }),
    DataError,
    "expected 12 bytes of pixels but got 6",
  );
  await assertRejects(() => two().read([0, 2]), RangeError, "indices in [0, 2) but got 2");
  await assertRejects(() => two().read([0], { flips: [] }), RangeError, "1 flips but got 0");
});
