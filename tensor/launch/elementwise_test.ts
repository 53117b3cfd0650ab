import { assert, assertEquals, assertThrows } from "@std/assert";
import { full, tensor, zeros } from "../create.ts";
import { DeviceError, DTypeError, ShapeError, UseAfterFreeError } from "../errors.ts";
import { init, memory, setDevice } from "../device.ts";
import { scope } from "../scope.ts";
import { eachDevice } from "../../tests/devices.ts";
import {
  commonDevice,
  commonFloat,
  contiguous,
  copy,
  copyInto,
  evaluate,
  evaluateInto,
  evaluateOne,
  fillInto,
} from "./elementwise.ts";
import { ADD, type Formula, SCALE } from "./formulas.ts";
import { reduceKeep } from "./reduce.ts";

const DEVICES = ["reference", "wasm", "webgpu"] as const;
const SWAP: Formula = { name: "swap", build: (a, b) => [b!, a!] };
const SIGN: Formula = {
  name: "sign",
  build: (x) => [x!.gt(0), x!.to("i32"), x!.neg()],
};

eachDevice("evaluate() broadcasts operands and gives a result for each output", async () => {
  using _ = scope();
  const [a, b] = [tensor([1, 2], [2, 1]), tensor([10, 20, 30])];
  const sum = evaluateOne("test", ADD, [a, b]);
  assertEquals([sum.shape, Array.from(await sum.data())], [[2, 3], [11, 21, 31, 12, 22, 32]]);
  const results = evaluate("test", SIGN, [tensor([1.5, -2])]);
  assertEquals(results.map((t) => t.dtype), ["u32", "i32", "f32"]);
  const data = await Promise.all(results.map((t) => t.data()));
  assertEquals(data.map((d) => Array.from(d)), [[1, 0], [1, -2], [-1.5, 2]]);
}, DEVICES);

eachDevice("evaluate() distinguishes formulas of one name", async () => {
  using _ = scope();
  const x = tensor([3, 4]);
  const run = async (build: Formula["build"]) =>
    Array.from(await evaluateOne("test", { name: "square", build }, [x]).data());
  assertEquals(await run((x) => x!.add(100)), [103, 104]);
  assertEquals(await run((x) => x!.mul(x!)), [9, 16]);
  for (const plus of [1, 2]) assertEquals(await run((x) => x!.add(plus)), [3 + plus, 4 + plus]);
  for (const value of [0, -0, NaN, Infinity, -Infinity, 0]) {
    assertEquals(await run((x) => x!.lt(9).select(value, x!)), [value, value]);
  }
}, DEVICES);

eachDevice("reduceKeep() distinguishes formulas of one name", async () => {
  using _ = scope();
  const x = tensor([3, 4]);
  const run = async (build: Formula["build"]) =>
    Array.from(await reduceKeep("test", "sum", { name: "square", build }, [x], [0]).data());
  assertEquals(await run((x) => x!.add(100)), [207]);
  assertEquals(await run((x) => x!.mul(x!)), [25]);
}, DEVICES);

eachDevice("evaluate() gives the float type of its operands, or the one asked for", async () => {
  using _ = scope();
  const half = tensor([1, 2], [2], { dtype: "f16" });
  assertEquals(evaluateOne("test", SCALE, [half, 0.5]).dtype, "f16");
  const wide = evaluateOne("test", SCALE, [half, 0.1], { dtype: "f32" });
  assertEquals([wide.dtype, Array.from(await wide.data(), Math.fround)], [
    "f32",
    [Math.fround(0.1), Math.fround(0.2)],
  ]);
  assertEquals(evaluateOne("test", ADD, [tensor([], [0, 3]), tensor([], [0, 1])]).shape, [0, 3]);
}, DEVICES);

eachDevice("evaluateInto() updates in place, two tensors at once as well", async () => {
  using _ = scope();
  const x = tensor([1, 2, 3]);
  evaluateInto("test", ADD, [x, x], [x]);
  assertEquals(Array.from(await x.data()), [2, 4, 6]);
  const y = tensor([7, 8, 9]);
  evaluateInto("test", SWAP, [x, y], [x, y]);
  assertEquals([Array.from(await x.data()), Array.from(await y.data())], [[7, 8, 9], [2, 4, 6]]);
}, DEVICES);

