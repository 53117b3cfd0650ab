import { assertEquals } from "@std/assert";
import { computeType, type Expr, program } from "../expr.ts";
import type { DType } from "../dtype.ts";
import { createReferenceBackend } from "./backend.ts";
import { download, empty, upload } from "./testing_test_util.ts";

/** Values of a formula over arrays of `from`, as `to`. */
async function evaluate(
  name: string,
  inputs: readonly (readonly number[])[],
  from: DType,
  to: DType,
  build: (...args: Expr[]) => Expr | Expr[],
): Promise<number[]> {
  const backend = createReferenceBackend();
  const length = inputs[0]!.length;
  const slots = inputs.map(() => ({ kind: "input" as const, ty: computeType(from) }));
  const out = empty(backend, [length], to);
  backend.run("elementwise", {
    program: program(`elementwise_test.${name}`, slots, build),
    ins: inputs.map((values) => upload(backend, [length], values, from)),
    outs: [out],
    scalars: [],
  }, name);
  return await download(backend, out);
}

Deno.test("integers wrap at 32 bits", async () => {
  const most = 0x7fffffff;
  const one = [most, -1];
  const two = [2, 3];
  assertEquals(await evaluate("add", [one, two], "i32", "i32", (a, b) => a.add(b)), [
    -0x7fffffff,
    2,
  ]);
  assertEquals(await evaluate("mul", [one, two], "i32", "i32", (a, b) => a.mul(b)), [-2, -3]);
  const big = [0xffffffff, 0x9e3779b9];
  assertEquals(await evaluate("mulU", [big, big], "u32", "u32", (a, b) => a.mul(b)), [
    1,
    Number((0x9e3779b9n * 0x9e3779b9n) & 0xffffffffn),
  ]);
  assertEquals(await evaluate("mulhi", [big, big], "u32", "u32", (a, b) => a.mulhi(b)), [
    0xfffffffe,
    Number((0x9e3779b9n * 0x9e3779b9n) >> 32n),
  ]);
});

Deno.test("shifts to the right keep the sign of an i32 and not of a u32", async () => {
  assertEquals(await evaluate("shr", [[-8, 8]], "i32", "i32", (a) => a.shr(2)), [-2, 2]);
  assertEquals(await evaluate("shr", [[0xfffffff8, 8]], "u32", "u32", (a) => a.shr(2)), [
    0x3ffffffe,
    2,
  ]);
});

Deno.test("f32 turns into integers towards zero, and bits are those of float32", async () => {
  assertEquals(await evaluate("toI32", [[1.9, -1.9]], "f32", "i32", (a) => a.to("i32")), [1, -1]);
  assertEquals(await evaluate("bits", [[1, -2]], "f32", "u32", (a) => a.bits("u32")), [
    0x3f800000,
    0xc0000000,
  ]);
  assertEquals(await evaluate("float", [[0x40490fdb]], "u32", "f32", (a) => a.bits("f32")), [
    Math.fround(Math.PI),
  ]);
});

Deno.test("arithmetic of f32 arrays has float64 digits", async () => {
  assertEquals(await evaluate("third", [[1]], "f32", "f32", (a) => a.div(3)), [1 / 3]);
});

Deno.test("f16 results are rounded to f16, beyond its range to infinity", async () => {
  assertEquals(await evaluate("half", [[1 / 3, 1e6, 65504]], "f32", "f16", (a) => a), [
    Math.f16round(1 / 3),
    Infinity,
    65504,
  ]);
});

Deno.test("min and max pass on NaN from either side", async () => {
  const [a, b] = [[NaN, 1, 2], [1, NaN, 3]];
  assertEquals(await evaluate("min", [a, b], "f32", "f32", (x, y) => x.min(y)), [NaN, NaN, 2]);
  assertEquals(await evaluate("max", [a, b], "f32", "f32", (x, y) => x.max(y)), [NaN, NaN, 3]);
});

Deno.test("an expression computes Philox 4x32-10", async () => {
  // Known answers of Random123, kat_vectors.
  const counters = [[0, 0, 0, 0], [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [
    0x243f6a88,
    0x85a308d3,
    0x13198a2e,
    0x03707344,
  ]];
  const keys = [[0, 0], [0xffffffff, 0xffffffff], [0xa4093822, 0x299f31d0]];
  const want = [
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ];
  const columns = [0, 1, 2, 3].map((i) => counters.map((c) => c[i]!));
  const keyColumns = [0, 1].map((i) => keys.map((k) => k[i]!));
  for (let word = 0; word < 4; word++) {
    const got = await evaluate(
      `philox${word}`,
      [...columns, ...keyColumns],
      "u32",
      "u32",
      (...args) => {
        let [c0, c1, c2, c3, k0, k1] = args as [Expr, Expr, Expr, Expr, Expr, Expr];
        for (let round = 0; round < 10; round++) {
          [c0, c1, c2, c3] = [
            c2.mulhi(0xcd9e8d57).xor(c1).xor(k0),
            c2.mul(0xcd9e8d57),
            c0.mulhi(0xd2511f53).xor(c3).xor(k1),
            c0.mul(0xd2511f53),
          ];
          k0 = k0.add(0x9e3779b9);
          k1 = k1.add(0xbb67ae85);
        }
        return [c0, c1, c2, c3][word]!;
      },
    );
    assertEquals(got, want.map((words) => words[word]!));
  }
});

Deno.test("views are read by their strides and written to strided windows", async () => {
  const backend = createReferenceBackend();
  const x = upload(backend, [6], [1, 2, 3, 4, 5, 6]);
  const out = upload(backend, [8], new Array(8).fill(0));
  backend.run("elementwise", {
    program: program("elementwise_test.add", [
      { kind: "input", ty: "f32" },
      { kind: "input", ty: "f32" },
    ], (a, b) => a.add(b)),
    // [[1, 4], [2, 5], [3, 6]] plus 1 everywhere, into every other place from the second on.
    ins: [{ ...x, shape: [3, 2], strides: [1, 3] }, { ...x, shape: [3, 2], strides: [0, 0] }],
    outs: [{ ...out, offset: 1, shape: [3, 2], strides: [2, 1] }],
    scalars: [],
  }, "test");
  assertEquals(await download(backend, out), [0, 2, 5, 3, 6, 4, 7, 0]);
});
