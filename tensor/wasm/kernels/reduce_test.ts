import { assert, assertEquals } from "@std/assert";
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { type DType, DTYPE_BYTES, type HostArray } from "../../dtype.ts";
import { program } from "../../expr.ts";
import { contiguousStrides } from "../../shape.ts";
import { createWasmBackend } from "../backend.ts";

const backend = await createWasmBackend({ threads: 1 });
const itself = program("test.itself", [{ kind: "input", ty: "f32" }], (x) => x);
const product = program(
  "test.product",
  [{ kind: "input", ty: "f32" }, { kind: "input", ty: "f32" }],
  (x, y) => x.mul(y),
);

function view(shape: readonly number[], dtype: DType, data?: HostArray): View {
  const size = shape.reduce((a, b) => a * b, 1);
  const buffer = backend.alloc(size * DTYPE_BYTES[dtype], "test");
  if (data) backend.write(buffer, 0, data);
  return { buffer, dtype, offset: 0, shape, strides: contiguousStrides(shape) };
}

async function reduce(
  op: "sum" | "max" | "min",
  ins: View[],
  map: KernelArgs["reduce"]["program"] = itself,
): Promise<HostArray> {
  const [O, , I] = ins[0]!.shape;
  const out = view([O!, I!], "f32");
  backend.run("reduce", { op, program: map, ins, scalars: [], out }, "test");
  return await backend.read(out.buffer, "f32", 0, O! * I!);
}

Deno.test("reduce() reads f16 and sums in f32", async () => {
  // 4096 + 1 is not an f16: an f16 sum would stop growing.
  const data = new Float16Array(3 * 5000).fill(1);
  const along = view([3, 5000, 1], "f16", data), across = view([1, 5000, 3], "f16", data);
  assertEquals(await reduce("sum", [along]), new Float32Array([5000, 5000, 5000]));
  assertEquals(await reduce("sum", [across]), new Float32Array([5000, 5000, 5000]));
});

Deno.test("reduce() of u8 through a program counts", async () => {
  const data = Uint8Array.from({ length: 999 }, (_, i) => i % 3);
  const toFloat = program("test.toFloat", [{ kind: "input", ty: "u32" }], (x) => x.to("f32"));
  assertEquals([...await reduce("sum", [view([1, 999, 1], "u8", data)], toFloat)], [999]);
});

Deno.test("a block of any length is whole: lengths around every boundary", async () => {
  const lengths = [1, 3, 4, 5, 15, 16, 17, 1023, 1024, 1025, 1039, 1040, 4095, 4096, 4097, 8193];
  for (const R of lengths) {
    const data = Float32Array.from({ length: R }, (_, i) => i % 7 - 3);
    const right = data.reduce((a, b) => a + b, 0);
    assertEquals([...await reduce("sum", [view([1, R, 1], "f32", data)])], [right]);
  }
  for (const R of [1, 2, 3, 4, 5, 127, 128, 129, 130, 131, 256, 257]) {
    for (const I of [1, 2, 5, 16, 17, 2048, 2049]) {
      const data = Float32Array.from({ length: R * I }, (_, i) => i % 5 - 2);
      const right = new Float32Array(I);
      data.forEach((value, i) => right[i % I]! += value);
      const x = view([1, R, I], "f32", data);
      assertEquals(await reduce("sum", [x]), right);
      backend.free(x.buffer);
    }
  }
});

Deno.test("the error of a long sum stays near one rounding", async () => {
  const n = 1 << 22;
  const data = new Float32Array(n).fill(0.1);
  const right = n * Math.fround(0.1);
  for (const shape of [[1, n, 1], [1, n / 4, 4], [4, n / 4, 1]]) {
    const x = view(shape, "f32", data);
    const sums = await reduce("sum", [x]);
    const each = right / sums.length;
    assert(sums.every((sum) => Math.abs(sum / each - 1) < 1e-6));
    backend.free(x.buffer);
  }
});

Deno.test("a product with a repeated and a transposed input reduces along either", async () => {
  const [R, I] = [50, 37];
  const a = view([1, R, I], "f32", Float32Array.from({ length: R * I }, (_, i) => i % 11));
  const transposed: View = { ...a, strides: [0, 1, R] };
  const row: View = { ...a, strides: [0, 0, 1] };
  const at = (i: number) => i % 11;
  for (
    const [x, index] of [
      [transposed, (r: number, i: number) => r + i * R],
      [row, (_: number, i: number) => i],
    ] as const
  ) {
    const right = Float32Array.from({ length: I }, (_, i) => {
      let sum = 0;
      for (let r = 0; r < R; r++) sum += at(r * I + i) * at(index(r, i));
      return sum;
    });
    assertEquals(await reduce("sum", [a, x], product), right);
    assertEquals(await reduce("sum", [x, a], product), right);
  }
});
