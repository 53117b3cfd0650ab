import { assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "./errors.ts";
import {
  broadcastShapes,
  broadcastStrides,
  checkShape,
  collapse,
  contiguousStrides,
  isContiguous,
  normalizeAxis,
  sameShape,
  sizeOf,
} from "./shape.ts";

Deno.test("sizeOf() is 1 for no dimensions and 0 where one is 0", () => {
  assertEquals([[], [3], [2, 3, 4], [2, 0, 4]].map(sizeOf), [1, 3, 24, 0]);
});

Deno.test("contiguousStrides() steps row-major", () => {
  assertEquals(contiguousStrides([2, 3, 4]), [12, 4, 1]);
  assertEquals(contiguousStrides([]), []);
});

Deno.test("isContiguous() does not mind the strides of single elements and of nothing", () => {
  assertEquals(isContiguous([2, 3], [3, 1]), true);
  assertEquals(isContiguous([2, 3], [1, 2]), false);
  assertEquals(isContiguous([2, 1, 3], [3, 99, 1]), true);
  assertEquals(isContiguous([2, 0, 3], [7, 7, 7]), true);
  assertEquals(isContiguous([4], [2]), false);
  assertEquals(isContiguous([], []), true);
});

Deno.test("sameShape() compares every dimension", () => {
  assertEquals(sameShape([2, 3], [2, 3]), true);
  assertEquals(sameShape([2, 3], [3, 2]), false);
  assertEquals(sameShape([2, 3], [2, 3, 1]), false);
  assertEquals(sameShape([], []), true);
});

Deno.test("checkShape() refuses what is no whole number, 0 or more", () => {
  checkShape("op", [0, 1, 2 ** 40]);
  for (const wrong of [[-1], [1.5], [NaN], [Infinity], [2, -0.5], [2 ** 60]]) {
    assertThrows(
      () => checkShape("op", wrong),
      ShapeError,
      "op: expected a shape of whole numbers",
    );
  }
});

Deno.test("broadcastShapes() follows NumPy's rule, zeros included", () => {
  assertEquals(broadcastShapes("op", [3, 1, 7], [5, 1]), [3, 5, 7]);
  assertEquals(broadcastShapes("op", [], [2]), [2]);
  assertEquals(broadcastShapes("op"), []);
  assertEquals(broadcastShapes("op", [3, 1], [1, 0]), [3, 0]);
  assertEquals(broadcastShapes("op", [1], [0], [1]), [0]);
  for (const [a, b] of [[[2], [3]], [[0], [2]], [[2, 3], [2]]]) {
    assertThrows(
      () => broadcastShapes("op", a!, b!),
      ShapeError,
      `op: expected shapes that broadcast together but got [${a!.join(", ")}] and [`,
    );
  }
});

Deno.test("broadcastStrides() stays in place where a dimension repeats", () => {
  assertEquals(broadcastStrides([3, 1], [1, 1], [4, 3, 5]), [0, 1, 0]);
  assertEquals(broadcastStrides([1], [9], [1]), [9]);
});

Deno.test("normalizeAxis() counts from the end and refuses what is outside", () => {
  assertEquals([0, 2, -1, -3].map((axis) => normalizeAxis("op", axis, 3)), [0, 2, 2, 0]);
  for (const wrong of [3, -4, 0.5, NaN]) {
    assertThrows(
      () => normalizeAxis("op", wrong, 3),
      ShapeError,
      "op: expected an axis in [-3, 3)",
    );
  }
  assertThrows(() => normalizeAxis("op", 0, 0), ShapeError, "at least one axis");
});

Deno.test("collapse() merges dimensions that all operands step through evenly", () => {
  const plain = [2, 3, 4];
  assertEquals(collapse(plain, [[12, 4, 1]]), { shape: [24], strides: [[1]] });
  // the second is broadcast along the last: only the first two merge
  assertEquals(collapse(plain, [[12, 4, 1], [3, 1, 0]]), {
    shape: [6, 4],
    strides: [[4, 1], [1, 0]],
  });
  assertEquals(collapse([2, 1, 3], [[1, 99, 2]]), { shape: [2, 3], strides: [[1, 2]] });
  assertEquals(collapse([1, 1], [[5, 5]]), { shape: [1], strides: [[1]] });
  assertEquals(collapse([], [[], []]), { shape: [1], strides: [[1], [1]] });
});
