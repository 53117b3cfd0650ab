import { assertEquals } from "@std/assert";
import type { View } from "../../view.ts";
import { DTYPE_BYTES, hostArray } from "../../dtype.ts";
import { program } from "../../expr.ts";
import { canVec4 } from "./accessors.ts";
import { gpuTest } from "../device/device_test_util.ts";

const itself = program("accessorsTest.itself", [{ kind: "input", ty: "f32" }], (x) => x);

gpuTest("f16 packed into words rounds as the host does", async (b) => {
  // Every f16, the numbers around it, and those half-way to the next.
  const halves = new Uint16Array(0x7c00 + 1).map((_, i) => i);
  const values = new Float32Array(halves.length * 6);
  const bits = new Uint32Array(values.buffer);
  new Float16Array(halves.buffer).forEach((half, i) => {
    values[6 * i] = half;
    const at = bits[6 * i]!;
    const steps = [0, 1, 0xfff, 0x1000, 0x1001, 0x1fff];
    steps.forEach((step, k) => bits[6 * i + k] = half < 65536 ? at + step : at);
    values[6 * i + 5]! *= -1;
  });
  // Below the smallest normal f16 the gap to the next is wider: random numbers there.
  for (let i = 0; i < 6 * 1024; i++) values[i] = (i * 7919 % 6143) * 2 ** -26 * (1 + i % 3);
  values.set([NaN, Infinity, -Infinity, -0, 1e30, -1e30, 65519.99, 65520], 6 * 1024);

  const n = values.length;
  const from = b.alloc(n * 4, "test");
  const to = b.alloc(n * 2, "test");
  b.write(from, 0, values);
  const view = (dtype: "f32" | "f16", buffer: typeof from, offset = 0): View => ({
    buffer,
    dtype,
    offset,
    shape: [n - 8],
    strides: [1],
  });
  // By whole words, and then by atomics from the middle of a word on.
  for (const offset of [0, 1]) {
    b.run("elementwise", {
      program: itself,
      ins: [view("f32", from, offset)],
      outs: [view("f16", to, offset)],
      scalars: [],
    }, "test");
    const got = await b.read(to, "f16", offset, n - 8);
    const want = Float16Array.from(values.subarray(offset, offset + n - 8));
    const wrong = want.findIndex((v, i) => !Object.is(v, got[i]));
    assertEquals(
      wrong < 0 ? "none" : `${values[wrong + offset]} gave ${got[wrong]}, not ${want[wrong]}`,
      "none",
    );
  }
}, { half: "packed" });

for (const dtype of ["f32", "f16", "u8"] as const) {
  gpuTest(`one buffer of ${dtype} is stored to by scalars and by vec4s at once`, async (b) => {
    const buffer = b.alloc(16 * DTYPE_BYTES[dtype], "test");
    b.write(buffer, 0, hostArray(dtype, 16));
    const view = (offset: number): View => ({ buffer, dtype, offset, shape: [4], strides: [1] });
    b.runtime.dispatch({
      op: "test",
      key: "accessorsTest.mixed",
      source: () => `
@compute @workgroup_size(1) fn main() {
  fours_store4(0u, fours_load4(0u) + vec4(1, 2, 3, 4));
  ones_store(0u, 5);
  ones_store(1u, 6);
}`,
      views: [
        { name: "fours", view: view(4), access: "readwrite", vec4: true },
        { name: "ones", view: view(9), access: "write" },
      ],
      workgroups: 1,
    });
    const got = await b.read(buffer, dtype, 0, 16);
    assertEquals([...got], [0, 0, 0, 0, 1, 2, 3, 4, 0, 5, 6, 0, 0, 0, 0, 0]);
  }, { half: "packed" });
}

Deno.test("canVec4() wants aligned rows without gaps between elements", () => {
  const buffer = { bytes: 1e6 };
  const view = (offset: number, shape: number[], strides: number[]): View => ({
    buffer,
    dtype: "f32",
    offset,
    shape,
    strides,
  });
  assertEquals(canVec4(view(4, [3, 8], [8, 1])), true);
  assertEquals(canVec4(view(0, [3, 8], [0, 1])), true);
  assertEquals(canVec4(view(2, [3, 8], [8, 1])), false);
  assertEquals(canVec4(view(0, [3, 8], [9, 1])), false);
  assertEquals(canVec4(view(0, [1, 8], [9, 1])), true);
  assertEquals(canVec4(view(0, [8, 3], [1, 8])), false);
  assertEquals(canVec4(view(0, [], [])), true);
});
