import { assert, assertEquals } from "@std/assert";
import { logTicks, nearest, smoothed, thinned, ticks } from "./scales.ts";

Deno.test("ticks are round and lie within the range", () => {
  assertEquals(ticks(0, 1400, 5), [0, 500, 1000]);
  assertEquals(ticks(0, 1, 4), [0, 0.5, 1]);
  assertEquals(ticks(0.1, 0.35, 4), [0.1, 0.2, 0.3]);
  assertEquals(ticks(-3, 3, 3), [-2, 0, 2]);
  assertEquals(ticks(5, 5, 4), [5]);
});

Deno.test("ticks of a logarithmic axis are 1, 2 and 5, or powers of ten over wide ranges", () => {
  assertEquals(logTicks(0.1, 0.8, 5), [0.1, 0.2, 0.5]);
  assertEquals(logTicks(1e-4, 100, 5), [1e-4, 1e-3, 0.01, 0.1, 1, 10, 100]);
  assert(logTicks(0.31, 0.35, 5).length >= 2);
});

Deno.test("a thinned curve keeps its ends and its peaks", () => {
  const points = Array.from({ length: 10_000 }, (_, x) => ({ x, y: x === 4321 ? 100 : x % 7 }));
  const thin = thinned(points, 100);
  assert(thin.length <= 200);
  assert(thin.some(({ x, y }) => x === 4321 && y === 100));
  assert(thin[0]!.x < 100 && thin.at(-1)!.x >= 9900);
  assert(thin.every(({ x }, i) => i === 0 || x > thin[i - 1]!.x));
  assertEquals(thinned(points.slice(0, 50), 100), points.slice(0, 50));
});

Deno.test("a smoothed curve begins where the curve does and stays among its values", () => {
  const points = Array.from({ length: 300 }, (_, x) => ({ x, y: x % 2 }));
  const smooth = smoothed(points);
  assertEquals(smooth[0], points[0]);
  assert(smooth.slice(100).every(({ y }) => Math.abs(y - 0.5) < 0.1));
  assertEquals(smoothed([]), []);
});

Deno.test("nearest() gives the closest point on either side", () => {
  const points = [0, 10, 20].map((x) => ({ x, y: x }));
  assertEquals([-5, 4, 6, 14, 99].map((x) => nearest(points, x)!.x), [0, 0, 10, 10, 20]);
  assertEquals(nearest([], 1), undefined);
});
