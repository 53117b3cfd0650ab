import { assert, assertEquals, assertThrows } from "@std/assert";
import { fromFloat32, toFloat16, toFloat32, toFloat64, toInt32, typedArray } from "./convert.ts";
import { f16ToF32, f32ToBf16, f32ToF16 } from "./half.ts";
import { hostTensor } from "./host_tensor.ts";

const ALL_HALVES = Uint16Array.from({ length: 65536 }, (_, h) => h);

/** Deterministic 32-bit patterns (Weyl sequence), which cover every exponent. */
function bitPatterns(count: number): Float32Array<ArrayBuffer> {
  return new Float32Array(
    Uint32Array.from({ length: count }, (_, i) => Math.imul(i, 0x9e3779b1)).buffer,
  );
}

/** Every float32 half-way between two float16 neighbours, and its own neighbours. */
function halfwayPoints(): Float32Array<ArrayBuffer> {
  const points: number[] = [];
  for (let h = 0; h < 0x7c00; h++) {
    const [a, b] = new Float16Array(Uint16Array.of(h, h + 1).buffer) as unknown as [number, number];
    const middle = Number.isFinite(b) ? (a + b) / 2 : 65520;
    const bits = new Uint32Array(Float32Array.of(middle).buffer)[0]!;
    for (const near of [bits - 1, bits, bits + 1]) {
      if (near >= 0) points.push(new Float32Array(Uint32Array.of(near).buffer)[0]!);
    }
  }
  return new Float32Array(points.concat(points.map((x) => -x)));
}

Deno.test("f16ToF32() is exact for every bit pattern", () => {
  const out = new Float32Array(65536);
  f16ToF32(ALL_HALVES, out);
  assertEquals(out, new Float32Array(new Float16Array(ALL_HALVES.buffer)));
});

Deno.test("f32ToF16() gives every float16 back and agrees with Float16Array in between", () => {
  for (const values of [halfwayPoints(), bitPatterns(1 << 18)]) {
    const out = new Uint16Array(values.length);
    f32ToF16(values, out);
    const want = new Uint16Array(new Float16Array(values).buffer);
    for (let i = 0; i < out.length; i++) {
      const same = Number.isNaN(values[i]) ? (out[i]! & 0x7fff) > 0x7c00 : out[i] === want[i];
      assert(same, `${values[i]} gave ${out[i]}, not ${want[i]}`);
    }
  }
});

Deno.test("f32ToBf16() rounds to nearest, ties to even, and keeps NaN and infinity", () => {
  const values = new Float32Array(
    Uint32Array.of(0x3f808000, 0x3f818000, 0x3f808001, 0x7f7fffff, 0x7fffffff, 0xff800000).buffer,
  );
  const out = new Uint16Array(values.length);
  f32ToBf16(values, out);
  assertEquals([...out], [0x3f80, 0x3f82, 0x3f81, 0x7f80, 0x7fff, 0xff80]);
});

Deno.test("toFloat32() and toFloat64() read every element type", () => {
  const cases = [
    [hostTensor(Float64Array.of(1.5, -2)), [1.5, -2]],
    [hostTensor(Float32Array.of(1.5, -2)), [1.5, -2]],
    [hostTensor(Float16Array.of(1.5, -2)), [1.5, -2]],
    [hostTensor(Uint16Array.of(0x3fc0, 0xc000), [2], "bf16"), [1.5, -2]],
    [hostTensor(BigInt64Array.of(-(2n ** 40n), 7n)), [-(2 ** 40), 7]],
    [hostTensor(BigUint64Array.of(2n ** 63n, 7n)), [2 ** 63, 7]],
    [hostTensor(Int32Array.of(-5, 6)), [-5, 6]],
    [hostTensor(Uint32Array.of(2 ** 31, 6)), [2 ** 31, 6]],
    [hostTensor(Int16Array.of(-5, 6)), [-5, 6]],
    [hostTensor(Uint16Array.of(65535, 6)), [65535, 6]],
    [hostTensor(Int8Array.of(-5, 6)), [-5, 6]],
    [hostTensor(Uint8Array.of(255, 6)), [255, 6]],
    [hostTensor(Uint8Array.of(1, 0), [2], "bool"), [1, 0]],
  ] as const;
  for (const [tensor, want] of cases) {
    assertEquals([...toFloat32(tensor)], want as unknown as number[]);
    assertEquals([...toFloat64(tensor)], want as unknown as number[]);
  }
});