eachDevice("copyInto() and fillInto() write windows and convert", async () => {
  using _ = scope();
  const whole = zeros([2, 4], { dtype: "i32" });
  copyInto(tensor([1.9, -1.9]), whole.as([2], [1], 1));
  fillInto(whole.as([2], [4], 3), 7);
  assertEquals(Array.from(await whole.data()), [0, 1, -1, 7, 0, 0, 0, 7]);
  copyInto(tensor([5]), whole.as([2, 2], [4, 1], 1)); // broadcast
  assertEquals(Array.from(await whole.data()), [0, 5, 5, 7, 0, 5, 5, 7]);
}, DEVICES);

eachDevice("copy() and contiguous() lay elements out anew", async (device) => {
  using _ = scope();
  const x = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
  const transposed = x.as([3, 2], [1, 3]);
  const packed = contiguous(transposed);
  assertEquals([packed.contiguous, Array.from(await packed.data())], [true, [1, 4, 2, 5, 3, 6]]);
  const { storages } = memory(device);
  assertEquals(contiguous(x).storage, x.storage);
  assertEquals(memory(device).storages, storages);
  const cut = copy(tensor([1.9, -1.9, 250]), "i32");
  assertEquals([cut.dtype, Array.from(await cut.data())], ["i32", [1, -1, 250]]);
}, DEVICES);

Deno.test("what is known of integers ends where they are written to", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  const index = tensor([1, 2], [2], { dtype: "i32" });
  assertEquals(index.storage.range, { min: 1, max: 2 });
  copyInto(tensor([100, 200], [2], { dtype: "i32" }), index);
  assertEquals(index.storage.range, null);
  const filled = full([2], 3, { dtype: "i32" });
  assertEquals(filled.storage.range, { min: 3, max: 3 });
  fillInto(filled, 9);
  assertEquals(filled.storage.range, null);
  assertEquals(copy(full([2], 3, { dtype: "i32" })).storage.range, { min: 3, max: 3 });
  const pairs = tensor([1, 200, 2, 300], [2, 2], { dtype: "i32" });
  assertEquals(copy(pairs.as([2, 2], [1, 2])).storage.range, { min: 1, max: 300 });
  assertEquals(copy(pairs.as([2], [2])).storage.range, null, "of a part");
});

Deno.test("launchers refuse two devices, two types, and shapes that do not fit", async () => {
  const wasm = await init({ device: "wasm" });
  await init({ device: "reference" });
  using _ = scope();
  const far = tensor([1]);
  setDevice(wasm);
  const [near, half] = [tensor([1]), tensor([1], [1], { dtype: "f16" })];
  const whole = tensor([1], [1], { dtype: "i32" });
  const faults: [() => unknown, new (m: string) => Error, string][] = [
    [
      () => commonDevice("op", [near, far]),
      DeviceError,
      "op: expected tensors on one device but got wasm and reference",
    ],
    [() => evaluateOne("op", ADD, [near, far]), DeviceError, "op: expected tensors on one device"],
    [() => commonFloat("op", [near, half]), DTypeError, "(f32 or f16) but got f32 and f16; cast"],
    [() => commonFloat("op", [whole]), DTypeError, "but got i32"],
    [() => evaluateOne("op", ADD, [near, half]), DTypeError, "op: expected one floating-point"],
    [
      () => evaluateOne("op", ADD, [whole, 0.5]),
      DTypeError,
      "op: expected a whole number that fits",
    ],
    [() => evaluateOne("op", ADD, [tensor([1, 2]), tensor([1, 2, 3])]), ShapeError, "[2] and [3]"],
    [() => copyInto(tensor([1, 2]), near), ShapeError, "copy: expected operands that broadcast"],
    [
      () => evaluateInto("op", SWAP, [near, near], [near, tensor([1, 2])]),
      ShapeError,
      "op: expected outputs of one shape but got [1] and [2]",
    ],
  ];
  for (const [run, kind, message] of faults) assertThrows(run, kind, message);
  near.dispose();
  assertThrows(() => commonDevice("op", [near]), UseAfterFreeError, "op: a tensor of shape [1]");
  assert(memory(wasm).tensors > 0);
});
