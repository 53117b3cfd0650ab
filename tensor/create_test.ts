import { assertEquals, assertThrows } from "@std/assert";
import { arange, full, ones, tensor, zeros } from "./create.ts";
import { init } from "./device.ts";
import type { DType } from "./dtype.ts";
import { DTypeError, OutOfMemoryError, ShapeError } from "./errors.ts";
import { scope } from "./scope.ts";
import { eachDevice } from "../tests/devices.ts";

const DEVICES = ["reference", "wasm", "webgpu"] as const;

eachDevice("tensor() keeps the type of typed arrays, and takes the one that is given", async () => {
  using _ = scope();
  const given: [Parameters<typeof tensor>[0], DType][] = [
    [[1, 2], "f32"],
    [Float32Array.of(1, 2), "f32"],
    [Float64Array.of(1, 2), "f32"],
    [Float16Array.of(1, 2), "f16"],
    [Int32Array.of(1, 2), "i32"],
    [Uint32Array.of(1, 2), "u32"],
    [Uint8Array.of(1, 2), "u8"],
    [Uint8ClampedArray.of(1, 2), "u8"],
  ];
  for (const [data, dtype] of given) {
    const t = tensor(data);
    assertEquals([t.dtype, t.shape, Array.from(await t.data())], [dtype, [2], [1, 2]]);
    assertEquals(tensor(data, [2, 1], { dtype: "i32" }).dtype, "i32");
  }
}, DEVICES);

eachDevice("tensor() copies: later changes of the array do not reach it", async () => {
  using _ = scope();
  const data = Float32Array.of(1, 2);
  const shape = [2];
  const t = tensor(data, shape);
  data[0] = 9;
  shape[0] = 7;
  assertEquals([t.shape, Array.from(await t.data())], [[2], [1, 2]]);
  const read = await t.data();
  read[1] = 9;
  assertEquals(Array.from(await t.data()), [1, 2]);
}, DEVICES);

eachDevice("tensor() takes elements from the middle of a larger buffer", async () => {
  using _ = scope();
  const whole = Float32Array.of(0, 1, 2, 3, 4);
  assertEquals(Array.from(await tensor(whole.subarray(1, 4)).data()), [1, 2, 3]);
  const bytes = Uint8Array.of(9, 8, 7, 6, 5).subarray(1, 4);
  assertEquals(Array.from(await tensor(bytes).data()), [8, 7, 6]);
}, DEVICES);

eachDevice("tensor() reads nested arrays row by row and takes their shape", async () => {
  using _ = scope();
  const cases: [Parameters<typeof tensor>, number[], number[]][] = [
    [[[[1, 2], [3, 4]]], [2, 2], [1, 2, 3, 4]],
    [[[[1, 2], [3, 4]], [2, 2], { dtype: "i32" }], [2, 2], [1, 2, 3, 4]],
    [[[[[1, 2]], [[3, 4]], [[5, 6]]]], [3, 1, 2], [1, 2, 3, 4, 5, 6]],
    [[[Float32Array.of(1, 2), [3, 4]]], [2, 2], [1, 2, 3, 4]],
    [[[[], []]], [2, 0], []],
  ];
  for (const [args, shape, elements] of cases) {
    const t = tensor(...args);
    assertEquals([t.shape, Array.from(await t.data())], [shape, elements]);
  }
}, DEVICES);

Deno.test("tensor() refuses what is no list of numbers, and says what came", async () => {
  await init({ device: "wasm" });
  const faults: [unknown, new (m: string) => Error, string][] = [
    ["abc", TypeError, 'tensor: expected an array of numbers but got "abc"'],
    [null, TypeError, "expected an array of numbers but got null"],
    [5, TypeError, "expected an array of numbers but got the number 5"],
    [new Set([1]), TypeError, "but got an object of class Set"],
    [new BigInt64Array(2), TypeError, "but got an object of class BigInt64Array"],
    [new DataView(new ArrayBuffer(4)), TypeError, "but got an object of class DataView"],
    [[1, undefined], TypeError, "tensor: expected numbers but got undefined at 1"],
    [new Array(1), TypeError, "expected numbers but got undefined at 0"],
    [[1n], TypeError, "expected numbers but got the bigint 1 at 0"],
    [[true], TypeError, "expected numbers but got the boolean true at 0"],
    [[[1, "2"]], TypeError, 'expected numbers but got "2" at 1'],
    [[[1], 2], TypeError, "expected nested arrays but got the number 2"],
    [[1, [2]], TypeError, "expected numbers but got an object of class Array at 1"],
    [[[1, 2], [3]], ShapeError, "nested arrays of shape [2, 2] but got one of length 1 at depth 1"],
  ];
  for (const [data, kind, message] of faults) {
    assertThrows(() => tensor(data as number[]), kind, message);
  }
});

eachDevice("every type holds its extremes", async () => {
  using _ = scope();
  const extremes: Record<DType, number[]> = {
    f32: [3.4028234663852886e38, -1.401298464324817e-45, Infinity, -Infinity, NaN, -0],
    f16: [65504, 5.960464477539063e-8, Infinity, NaN, -0],
    i32: [2 ** 31 - 1, -(2 ** 31)],
    u32: [2 ** 32 - 1, 0],
    u8: [255, 0],
  };
  for (const [dtype, values] of Object.entries(extremes) as [DType, number[]][]) {
    assertEquals(Array.from(await tensor(values, undefined, { dtype }).data()), values);
  }
}, DEVICES);