Deno.test("toFloat16() rounds once from float64 and saturates to infinity", () => {
  // Just above a tie of float16; float32 would round it onto the tie and from there down.
  const above = 1 + 2 ** -11 + 2 ** -40;
  assertEquals([...toFloat16(hostTensor(Float64Array.of(above, 1e9)))], [1 + 2 ** -10, Infinity]);
  assertEquals([...toFloat16(hostTensor(BigInt64Array.of(-3n, 1n << 40n)))], [-3, Infinity]);
});

Deno.test("typedArray() shares memory when it can and copies unaligned bytes", () => {
  const data = new Uint8Array(12);
  data[5] = 0x80;
  data[6] = 0x3f;
  const aligned = { dtype: "f32", shape: [2], data: data.subarray(4, 12) } as const;
  assert(typedArray(aligned).buffer === data.buffer);
  assertEquals([...typedArray({ dtype: "f32", shape: [2], data: data.subarray(3, 11) })], [1, 0]);
  assertThrows(() => typedArray({ dtype: "f32", shape: [4], data }), RangeError, "16 bytes");
});

Deno.test("toInt32() takes integers that fit and refuses the rest", () => {
  assertEquals([...toInt32(hostTensor(BigInt64Array.of(-5n, 999n)))], [-5, 999]);
  assertThrows(() => toInt32(hostTensor(BigInt64Array.of(1n << 32n))), RangeError, "32 bits");
  assertThrows(() => toInt32(hostTensor(Float32Array.of(1))), RangeError, "integers");
});

Deno.test("fromFloat32() and toFloat32() round-trip through every 16-bit value", () => {
  for (const dtype of ["f16", "bf16"] as const) {
    const tensor = { dtype, shape: [65536], data: new Uint8Array(ALL_HALVES.buffer) };
    const back = fromFloat32(toFloat32(tensor), [65536], dtype);
    const got = new Uint16Array(back.data.buffer);
    const values = toFloat32(tensor);
    for (let i = 0; i < got.length; i++) assert(got[i] === i || Number.isNaN(values[i]));
  }
});

Deno.test("8-bit floats have the values of their formats, and are weights as others are", () => {
  const values = (dtype: "f8e4m3" | "f8e5m2", ...bits: number[]) =>
    Array.from(toFloat32({ dtype, shape: [bits.length], data: Uint8Array.from(bits) }));
  // 1, -1.5, the largest, the smallest, zeros, NaN: as torch.float8_e4m3fn and float8_e5m2 have them
  assertEquals(
    values("f8e4m3", 0x38, 0xbc, 0x7e, 0x01, 0x00, 0x80, 0x7f, 0xff),
    [1, -1.5, 448, 2 ** -9, 0, -0, NaN, NaN],
  );
  assertEquals(
    values("f8e5m2", 0x3c, 0xbe, 0x7b, 0x01, 0x00, 0x80, 0x7c, 0xfc, 0x7f),
    [1, -1.5, 57344, 2 ** -16, 0, -0, Infinity, -Infinity, NaN],
  );
  const eight = { dtype: "f8e4m3", shape: [1], data: Uint8Array.of(0x39) } as const;
  assertEquals([toFloat16(eight)[0], toFloat64(eight)[0]], [1.125, 1.125]);
  assertThrows(() => toInt32(eight), RangeError, "a tensor of integers");
});
