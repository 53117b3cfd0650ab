import { assertEquals, assertThrows } from "@std/assert";
import { arange, full, tensor, zeros } from "../create.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { scope } from "../scope.ts";
import { eachDevice } from "../../tests/devices.ts";
import { copy } from "./elementwise.ts";
import { permuted, reshaped } from "./layout.ts";
import {
  argReduceKeep,
  cumulate,
  dropAxes,
  keptShape,
  normalizeAxes,
  reduceKeep,
  sumTo,
} from "./reduce.ts";

const DEVICES = ["reference", "wasm", "webgpu"] as const;

Deno.test("normalizeAxes() takes one, several or all axes, each once", () => {
  assertEquals(normalizeAxes("op", null, 3), [0, 1, 2]);
  assertEquals(normalizeAxes("op", undefined, 0), []);
  assertEquals(normalizeAxes("op", -1, 3), [2]);
  assertEquals(normalizeAxes("op", [2, 0], 3), [0, 2]);
  assertEquals(normalizeAxes("op", [], 3), []);
  assertThrows(() => normalizeAxes("op", [0, -3], 3), ShapeError, "op: expected axes named once");
  assertThrows(() => normalizeAxes("op", [3], 3), ShapeError, "op: expected an axis in [-3, 3)");
  assertEquals(keptShape([2, 3, 4], [0, 2]), [1, 3, 1]);
});

eachDevice("reduceKeep() reduces any axes of any view, like nested loops", async () => {
  using _ = scope();
  const shape = [2, 3, 4, 5];
  const x = reshaped(arange(120), shape);
  for (let mask = 0; mask < 16; mask++) {
    const axes = [0, 1, 2, 3].filter((i) => mask & (1 << i));
    for (const order of [[0, 1, 2, 3], [3, 1, 0, 2]]) {
      const view = permuted(x, order);
      const sizes = order.map((i) => shape[i]!);
      const kept = keptShape(sizes, axes);
      const want = new Float64Array(kept.reduce((a, b) => a * b, 1));
      (await view.data()).forEach((v, flat) => {
        let [rest, at, step] = [flat, 0, 1];
        for (let i = 3; i >= 0; i--) {
          if (!axes.includes(i)) {
            at += (rest % sizes[i]!) * step;
            step *= sizes[i]!;
          }
          rest = Math.floor(rest / sizes[i]!);
        }
        want[at]! += v;
      });
      const got = reduceKeep("op", "sum", null, [view], axes);
      assertEquals([got.shape, Array.from(await got.data())], [kept, Array.from(want)]);
    }
  }
}, ["reference", "wasm"]);

eachDevice("reduceKeep() is in f32 until the end: a mean of f16 does not overflow", async () => {
  using _ = scope();
  const half = full([70_000], 2, { dtype: "f16" });
  const mean = reduceKeep("op", "sum", null, [half], [0], { factor: 1 / 70_000 });
  assertEquals([mean.dtype, Array.from(await mean.data())], ["f16", [2]]);
  const sum = reduceKeep("op", "sum", null, [half], [0]);
  assertEquals(Array.from(await sum.data()), [Infinity]); // more than f16 holds
}, DEVICES);

eachDevice("reduceKeep() of nothing: sums are 0, extremes refused", async () => {
  using _ = scope();
  const none = zeros([3, 0]);
  assertEquals(Array.from(await reduceKeep("op", "sum", null, [none], [1]).data()), [0, 0, 0]);
  assertEquals(reduceKeep("op", "max", null, [none], [0]).shape, [1, 0]);
  assertThrows(
    () => reduceKeep("op", "max", null, [none], [1]),
    ShapeError,
    "op: expected at least one element to reduce but got none",
  );
  const whole = tensor([1], [1], { dtype: "i32" });
  assertThrows(() => reduceKeep("op", "sum", null, [whole], [0]), DTypeError, "but got i32; cast");
}, DEVICES);

eachDevice("max, min and their places: NaN wins, the first of equals", async () => {
  using _ = scope();
  const x = tensor([1, 5, 5, 2, NaN, 9, -3, -3, 0], [3, 3]);
  const run = async (kind: "max" | "min") => [
    Array.from(await reduceKeep("op", kind, null, [x], [1]).data()),
    Array.from(await argReduceKeep("op", kind, x, 1).data()),
  ];
  assertEquals(await run("max"), [[5, NaN, 0], [1, 1, 2]]);
  assertEquals(await run("min"), [[1, NaN, -3], [0, 1, 0]]);
  assertEquals(argReduceKeep("op", "max", x, -1).storage.range, { min: 0, max: 2 });
  const none = zeros([2, 0]);
  assertEquals(argReduceKeep("op", "max", none, 0).shape, [1, 0]);
  assertThrows(() => argReduceKeep("op", "max", none, 1), ShapeError, "at least one element along");
}, DEVICES);

eachDevice("cumulate() runs forwards and backwards along any axis", async () => {
  using _ = scope();
  const x = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
  const run = async (axis: number, reverse: boolean) =>
    Array.from(await cumulate("op", x, axis, reverse).data());
  assertEquals(await run(1, false), [1, 3, 6, 4, 9, 15]);
  assertEquals(await run(1, true), [6, 5, 3, 15, 11, 6]);
  assertEquals(await run(0, false), [1, 2, 3, 5, 7, 9]);
  assertEquals(cumulate("op", zeros([2, 0]), 0, false).shape, [2, 0]);
}, DEVICES);

eachDevice("sumTo() undoes a broadcast", async () => {
  using _ = scope();
  const g = reshaped(arange(12), [2, 3, 2]);
  const run = async (shape: number[]) => Array.from(await sumTo(g, shape, "op").data());
  assertEquals(await run([3, 1]), [0 + 1 + 6 + 7, 2 + 3 + 8 + 9, 4 + 5 + 10 + 11]);
  assertEquals(await run([]), [66]);
  assertEquals(await run([1, 1, 2]), [30, 36]);
  assertEquals(sumTo(g, [2, 3, 2], "op").storage, g.storage);
  assertEquals(dropAxes(copy(g), [], false).shape, [2, 3, 2]);
}, ["reference", "wasm"]);
