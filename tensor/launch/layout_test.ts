import { assertEquals, assertThrows } from "@std/assert";
import { arange } from "../create.ts";
import { init } from "../device.ts";
import { ShapeError } from "../errors.ts";
import { scope } from "../scope.ts";
import { contiguousStrides } from "../shape.ts";
import { eachDevice } from "../../tests/devices.ts";
import { inferShape, permuted, reshaped, restride, threeDimensional, unitInner } from "./layout.ts";

Deno.test("inferShape() finds what -1 stands for, and refuses what does not fit", () => {
  assertEquals(inferShape("op", [2, -1, 3], 24), [2, 4, 3]);
  assertEquals(inferShape("op", [-1], 0), [0]);
  assertEquals(inferShape("op", [], 1), []);
  assertEquals(inferShape("op", [0, 7], 0), [0, 7]);
  const faults: [number[], number, string][] = [
    [[5, -1], 24, "op: expected a shape with 24 elements but got [5, -1]"],
    [[2, 3], 24, "op: expected a shape with 24 elements but got [2, 3]"],
    [[-1, -1], 24, "op: expected one -1 at most but got [-1, -1]"],
    [[-2, 12], 24, "op: expected a shape of whole numbers"],
    [[1.5, 16], 24, "op: expected a shape of whole numbers"],
    [[-1, 0], 0, "op: expected -1 beside sizes other than 0"],
  ];
  for (const [shape, size, message] of faults) {
    assertThrows(() => inferShape("op", shape, size), ShapeError, message);
  }
});

Deno.test("restride() reads a view as another shape where its strides allow", () => {
  assertEquals(restride([2, 3, 4], [12, 4, 1], [6, 4]), [4, 1]);
  assertEquals(restride([6, 4], [4, 1], [2, 3, 2, 2]), [12, 4, 2, 1]);
  // rows that are apart split but do not merge
  assertEquals(restride([2, 6], [10, 1], [2, 2, 3]), [10, 3, 1]);
  assertEquals(restride([2, 6], [10, 1], [12]), null);
  assertEquals(restride([2, 6], [10, 1], [3, 4]), null);
  assertEquals(restride([3, 2], [1, 3], [6]), null);
  assertEquals(restride([4], [0], [2, 2]), [0, 0]); // one element repeated
  assertEquals(restride([0, 3], [9, 9], [3, 0]), contiguousStrides([3, 0]));
});

/** Every way to read [2, 3, 4] as another shape must give the elements in the same order. */
eachDevice("reshaped() keeps the row-major order of any view", async () => {
  using _ = scope();
  const whole = reshaped(arange(48), [2, 3, 4, 2]);
  const sliced = whole.as([2, 3, 4], whole.strides.slice(0, 3)); // every second element
  const orders = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]];
  const shapes = [[24], [6, 4], [2, 12], [4, 3, 2], [2, 2, 3, 2, 1], [1, 24, 1], [-1, 8]];
  for (const order of orders) {
    const view = permuted(sliced, order);
    const want = Array.from(await view.data());
    for (const shape of shapes) {
      const got = reshaped(view, shape);
      assertEquals(Array.from(await got.data()), want, `${order} as ${shape}`);
    }
  }
}, ["reference", "wasm"]);

Deno.test("reshaped(), threeDimensional() and unitInner() copy only where they must", async () => {
  await init({ device: "reference" });
  using _ = scope();
  const x = reshaped(arange(24), [2, 3, 4]);
  const transposed = permuted(x, [2, 1, 0]);
  assertEquals(reshaped(x, [6, 4]).storage, x.storage);
  assertEquals(reshaped(transposed, [24]).storage === x.storage, false);
  const middle = threeDimensional(x, 1, 2, "op");
  assertEquals([middle.shape, middle.storage], [[2, 3, 4], x.storage]);
  assertEquals(threeDimensional(x, 0, 3, "op").shape, [1, 24, 1]);
  assertEquals(threeDimensional(x, 3, 3, "op").shape, [24, 1, 1]);
  assertEquals(unitInner(x, "op").storage, x.storage);
  assertEquals(unitInner(transposed, "op").strides, [6, 2, 1]);
  const column = x.as([3, 1], [4, 7]); // a single element has unit stride, whatever it says
  assertEquals([unitInner(column, "op").strides, unitInner(column, "op").storage], [
    [4, 1],
    x.storage,
  ]);
});
