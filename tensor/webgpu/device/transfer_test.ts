import { assertEquals, assertThrows } from "@std/assert";
import type { View } from "../../view.ts";
import { program } from "../../expr.ts";
import type { WebGpuBackend } from "../backend.ts";
import { gpuTest } from "./device_test_util.ts";

const f32 = { kind: "input", ty: "f32" } as const;
const twice = program("transferTest.twice", [f32], (x) => x.mul(2));

function double(b: WebGpuBackend, view: View): void {
  b.run("elementwise", { program: twice, ins: [view], outs: [view], scalars: [] }, "mul");
}

gpuTest("bytes are written at any offset and in any number", async (b) => {
  const length = 41;
  const buffer = b.alloc(length, "test");
  const want = new Uint8Array(length);
  b.write(buffer, 0, want);
  let value = 0;
  for (let offset = 0; offset < 6; offset++) {
    for (const count of [0, 1, 2, 3, 4, 5, 8, 35]) {
      const data = Uint8Array.from({ length: count }, () => ++value & 255);
      b.write(buffer, offset, data);
      want.set(data, offset);
      assertEquals([...await b.read(buffer, "u8", 0, length)], [...want]);
    }
  }
  assertEquals([...await b.read(buffer, "u8", 3, 6)], [...want.subarray(3, 9)]);
});

gpuTest("f16 is written and read from odd elements", async (b) => {
  const buffer = b.alloc(7 * 2, "test");
  b.write(buffer, 0, new Float16Array(7));
  b.write(buffer, 3, Float16Array.of(1.5, -2, 65504));
  assertEquals([...await b.read(buffer, "f16", 0, 7)], [0, 0, 0, 1.5, -2, 65504, 0]);
  assertEquals([...await b.read(buffer, "f16", 5, 2)], [65504, 0]);
});

gpuTest("a write comes after the work before it and before the work after it", async (b) => {
  // Small ones go with the batch, large ones around it.
  for (const length of [4, 100_000]) {
    const buffer = b.alloc(length * 4, "test");
    const view: View = { buffer, dtype: "f32", offset: 0, shape: [length], strides: [1] };
    b.write(buffer, 0, new Float32Array(length).fill(1));
    double(b, view);
    b.write(buffer, 1, Float32Array.of(10, 20));
    double(b, view);
    b.write(buffer, 2, new Float32Array(length - 2).fill(100));
    double(b, view);
    const data = await b.read(buffer, "f32", 0, length);
    assertEquals([...data.subarray(0, 4)], [8, 40, 200, 200]);
  }
});

gpuTest("reads that overlap in time each see the work before them", async (b) => {
  const buffer = b.alloc(16, "test");
  const view: View = { buffer, dtype: "f32", offset: 0, shape: [4], strides: [1] };
  b.write(buffer, 0, Float32Array.of(1, 1, 1, 1));
  const reads = [];
  for (let i = 0; i < 4; i++) {
    double(b, view);
    reads.push(b.read(buffer, "f32", i, 1));
  }
  assertEquals((await Promise.all(reads)).map((data) => data[0]), [2, 4, 8, 16]);
});

gpuTest("transfers outside the buffer are refused", async (b) => {
  const buffer = b.alloc(8, "test");
  assertThrows(() => b.write(buffer, 1, new Float32Array(2)), RangeError, "write");
  let message = "";
  await b.read(buffer, "f32", 1, 2).catch((error) => message = `${error}`);
  assertEquals(
    message,
    "RangeError: read: expected bytes within the 8 of the buffer but got [4, 12)",
  );
});
