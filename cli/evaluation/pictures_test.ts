import { assert, assertEquals, assertThrows } from "@std/assert";
import { CommandError } from "../shared/errors.ts";
import { chosen, divide, evenly, evenlyOfEach, reduced, reducedSize } from "./pictures.ts";

Deno.test("reduced() averages boxes, smaller ones at the edge, and leaves small pictures alone", () => {
  // 3 rows of 5 pixels with one channel, twice
  const rows = [0, 10, 20, 30, 40, 2, 12, 22, 32, 42, 100, 100, 200, 200, 7];
  const pixels = Uint8Array.from([...rows, ...rows.map((v) => v + 1)]);
  assertEquals(reducedSize([3, 5, 1], 3), [2, 3, 1]);
  const expected = [6, 26, 41, 100, 200, 7];
  const small = reduced(pixels, [3, 5, 1], 3);
  assertEquals([...small], [...expected, ...expected.map((v) => v + 1)]);
  assert(reduced(pixels, [3, 5, 1], 5) === pixels);
  const colours = Uint8Array.of(0, 100, 10, 200, 20, 50, 30, 150); // two rows of two, two channels
  assertEquals([...reduced(colours, [2, 2, 2], 1)], [15, 125]);
});

Deno.test("divide() holds a tenth of each class out, always the same", () => {
  const labels = Int32Array.from({ length: 130 }, (_, i) => i < 100 ? 0 : i < 128 ? 1 : 2);
  const names = ["a", "b", "c"];
  const division = divide(labels, names, "data");
  const counts = [0, 1, 2].map((c) => division.heldOut.filter((i) => labels[i] === c).length);
  assertEquals(counts, [10, 3, 1]);
  assertEquals([...division.training, ...division.heldOut].sort((a, b) => a - b), evenly(130, 130));
  assertEquals(divide(labels, names, "data"), division);
  assertThrows(
    () => divide(labels.slice(0, 129), names, "data"),
    CommandError,
    "data: expected two pictures or more of each class, one to learn from and one to try the " +
      "classifier on, but class 2 (c) has 1",
  );
});

Deno.test("evenlyOfEach() leaves no class out, however rare", () => {
  const labels = Int32Array.from(
    { length: 100 },
    (_, i) => i === 7 || i === 60 ? 1 : i === 3 ? 2 : 0,
  );
  assertEquals(evenlyOfEach(labels, 3, 12), [3, 7, 14, 38, 60, 63, 87]);
  assertEquals(evenlyOfEach(labels, 3, 1), [3, 7, 26, 60, 75]);
  assertEquals(evenlyOfEach(labels, 3, 100), evenly(100, 100));
});

Deno.test("evenly() and chosen() take pictures from all over a set", () => {
  assertEquals(evenly(10, 4), [1, 3, 6, 8]);
  assertEquals(evenly(3, 5), [0, 1, 2]);
  const pixels = Uint8Array.from({ length: 12 }, (_, i) => i);
  const all = { count: 3, size: [2, 2, 1] as const, pixels, labels: Int32Array.of(5, 6, 7) };
  const some = chosen(all, [2, 0]);
  assertEquals([some.count, [...some.labels], [...some.pixels]], [
    2,
    [7, 5],
    [8, 9, 10, 11, 0, 1, 2, 3],
  ]);
});
