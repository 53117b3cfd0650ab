import { assert, assertEquals } from "@std/assert";
import { Series } from "./series.ts";

Deno.test("a series has every point as long as there are columns", () => {
  const series = new Series(4);
  for (const x of [1, 3, 4]) series.add(x, 10 * x);
  series.add(5, NaN);
  series.add(5, Infinity);
  assertEquals(series.columns.map(({ first, low, high }) => [first, low, high]), [
    [1, 10, 10],
    [3, 30, 30],
    [4, 40, 40],
  ]);
  assertEquals([series.first, series.last], [1, 4]);
});

Deno.test("a long series keeps its peaks, its sum and its number of points", () => {
  const [points, limit] = [300_000, 640];
  const series = new Series(limit);
  for (let x = 1; x <= points; x++) series.add(x, x === 123_457 ? 99 : x === 7 ? -5 : 1);
  const { columns } = series;
  assert(columns.length <= limit && columns.length > limit / 4, `${columns.length} columns`);
  assertEquals(columns.reduce((sum, { count }) => sum + count, 0), points);
  assertEquals(columns.reduce((sum, column) => sum + column.sum, 0), points - 2 + 99 - 5);
  assertEquals(columns.filter(({ high }) => high === 99).length, 1);
  assertEquals(columns[0]!.low, -5);
});

Deno.test("a series that was read back continues as one that was measured in one go", () => {
  const value = (x: number) => Math.sin(x);
  const [whole, parts] = [new Series(8), new Series(8)];
  for (let x = 1; x <= 100; x++) whole.add(x, value(x));
  for (let x = 1; x <= 100; x++) {
    parts.add(x, value(x));
    parts.add(x - 1, 1e9); // a point to the left is not one of this run
  }
  assertEquals(parts.columns, whole.columns);
});
