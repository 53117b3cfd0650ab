import { assert, assertEquals } from "@std/assert";
import { expect } from "@std/expect";
import { normals, sequence } from "./random.ts";

function draw(length: number, position: number, epoch = 0): Float32Array {
  const out = new Float32Array(length);
  normals(out, sequence(3n, "latent", epoch), position);
  return out;
}

Deno.test("normals() have mean 0, variance 1 and the tails of a normal distribution", () => {
  const values = draw(40_000, 1);
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const variance = values.reduce((sum, x) => sum + x * x, 0) / values.length;
  assert(Math.abs(mean) < 0.02 && Math.abs(variance - 1) < 0.03, `${mean}, ${variance}`);
  const far = values.filter((x) => Math.abs(x) > 2).length / values.length;
  assert(Math.abs(far - 0.0455) < 0.005, `${far}`);
});

Deno.test("normals() differ by position and epoch, and repeat themselves", () => {
  assertEquals(draw(8, 2), draw(8, 2));
  expect(draw(8, 2)).not.toEqual(draw(8, 3));
  expect(draw(8, 2)).not.toEqual(draw(8, 2, 1));
  assertEquals(draw(7, 0), draw(8, 0).subarray(0, 7)); // a part of a block is thrown away
});

Deno.test("sequences of different purposes have nothing in common", () => {
  const words = (["order", "flip", "latent"] as const).map((purpose) => {
    return sequence(3n, purpose, 0).nextUint32();
  });
  assertEquals(new Set(words).size, 3);
});
