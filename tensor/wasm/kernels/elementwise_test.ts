import { assert, assertEquals } from "@std/assert";
import type { View } from "../../view.ts";
import { type DType, DTYPE_BYTES, type HostArray } from "../../dtype.ts";
import { computeType, type Expr, program } from "../../expr.ts";
import { createWasmBackend, type WasmBackend } from "../backend.ts";

const backend: WasmBackend = await createWasmBackend({ threads: 1 });

/** `f` of each element of `data`, computed on the device. */
async function map(
  name: string,
  f: (x: Expr) => Expr,
  from: DType,
  data: HostArray,
  to: DType,
): Promise<HostArray> {
  const n = data.length;
  const view = (dtype: DType): View => ({
    buffer: backend.alloc(n * DTYPE_BYTES[dtype], "test"),
    dtype,
    offset: 0,
    shape: [n],
    strides: [1],
  });
  const x = view(from), out = view(to);
  backend.write(x.buffer, 0, data);
  const made = program(`test.${name}`, [{ kind: "input", ty: computeType(from) }], f);
  backend.run("elementwise", { program: made, ins: [x], outs: [out], scalars: [] }, "test");
  const result = await backend.read(out.buffer, to, 0, n);
  backend.free(x.buffer);
  backend.free(out.buffer);
  return result;
}

/** `count` numbers from `low` to `high`, spread evenly. */
function range(low: number, high: number, count = 200_001): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, i) => low + (high - low) * i / (count - 1));
}

/** Largest error of `got` against float64, as a share of `scale` of the right value. */
function worst(
  x: Float32Array,
  got: HostArray,
  right: (x: number) => number,
  scale: (value: number) => number,
): number {
  let error = 0;
  for (let i = 0; i < x.length; i++) {
    const value = right(x[i]!);
    error = Math.max(error, Math.abs(got[i]! - value) / scale(value));
  }
  return error;
}

Deno.test("exp2 is within 2e-7 of its value over its whole range", async () => {
  for (const [low, high] of [[-126, 128 - 1e-5], [-1, 1], [127, 128 - 1e-5], [-126, -125]]) {
    const x = range(low!, high!);
    const y = await map("exp2", (v) => v.exp2(), "f32", x, "f32");
    assert(worst(x, y, (v) => 2 ** v, Math.abs) <= 2e-7);
  }
});

Deno.test("exp2 ends in infinity and in nothing, and keeps every NaN", async () => {
  const x = Float32Array.of(128, 129, 1e30, Infinity, -127, -150, -1e30, -Infinity);
  const y = await map("exp2", (v) => v.exp2(), "f32", x, "f32");
  assertEquals([...y], [Infinity, Infinity, Infinity, Infinity, 0, 0, 0, 0]);
  const nans = new Float32Array(
    Uint32Array.of(0x7fc00000, 0x7f800001, 0x7fffffff, 0xffffffff, 0xff800001).buffer,
  );
  const z = await map("exp2", (v) => v.exp2(), "f32", nans, "f32");
  assert(z.every(Number.isNaN));
});

Deno.test("log2 is within 3e-7 of its value, denormal arguments included", async () => {
  for (const [low, high] of [[1e-4, 100], [0.5, 2], [0.999, 1.001], [1e-44, 1e-37]]) {
    const x = range(low!, high!);
    const y = await map("log2", (v) => v.log2(), "f32", x, "f32");
    const scale = (v: number) => Math.max(Math.abs(v), 0.5);
    assert(worst(x, y, Math.log2, scale) <= 3e-7);
  }
  const x = Float32Array.of(0, -0, -1, -1e-40, Infinity, -Infinity, NaN, 1, 2, 0.25);
  const y = await map("log2", (v) => v.log2(), "f32", x, "f32");
  const right = [-Infinity, -Infinity, NaN, NaN, Infinity, NaN, NaN, 0, 1, -2];
  assertEquals([...y], right);
});

