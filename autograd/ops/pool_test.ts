import { assertEquals, assertThrows } from "@std/assert";
import { eachDevice } from "../../tests/devices.ts";
import { scope, ShapeError, tensor, zeros } from "../../tensor/mod.ts";
import { avgPool2d, maxPool2d } from "./pool.ts";

eachDevice(
  "maxPool2d() and avgPool2d() take what lies in each window, and no padding",
  async () => {
    using _ = scope();
    // 1 2 3 / 4 5 6 / 7 8 9, negative: padding of zeros would be the largest
    const x = tensor([1, 2, 3, 4, 5, 6, 7, 8, 9].map((v) => -v), [1, 1, 3, 3]);
    const around = { size: 3, stride: 1, padding: 1 };
    assertEquals(
      Array.from(await maxPool2d(x, around).data()),
      [-1, -1, -2, -1, -1, -2, -4, -4, -5],
    );
    const means = [3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7].map((v) => -v);
    const got = Array.from(await avgPool2d(x, around).data(), (v) => Math.round(v * 1e4) / 1e4);
    assertEquals(got, means);
    assertEquals(Array.from(await maxPool2d(x, { size: 2, stride: 1 }).data()), [-1, -2, -4, -5]);
    const wide = maxPool2d(zeros([2, 3, 9, 12]), { size: 3, stride: 2 });
    assertEquals(wide.shape, [2, 3, 4, 5]);
  },
  ["reference", "wasm", "webgpu"],
);

eachDevice("pooling says what it expected", () => {
  using _ = scope();
  const x = zeros([1, 1, 4, 4]);
  const faults: [() => unknown, string][] = [
    [() => maxPool2d(x, { size: 5 }), "as large as the window of 5, but got [1, 1, 4, 4]"],
    [() => maxPool2d(zeros([4, 4]), { size: 2 }), "expected [N, C, H, W]"],
    [() => avgPool2d(x, { size: 2, stride: 0 }), "size and stride 1 or more"],
    [() => avgPool2d(x, { size: 3, padding: 2 }), "padding at most half the size"],
    [() => avgPool2d(x, { size: 2.5 }), "expected whole numbers"],
  ];
  for (const [run, message] of faults) assertThrows(run, ShapeError, message);
}, ["wasm"]);
