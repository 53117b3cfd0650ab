import { assertEquals } from "@std/assert";
import { expect } from "@std/expect";
import { DTYPE_BYTES, dtypeOf, holds, hostArray, hostArrayOf, isFloat, limitsOf } from "./dtype.ts";

const ALL = Object.keys(DTYPE_BYTES) as (keyof typeof DTYPE_BYTES)[];

Deno.test("every dtype has an array of its own", () => {
  for (const dtype of ALL) {
    const made = hostArray(dtype, 3);
    assertEquals([made.length, made.BYTES_PER_ELEMENT], [3, DTYPE_BYTES[dtype]]);
    assertEquals(dtypeOf(made), dtype);
  }
  assertEquals(dtypeOf([1, 2]), undefined);
  assertEquals(ALL.filter(isFloat), ["f32", "f16"]);
});

Deno.test("hostArrayOf() sees bytes as elements without a copy", () => {
  const bytes = Uint8Array.of(0, 0, 0, 0, 0, 0, 128, 63);
  const seen = hostArrayOf("f32", bytes.subarray(4));
  assertEquals(Array.from(seen), [1]);
  expect(seen.buffer).toBe(bytes.buffer);
});

Deno.test("holds() is true for whole numbers in range, and for any number of floats", () => {
  for (const dtype of ALL) {
    const [low, high] = limitsOf(dtype);
    assertEquals([holds(dtype, low), holds(dtype, high)], [true, true]);
    if (isFloat(dtype)) continue;
    const outside = [low - 1, high + 1, 0.5, NaN, Infinity];
    assertEquals(outside.filter((v) => holds(dtype, v)), []);
  }
  assertEquals(holds("f16", NaN), true);
});