Deno.test("sin and cos are within 1e-6 up to 1e5", async () => {
  for (const limit of [1, 10, 1000, 1e5]) {
    const x = range(-limit, limit);
    const s = await map("sin", (v) => v.sin(), "f32", x, "f32");
    const c = await map("cos", (v) => v.cos(), "f32", x, "f32");
    assert(worst(x, s, Math.sin, () => 1) <= 1e-6);
    assert(worst(x, c, Math.cos, () => 1) <= 1e-6);
  }
  const x = Float32Array.of(NaN, Infinity, -Infinity, 0);
  assertEquals([...await map("sin", (v) => v.sin(), "f32", x, "f32")], [NaN, NaN, NaN, 0]);
});

/** erf by its Taylor series, or by the continued fraction of erfc where that is small. */
function erf(x: number): number {
  const t = Math.abs(x);
  if (t > 6) return Math.sign(x);
  let term = t, sum = t;
  for (let n = 1; n < 200; n++) {
    term *= -t * t / n;
    sum += term / (2 * n + 1);
  }
  if (t < 3) return Math.sign(x) * 2 / Math.sqrt(Math.PI) * sum;
  let fraction = t;
  for (let n = 60; n > 0; n--) fraction = t + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-t * t) / Math.sqrt(Math.PI) / fraction);
}

Deno.test("erf is within 2e-7 of its value", async () => {
  for (const limit of [0.5, 1, 6, 100]) {
    const x = range(-limit, limit, 20_001);
    const y = await map("erf", (v) => v.erf(), "f32", x, "f32");
    assert(worst(x, y, erf, () => 1) <= 2e-7);
  }
  const x = Float32Array.of(NaN, Infinity, -Infinity, 0);
  assertEquals([...await map("erf", (v) => v.erf(), "f32", x, "f32")], [NaN, 1, -1, 0]);
});

Deno.test("every f16 becomes the f32 it stands for, and back", async () => {
  const halves = new Float16Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
  const singles = await map("half", (x) => x, "f16", halves, "f32");
  assertEquals(singles, Float32Array.from(halves));
  const back = await map("half", (x) => x, "f32", singles, "f16");
  assertEquals(back, halves);
});

Deno.test("f32 rounds to f16 as Float16Array does, ties, denormals and overflow included", async () => {
  // Around every f16: itself, the ties on both sides, and their neighbours.
  const halves = new Float16Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
  const data = new Float32Array(65536 * 4);
  const bits = new Uint32Array(data.buffer);
  for (let i = 0; i < 65536; i++) {
    const next = halves[(i & 0x7fff) < 0x7bff ? i + 1 : i]!;
    const middle = 4 * i;
    data.fill((halves[i]! + next) / 2, middle, middle + 4);
    bits[middle + 1]!++;
    bits[middle + 2]!--;
  }
  const narrowed = await map("half", (x) => x, "f32", data, "f16");
  const right = Float16Array.from(data);
  for (let i = 0; i < data.length; i++) {
    assert(Object.is(narrowed[i], right[i]), `${data[i]}: ${narrowed[i]}, not ${right[i]}`);
  }
  const large = Float32Array.of(65519.99, 65520, 1e10, -65520, 2 ** -25, 2 ** -25 * 1.01, -1e-10);
  assertEquals(
    await map("half", (x) => x, "f32", large, "f16"),
    Float16Array.from(large),
  );
});

Deno.test("a transposed copy is right at every size near a tile's", async () => {
  const copy = program("test.copy2", [{ kind: "input", ty: "f32" }], (x) => x);
  for (const [M, N] of [[255, 15], [256, 16], [257, 17], [1, 40], [3, 300], [513, 5], [64, 64]]) {
    const rows = M!, columns = N!;
    const size = rows * columns;
    const data = Float32Array.from({ length: size }, (_, i) => i);
    const x = backend.alloc(size * 4, "test"), out = backend.alloc(size * 4, "test");
    backend.write(x, 0, data);
    const shape = [rows, columns], base = { dtype: "f32", offset: 0, shape } as const;
    const input: View = { ...base, buffer: x, strides: [1, rows] };
    const output: View = { ...base, buffer: out, strides: [columns, 1] };
    const args = { program: copy, ins: [input], outs: [output], scalars: [] };
    backend.run("elementwise", args, "test");
    const got = await backend.read(out, "f32", 0, size);
    const right = Float32Array.from(data, (_, i) => i % columns * rows + Math.floor(i / columns));
    assertEquals(got, right);
    backend.free(x);
    backend.free(out);
  }
});