eachDevice("zeros(), ones() and full() fill any shape and type", async () => {
  using _ = scope();
  assertEquals(Array.from(await zeros([2, 2]).data()), [0, 0, 0, 0]);
  assertEquals(Array.from(await ones([3], { dtype: "u8" }).data()), [1, 1, 1]);
  assertEquals(Array.from(await full([], -2.5, { dtype: "f16" }).data()), [-2.5]);
  assertEquals(Array.from(await full([2], NaN).data()), [NaN, NaN]);
  assertEquals(
    Array.from(await full([5], 2 ** 32 - 1, { dtype: "u32" }).data()).at(-1),
    2 ** 32 - 1,
  );
  assertEquals(Array.from(await full([2], -(2 ** 31), { dtype: "i32" }).data())[1], -(2 ** 31));
  assertEquals((await zeros([0, 3]).data()).length, 0);
}, DEVICES);

eachDevice("arange() counts up and down, in floats and integers", async () => {
  using _ = scope();
  const cases: [Parameters<typeof arange>, number[]][] = [
    [[4], [0, 1, 2, 3]],
    [[1, 4], [1, 2, 3]],
    [[0, 1, 0.25], [0, 0.25, 0.5, 0.75]],
    [[3, 0, -1], [3, 2, 1]],
    [[1, 2, 5], [1]],
    [[2, 2], []],
    [[3, 0], []],
    [[-3, 3, 2, { dtype: "i32" }], [-3, -1, 1]],
    [[5, 0, -2, { dtype: "u32" }], [5, 3, 1]],
    [[250, 256, 1, { dtype: "u8" }], [250, 251, 252, 253, 254, 255]],
    [[2 ** 32 - 3, 2 ** 32, 1, { dtype: "u32" }], [2 ** 32 - 3, 2 ** 32 - 2, 2 ** 32 - 1]],
    [[2 ** 31 - 4, 2 ** 31, 3, { dtype: "i32" }], [2 ** 31 - 4, 2 ** 31 - 1]],
    [[0, 1, 5, { dtype: "u8" }], [0]],
  ];
  for (const [args, want] of cases) {
    assertEquals(Array.from(await arange(...args).data()), want, `arange(${args})`);
  }
}, DEVICES);

Deno.test("creators refuse numbers that an integer type cannot hold", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  const i32 = { dtype: "i32" } as const;
  const faults: [() => unknown, string][] = [
    [
      () => tensor([1, 0.5], [2], i32),
      "tensor: expected whole numbers that fit i32 but got 0.5 at 1",
    ],
    [() => tensor([NaN], [1], i32), "fit i32 but got NaN at 0"],
    [() => tensor([2 ** 31], [1], i32), "fit i32 but got 2147483648 at 0"],
    [() => tensor([-1], [1], { dtype: "u32" }), "fit u32 but got -1 at 0"],
    [() => tensor([256], [1], { dtype: "u8" }), "fit u8 but got 256 at 0"],
    [() => full([2], 1.5, i32), "full: expected a whole number that fits i32 but got 1.5"],
    [() => full([0], Infinity, i32), "fits i32 but got Infinity"],
    [() => arange(0, 300, 1, { dtype: "u8" }), "arange: expected a whole number that fits u8"],
    [() => arange(0, 3, 0.5, i32), "fits i32 but got 0.5"],
    [() => arange(-2, 2, 1, { dtype: "u32" }), "fits u32 but got -2"],
  ];
  for (const [run, message] of faults) assertThrows(run, DTypeError, message);
});

Deno.test("creators refuse shapes that are none, and arrays that do not fit them", async () => {
  await init({ device: "wasm" });
  const faults: [() => unknown, new (m: string) => Error, string][] = [
    [() => tensor([1, 2, 3], [2, 2]), ShapeError, "expected 4 elements for shape [2, 2] but got 3"],
    [() => tensor([[1, 2], [3, 4]], [4]), ShapeError, "nested arrays of shape [4] but got [2, 2]"],
    [() => tensor([1, 2], 2 as unknown as number[]), ShapeError, "0 or more, but got the number 2"],
    [() => tensor([1, 2, 3], [-3]), ShapeError, "tensor: expected a shape of whole numbers"],
    [() => tensor([1, 2, 3], [1.5, 2]), ShapeError, "tensor: expected a shape of whole numbers"],
    [() => zeros([NaN]), ShapeError, "zeros: expected a shape of whole numbers"],
    [() => arange(NaN), RangeError, "arange: expected finite bounds and a step but got 0, NaN, 1"],
    [() => arange(0, Infinity), RangeError, "arange: expected finite bounds"],
    [() => arange(0, 3, 0), RangeError, "arange: expected finite bounds"],
  ];
  for (const [run, kind, message] of faults) assertThrows(run, kind, message);
});

eachDevice("an allocation beyond any memory names the op and the bytes", () => {
  assertThrows(() => zeros([2 ** 40]), OutOfMemoryError, "zeros: expected");
  assertThrows(() => zeros([2 ** 40]), OutOfMemoryError, `${2 ** 42}`);
  assertThrows(() => zeros([2 ** 50, 2 ** 50]), OutOfMemoryError, "zeros: expected");
});
