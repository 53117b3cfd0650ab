import { assertEquals } from "@std/assert";
import type { View } from "../../view.ts";
import { contiguousStrides, sizeOf } from "../../shape.ts";
import type { WebGpuBackend } from "../backend.ts";
import { gpuTest } from "../device/device_test_util.ts";

function array(b: WebGpuBackend, shape: number[], fill: (i: number) => number): View {
  const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) => fill(i));
  const buffer = b.alloc(data.byteLength, "test");
  b.write(buffer, 0, data);
  return { buffer, dtype: "f32", offset: 0, shape, strides: contiguousStrides(shape) };
}

const plain = { bias: null, activation: "none", pre: null, accumulate: false } as const;

gpuTest("matmul() lets a NaN through every activation", async (b) => {
  for (const activation of ["relu", "silu", "gelu", "geluTanh"] as const) {
    const a = array(b, [1, 1, 1, 1], () => 1);
    const x = array(b, [1, 1, 1, 4], (i) => [NaN, -1, 0][i] ?? 2);
    const out = array(b, [1, 1, 1, 4], () => 7);
    b.run("matmul", { ...plain, a, b: x, activation, out }, "test");
    const got = await b.read(out.buffer, "f32", 0, 4);
    assertEquals([...got].map(Number.isNaN), [true, false, false, false]);
  }
});

gpuTest("matmul() makes one product of a batch that shares its right operand", async (b) => {
  const a = array(b, [5, 3, 7, 2], (i) => i);
  const identity = array(b, [1, 1, 2, 2], (i) => (i === 0 || i === 3 ? 1 : 0));
  const shared = { ...identity, shape: [5, 3, 2, 2], strides: [0, 0, 2, 1] };
  const out = array(b, [5, 3, 7, 2], () => -1);
  const before = b.runtime.stats.dispatches;
  b.run("matmul", { ...plain, a, b: shared, out }, "test");
  assertEquals(b.runtime.stats.dispatches - before, 1);
  const got = await b.read(out.buffer, "f32", 0, 210);
  assertEquals([...got], Array.from({ length: 210 }, (_, i) => i));
});

gpuTest("matmul() returns the memory of partial sums", async (b) => {
  const a = array(b, [1, 1, 3, 4096], () => 1);
  const x = array(b, [1, 1, 4096, 5], () => 1);
  const out = array(b, [1, 1, 3, 5], () => 0);
  b.run("matmul", { ...plain, a, b: x, out }, "test");
  const { reservedBytes } = b.memory();
  for (let i = 0; i < 3; i++) b.run("matmul", { ...plain, a, b: x, out }, "test");
  assertEquals(b.memory().reservedBytes, reservedBytes);
  assertEquals([...await b.read(out.buffer, "f32", 0, 15)], new Array(15).fill(4096));
});
