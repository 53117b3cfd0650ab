import { assertEquals } from "@std/assert";
import type { View } from "../../view.ts";
import { gpuTest } from "../device/device_test_util.ts";

gpuTest("softmax() makes a row with a NaN all NaN and leaves the others", async (b) => {
  const x = b.alloc(24, "test");
  const out = b.alloc(24, "test");
  b.write(x, 0, Float32Array.of(1, NaN, 2, 0, 0, 0));
  const view = (buffer: typeof x): View => ({
    buffer,
    dtype: "f32",
    offset: 0,
    shape: [2, 3],
    strides: [3, 1],
  });
  b.run("softmax", { x: view(x), out: view(out), log: false }, "test");
  const got = await b.read(out, "f32", 0, 6);
  assertEquals([...got].map(Number.isNaN), [true, true, true, false, false, false]);
});
