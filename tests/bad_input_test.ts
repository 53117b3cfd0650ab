/**
 * What ops do with what they should not be given: a named error that says the op, what came and
 * what is needed, or what PyTorch 1.13 gives. Nothing is cut, wrapped or limited on the quiet.
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as d from "../mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { eachDevice, scaledError } from "./devices.ts";

const z = (...shape: number[]): Tensor => d.zeros(shape);
const f = (...values: number[]): Tensor => d.tensor(values);
const i32 = (...values: number[]): Tensor => d.tensor(values, undefined, { dtype: "i32" });
const u32 = (...values: number[]): Tensor => d.tensor(values, undefined, { dtype: "u32" });
const u8 = (...values: number[]): Tensor => d.tensor(values, undefined, { dtype: "u8" });
const half = (...shape: number[]): Tensor => d.zeros(shape, { dtype: "f16" });
const generator = (): d.Generator => new d.Generator(1);

type ErrorClass = new (message: string) => Error;
/** The error an expression must end in, and part of its message. */
type Fault = readonly [run: () => unknown, kind: ErrorClass, message: string];

const { ShapeError, DTypeError, IndexError } = d;

const FAULTS: Record<string, readonly Fault[]> = {
  "shapes that do not match": [
    [
      () => d.add(z(2, 3), z(2)),
      ShapeError,
      "add: expected shapes that broadcast together but got [2, 3] and [2]",
    ],
    [() => d.add(z(0), z(2)), ShapeError, "add: expected shapes that broadcast together"],
    [() => d.where(u8(0, 1), z(3), 1), ShapeError, "where: expected shapes that broadcast"],
    [() => d.lt(z(2), z(3)), ShapeError, "lt: expected shapes that broadcast together"],
    [
      () => d.matmul(z(2, 3), z(2, 3)),
      ShapeError,
      "matmul: expected [..., M, K] and [..., K, N] but got [2, 3] and [2, 3]",
    ],
    [() => d.matmul(z(3), z(3, 2)), ShapeError, "matmul: expected [..., M, K]"],
    [() => d.matmul(z(2, 3, 4), z(3, 4, 5)), ShapeError, "matmul: expected shapes that broadcast"],
    [
      () => d.linear(z(2, 3), z(4, 5)),
      ShapeError,
      "linear: expected x [..., I], w [O, I] and bias [O] but got [2, 3], [4, 5]",
    ],
    [() => d.linear(z(2, 3), z(4, 3), z(3)), ShapeError, "[2, 3], [4, 3] and [3]"],
    [() => d.linear(z(), z(4, 1)), ShapeError, "linear: expected x [..., I]"],
    [
      () => d.conv2d(z(1, 2, 4, 4), z(3, 1, 2, 2)),
      ShapeError,
      "conv2d: expected x [N, Ci, H, W], w [Co, Ci, KH, KW]",
    ],
    [() => d.conv2d(z(2, 4, 4), z(3, 2, 2, 2)), ShapeError, "conv2d: expected x [N, Ci, H, W]"],
    [() => d.conv2d(z(1, 2, 4, 4), z(3, 2, 2, 2), z(2)), ShapeError, "conv2d: expected x"],
    [
      () => d.conv2d(z(1, 2, 2, 4), z(3, 2, 3, 3)),
      ShapeError,
      "conv2d: expected an image, with padding, as large as the kernel",
    ],
    [
      () => d.attention(z(1, 2, 3, 4), z(1, 2, 3, 5), z(1, 2, 3, 5)),
      ShapeError,
      "attention: expected q [B, H, Tq, D], k and v [B, H, Tk, D] but got [1, 2, 3, 4]",
    ],
    [
      () => d.attention(z(1, 2, 3, 4), z(1, 2, 3, 4), z(1, 2, 5, 4)),
      ShapeError,
      "attention: expected q",
    ],
    [() => d.attention(z(2, 3, 4), z(2, 3, 4), z(2, 3, 4)), ShapeError, "attention: expected q"],
    [
      () => d.selfAttention(z(1, 2, 10), 2),
      ShapeError,
      "selfAttention: expected qkv [B, T, 3 * heads * D] for 2 heads but got [1, 2, 10]",
    ],
    [
      () => d.layerNorm(z(2, 3), { weight: z(2), bias: z(3) }),
      ShapeError,
      "layerNorm: expected x [..., N] and weight and bias [N]",
    ],
    [
      () => d.layerNorm(z(2, 3), { weight: z(3) }),
      ShapeError,
      "both or neither, but got [2, 3], [3], none",
    ],
    [() => d.layerNorm(z()), ShapeError, "layerNorm: expected x [..., N]"],
    [
      () => d.layerNormModulate(z(2, 3, 4), z(2, 4), z(3, 4)),
      ShapeError,
      "layerNormModulate: expected x [B, T, N], shift and scale [B, N]",
    ],
    [
      () => d.groupNorm(z(2, 6, 3), 4, { weight: z(6), bias: z(6) }),
      ShapeError,
      "groupNorm: expected x [N, C, ...] with C a multiple of 4 groups",
    ],
    [
      () => d.groupNorm(z(2, 6, 3), 3, { weight: z(3), bias: z(6) }),
      ShapeError,
      "groupNorm: expected x",
    ],
    [
      () => d.mse(z(2, 3), z(3, 2)),
      ShapeError,
      "mse: expected two tensors of one shape but got [2, 3] and [3, 2]",
    ],
    [() => d.embedding(z(3), i32(0)), ShapeError, "embedding: expected a table [V, D]"],
    [
      () => d.concat([z(2, 3), z(3, 2)], 0),
      ShapeError,
      "concat: expected shapes that differ along axis 0 only but got [2, 3] and [3, 2]",
    ],
    [() => d.concat([z(2, 3), z(2)], 0), ShapeError, "concat: expected shapes that differ"],
    [() => d.concat([]), ShapeError, "concat: expected at least one tensor but got none"],
    [() => d.stack([z(2), z(3)]), ShapeError, "[1, 2] and [1, 3]"],
    [
      () => d.upsampleNearest(z(2, 3, 4)),
      ShapeError,
      "upsampleNearest: expected [N, C, H, W] but got [2, 3, 4]",
    ],
  ],
  "arguments that are none": [
    [
      () => d.reshape(z(2, 3), [4, 2]),
      ShapeError,
      "reshape: expected a shape with 6 elements but got [4, 2]",
    ],
    [() => d.reshape(z(2, 3), [-1, 4]), ShapeError, "reshape: expected a shape with 6 elements"],
    [() => d.reshape(z(2, 3), [-1, -1]), ShapeError, "reshape: expected a shape of whole numbers"],
    [() => d.reshape(z(2, 3), [1.5, 4]), ShapeError, "reshape: expected a shape of whole numbers"],
    [
      () => d.reshape(z(3, 0), [-1, 0]),
      ShapeError,
      "reshape: expected -1 beside sizes other than 0",
    ],
    [() => d.expand(z(3, 1), [3, -5]), ShapeError, "expand: expected a shape of whole numbers"],
    [() => d.expand(z(3, 1), [-1, 3, 2]), ShapeError, "expand: expected a shape of whole numbers"],
    [() => d.expand(z(3, 1), [2, 2]), ShapeError, "expand: expected"],
    [
      () => d.expand(z(3, 2), [3]),
      ShapeError,
      "expand: expected shapes that broadcast together but got [3, 2] and [3]",
    ],
    [() => d.repeat(z(2), [-1]), ShapeError, "repeat: expected 1 counts, 0 or more, but got [-1]"],
    [() => d.repeat(z(2), [0.5]), ShapeError, "repeat: expected 1 counts"],
    [() => d.repeat(z(2), [1, 2]), ShapeError, "repeat: expected 1 counts"],
    [
      () => d.upsampleNearest(z(1, 1, 2, 2), 0),
      ShapeError,
      "upsampleNearest: expected a factor of 1 or more but got 0",
    ],
    [() => d.upsampleNearest(z(1, 1, 2, 2), 1.5), ShapeError, "but got 1.5"],
    [
      () => d.permute(z(2, 3), [0, 0]),
      ShapeError,
      "permute: expected each of 2 axes once but got [0, 0]",
    ],
    [() => d.permute(z(2, 3), [0]), ShapeError, "permute: expected each of 2 axes once"],
    [() => d.transpose(z(2)), ShapeError, "transpose: expected an axis in [-1, 1) but got -2"],
    [
      () => d.flatten(z(2, 3, 4), 2, 1),
      ShapeError,
      "flatten: expected start <= end but got 2 and 1",
    ],
    [() => d.squeeze(z(2, 1), 0), ShapeError, "squeeze: expected"],
    [() => d.unsqueeze(z(2), 3), ShapeError, "unsqueeze: expected an axis in [-2, 2) but got 3"],
    [() => d.sum(z(2, 3), 2), ShapeError, "sum: expected an axis in [-2, 2) but got 2"],
    [() => d.sum(z(2, 3), NaN), ShapeError, "sum: expected an axis in [-2, 2) but got NaN"],
    [() => d.mean(z(2, 3), 0.5), ShapeError, "mean: expected an axis in [-2, 2) but got 0.5"],
    [() => d.max(z(2, 3), [0, -2]), ShapeError, "max: expected axes named once each"],
    [() => d.variance(z(2, 3), -3), ShapeError, "variance: expected an axis"],
    [() => d.argmax(z(2, 3), 2), ShapeError, "argmax: expected an axis"],
    [() => d.softmax(z(2, 3), 2), ShapeError, "softmax: expected an axis"],
    [
      () => d.cumsum(z(), 0),
      ShapeError,
      "cumsum: expected a tensor with at least one axis but got shape []",
    ],
    [
      () => d.logSoftmax(z(), -1),
      ShapeError,
      "logSoftmax: expected a tensor with at least one axis",
    ],
    [() => d.split(z(3), 0), ShapeError, "split: expected a size of 1 or more but got 0"],
    [() => d.split(z(3), 1.5), ShapeError, "split: expected a size of 1 or more but got 1.5"],
    [() => d.split(z(3), [1.5, 1.5]), ShapeError, "split: expected whole sizes"],
    [() => d.split(z(3), [4, -1]), ShapeError, "split: expected whole sizes"],
    [() => d.split(z(3), [1, 1]), ShapeError, "that add up to 3 along axis 0 but got [1, 1]"],
    [() => d.chunk(z(3), 0), ShapeError, "chunk: expected a count of 1 or more but got 0"],
    [() => d.chunk(z(3), NaN), ShapeError, "chunk: expected a count of 1 or more but got NaN"],
    [() => d.pad(z(2), [[-1, 0]]), ShapeError, "pad: expected 1 pairs of widths, 0 or more"],
    [() => d.pad(z(2), []), ShapeError, "pad: expected 1 pairs of widths"],
    [
      () => d.conv2d(z(1, 1, 4, 4), z(1, 1, 2, 2), null, { stride: 0 }),
      ShapeError,
      "conv2d: expected whole numbers, stride 1 or more",
    ],
    [
      () => d.conv2d(z(1, 1, 4, 4), z(1, 1, 2, 2), null, { stride: NaN }),
      ShapeError,
      "got stride NaN",
    ],
    [
      () => d.conv2d(z(1, 1, 4, 4), z(1, 1, 2, 2), null, { padding: -1 }),
      ShapeError,
      "and padding -1",
    ],
    [
      () => d.conv2d(z(1, 0, 4, 4), z(3, 0, 2, 2)),
      ShapeError,
      "conv2d: expected an image and a kernel with sizes of 1 or more",
    ],
    [
      () => d.conv2d(z(1, 2, 0, 4), z(3, 2, 2, 2), null, { padding: 2 }),
      ShapeError,
      "sizes of 1 or more",
    ],
    [
      () => d.groupNorm(z(1, 3, 2), 1.5, { weight: z(3), bias: z(3) }),
      ShapeError,
      "groupNorm: expected",
    ],
    [() => d.selfAttention(z(1, 2, 9), 1.5), ShapeError, "selfAttention: expected"],
    [() => d.clamp(z(2), 1, 0), RangeError, "clamp: expected min <= max but got 1 and 0"],
    [() => d.clamp(z(2), NaN), RangeError, "clamp: expected min <= max but got NaN"],
    [
      () => d.dropout(z(2), NaN, { generator: generator() }),
      RangeError,
      "dropout: expected p in [0, 1) but got NaN",
    ],
    [
      () => d.dropout(z(2), 1, { generator: generator() }),
      RangeError,
      "dropout: expected p in [0, 1)",
    ],
    [
      () => d.dropout(z(2), -0.1, { generator: generator() }),
      RangeError,
      "dropout: expected p in [0, 1)",
    ],
    [() => d.add(1, 2), TypeError, "add: expected at least one tensor but got numbers only"],
    [() => d.lt(1, 2), TypeError, "lt: expected at least one tensor but got numbers only"],
  ],
  "extremes and places of nothing": [
    [() => d.max(z(0)), ShapeError, "max: expected at least one element to reduce but got none"],
    [() => d.min(z(0, 3), 0), ShapeError, "min: expected at least one element to reduce"],
    [
      () => d.argmax(z(2, 0), 1),
      ShapeError,
      "argmax: expected at least one element along axis 1 but got none",
    ],
    [
      () => d.attention(z(1, 1, 2, 4), z(1, 1, 0, 4), z(1, 1, 0, 4)),
      ShapeError,
      "attention: expected at least one key but got none",
    ],
  ],
  "types that do not mix": [
    [
      () => d.add(z(2), half(2)),
      DTypeError,
      "add: expected one dtype, f32, f16, i32 or u32, but got f32 and f16; cast first",
    ],
    [() => d.mul(i32(1), f(1)), DTypeError, "mul: expected one dtype"],
    [() => d.div(i32(1), i32(1)), DTypeError, "div: expected one dtype, f32 or f16, but got i32"],
    [() => d.exp(i32(1)), DTypeError, "exp: expected one dtype, f32 or f16, but got i32"],
    [() => d.pow(i32(3), 3), DTypeError, "pow: expected one floating-point dtype"],
    [() => d.add(u8(1), u8(1)), DTypeError, "add: expected one dtype"],
    [() => d.neg(u8(1)), DTypeError, "neg: expected one dtype"],
    [() => d.lt(i32(1), f(1)), DTypeError, "lt: expected one dtype but got i32 and f32"],
    [
      () => d.where(f(1), f(1), f(2)),
      DTypeError,
      "where: expected a condition of u8 or integers but got f32",
    ],
    [() => d.where(u8(1), f(1), i32(2)), DTypeError, "where: expected one dtype"],
    [() => d.sum(i32(1, 2)), DTypeError, "sum: expected f32 or f16 but got i32; cast first"],
    [() => d.max(u8(1, 2)), DTypeError, "max: expected f32 or f16 but got u8"],
    [() => d.argmax(i32(1, 2), 0), DTypeError, "argmax: expected one floating-point dtype"],
    [() => d.cumsum(i32(1, 2), 0), DTypeError, "cumsum: expected one floating-point dtype"],
    [() => d.softmax(i32(1, 2), 0), DTypeError, "softmax: expected one floating-point dtype"],
    [() => d.layerNorm(i32(1, 2)), DTypeError, "layerNorm: expected one floating-point dtype"],
    [
      () => d.dropout(i32(1, 2), 0.5, { generator: generator() }),
      DTypeError,
      "dropout: expected one",
    ],
    [
      () => d.matmul(d.reshape(i32(1), [1, 1]), z(1, 1)),
      DTypeError,
      "matmul: expected one floating-point dtype",
    ],
    [
      () => d.linear(d.reshape(u8(1), [1, 1]), z(1, 1)),
      DTypeError,
      "linear: expected one floating-point dtype",
    ],
    [
      () => d.conv2d(d.reshape(i32(1), [1, 1, 1, 1]), z(1, 1, 1, 1)),
      DTypeError,
      "conv2d: expected one",
    ],
    [
      () => d.attention(z(1, 1, 1, 4), half(1, 1, 1, 4), z(1, 1, 1, 4)),
      DTypeError,
      "attention: expected one",
    ],
    [
      () => d.concat([z(2), half(2)]),
      DTypeError,
      "concat: expected one dtype but got f32 and f16; cast first",
    ],
    [
      () => d.embedding(z(3, 2), f(1)),
      DTypeError,
      "embedding: expected indices of i32 or u32 but got f32",
    ],
    [
      () => d.embedding(z(3, 2), u8(1)),
      DTypeError,
      "embedding: expected indices of i32 or u32 but got u8",
    ],
    [
      () => d.embedding(d.reshape(i32(1, 2), [2, 1]), i32(1)),
      DTypeError,
      "embedding: expected one floating",
    ],
    [() => new d.Parameter(i32(1)), DTypeError, "Parameter: expected one floating-point dtype"],
  ],
  "numbers that a type cannot hold": [
    [
      () => d.add(i32(1), 0.5),
      DTypeError,
      "add: expected a whole number that fits i32 but got 0.5; cast the tensor first",
    ],
    [() => d.sub(u32(1), -1), DTypeError, "sub: expected a whole number that fits u32 but got -1"],
    [
      () => d.mul(i32(1), NaN),
      DTypeError,
      "mul: expected a whole number that fits i32 but got NaN",
    ],
    [() => d.maximum(i32(1), Infinity), DTypeError, "maximum: expected a whole number"],
    [() => d.lt(i32(1), 0.5), DTypeError, "lt: expected a whole number that fits i32 but got 0.5"],
    [() => d.eq(u8(1), -1), DTypeError, "eq: expected a whole number that fits u32 but got -1"],
    [() => d.clamp(i32(1), 0.5), DTypeError, "clamp: expected a whole number that fits i32"],
    [
      () => d.where(u8(1), i32(1), 2 ** 31),
      DTypeError,
      "where: expected a whole number that fits i32",
    ],
    [
      () => d.pad(u8(1), [[1, 0]], 256),
      DTypeError,
      "pad: expected a whole number that fits u8 but got 256",
    ],
    [
      () => d.full([2], -1, { dtype: "u8" }),
      DTypeError,
      "full: expected a whole number that fits u8",
    ],
    [
      () => d.tensor([1.5], [1], { dtype: "i32" }),
      DTypeError,
      "tensor: expected whole numbers that fit i32",
    ],
  ],
  "places outside": [
    [
      () => d.slice(z(3), 0, { start: 4 }),
      IndexError,
      "slice: expected 0 <= start <= end <= 3 and a step of 1 or more along axis 0 of [3] but got start 4, end 3, step 1",
    ],
    [() => d.slice(z(3), 0, { end: 4 }), IndexError, "slice: expected 0 <= start <= end <= 3"],
    [() => d.slice(z(3), 0, { start: -4 }), IndexError, "but got start -4"],
    [() => d.slice(z(3), 0, { start: 2, end: 1 }), IndexError, "but got start 2, end 1"],
    [() => d.slice(z(3), 0, { step: 0 }), IndexError, "but got start 0, end 3, step 0"],
    [() => d.slice(z(3), 0, { start: 0.5 }), IndexError, "but got start 0.5"],
    [() => d.slice(z(3), 1, {}), ShapeError, "slice: expected an axis"],
    [
      () => d.embedding(z(3, 2), i32(0, 3)),
      IndexError,
      "embedding: expected indices in [0, 3) but got some from 0 to 3",
    ],
    [
      () => d.embedding(z(3, 2), i32(-1)),
      IndexError,
      "embedding: expected indices in [0, 3) but got some from -1",
    ],
    [() => d.embedding(z(0, 2), i32(0)), IndexError, "embedding: expected indices in [0, 0)"],
  ],
};

for (const [name, faults] of Object.entries(FAULTS)) {
  eachDevice(`bad input: ${name}`, () => {
    for (const [run, kind, message] of faults) {
      using _ = d.scope();
      const p = new d.Parameter(f(1)); // errors must not depend on recording
      assertThrows(run, kind, message, run.toString());
      assertEquals(d.requiresGrad(d.mul(p, 1)), true);
    }
  });
}

eachDevice(
  "bad input: indices computed on the device are checked, at once or by the next read",
  async (device) => {
    const rejected = async () => {
      using _ = d.scope();
      const index = d.add(i32(2), 1);
      const rows = d.embedding(z(3, 2), index);
      await rows.data();
    };
    await assertRejects(rejected, IndexError, "embedding: expected indices in [0, 3) but got 3");
    await device.backend.sync();
    // and once reported, the device still works
    using _ = d.scope();
    assertEquals(
      Array.from(await d.embedding(f(5, 6, 7).as([3, 1], [1, 1]), d.sub(i32(2), 1)).data()),
      [6],
    );
  },
);

eachDevice("bad input: a view of indices is known by its own elements", async () => {
  using _ = d.scope();
  const index = i32(7, 1);
  const inside = d.slice(index, 0, { start: 1 });
  assertEquals(Array.from(await d.embedding(f(5, 6, 7).as([3, 1], [1, 1]), inside).data()), [6]);
});

eachDevice("bad input: every op names a tensor that was freed", () => {
  for (const [name, { samples }] of d.ops()) {
    const sample = samples[0]!;
    for (const k of sample.inputs.keys()) {
      using _ = d.scope();
      const inputs = sample.inputs.map(({ shape, dtype }) =>
        d.ones(shape, { dtype: dtype ?? "f32" })
      );
      inputs[k]!.dispose();
      const shape = `[${sample.inputs[k]!.shape.join(", ")}]`;
      const error = assertThrows(() => sample.call(inputs), d.UseAfterFreeError, "", name) as Error;
      const pattern = /^\w+: a tensor of shape \[.*\] was used after it was freed/;
      assert(pattern.test(error.message) && error.message.includes(shape), `${name}: ${error}`);
    }
  }
});

eachDevice("bad input: every op refuses tensors of two devices", async (device) => {
  const reference = await d.init({ device: "reference" });
  d.setDevice(device);
  for (const [name, { samples }] of d.ops()) {
    const sample = samples[0]!;
    if (sample.inputs.length < 2) continue;
    for (const k of sample.inputs.keys()) {
      using _ = d.scope();
      const inputs = sample.inputs.map(({ shape, dtype }, i) =>
        d.ones(shape, { dtype: dtype ?? "f32", device: i === k ? reference : device })
      );
      assertThrows(
        () => sample.call(inputs),
        d.DeviceError,
        "expected tensors on one device but got",
        name,
      );
    }
  }
});

eachDevice("bad input: every op takes integers and bytes, or refuses them by name", () => {
  for (const [name, { samples }] of d.ops()) {
    for (const dtype of ["i32", "u8"] as const) {
      using _ = d.scope();
      const inputs = samples[0]!.inputs.map(({ shape }) => d.ones(shape, { dtype }));
      try {
        samples[0]!.call(inputs);
      } catch (error) {
        assert(error instanceof DTypeError, `${name} of ${dtype}: ${error}`);
        assert(/^\w+: expected .* but got .*/.test(error.message), `${name}: ${error.message}`);
      }
    }
  }
});

eachDevice("bad input: tensors of nine dimensions, and of none, in every kind of op", async () => {
  using _ = d.scope();
  const shape = [2, 1, 2, 3, 1, 2, 2, 1, 2];
  const x = d.reshape(d.arange(96), shape);
  const order = [8, 0, 7, 3, 1, 6, 2, 5, 4];
  const permuted = d.permute(x, order);
  const want = await permuted.data(); // gathered on the host
  assertEquals(await d.contiguous(permuted).data(), want);
  assertEquals(await d.add(permuted, 0).data(), want);
  const both = d.add(permuted, d.permute(d.mul(x, 1), order));
  assertEquals(await both.data(), want.map((v) => 2 * v));
  assertEquals(
    await d.sum(permuted, [0, 2, 4, 6, 8]).data(),
    await d.sum(d.contiguous(permuted), [0, 2, 4, 6, 8]).data(),
  );
  assertEquals(
    await d.concat([permuted, permuted], 3).data(),
    await d.concat([d.contiguous(permuted), d.contiguous(permuted)], 3).data(),
  );
  const product = d.matmul(d.reshape(x, [2, 1, 2, 3, 1, 2, 2, 2]), d.ones([2, 1]));
  assertEquals(
    scaledError(await product.data(), Array.from({ length: 48 }, (_, i) => 4 * i + 1)),
    0,
  );

  const number = d.tensor([3], []);
  const results = [
    d.add(number, number),
    d.exp(number),
    d.sum(number),
    d.max(number),
    d.mean(number),
    d.variance(number, null, { correction: 0 }),
    d.reshape(number, []),
    d.expand(number, []),
    d.where(d.gt(number, 1), number, 0),
    d.mse(number, number),
    d.permute(number, []),
    d.concat([d.unsqueeze(number, 0)]),
    d.pad(number, []),
    d.repeat(number, []),
  ];
  for (const t of results.slice(0, 11)) assertEquals(t.shape, []);
  assertEquals(await d.add(number, number).item(), 6);
});

eachDevice("bad input: more memory than there is names the op and the bytes", () => {
  using _ = d.scope();
  const vast = d.expand(z(1, 1), [2 ** 20, 2 ** 20]);
  assertThrows(() => d.add(vast, 1), d.OutOfMemoryError, `add: expected`);
  assertThrows(() => d.add(vast, 1), d.OutOfMemoryError, `${2 ** 42}`);
  assertThrows(() => d.contiguous(vast), d.OutOfMemoryError, "contiguous: expected");
  assertThrows(() => d.randn([2 ** 40], { generator: generator() }), d.OutOfMemoryError, "randn: ");
  assertThrows(
    () => d.matmul(d.expand(z(1, 1), [2 ** 21, 1]), d.expand(z(1, 1), [1, 2 ** 21])),
    d.OutOfMemoryError,
    "matmul: ",
  );
  assertEquals(d.sum(z(2)).shape, []); // and the device works on
});

Deno.test("bad input: a scope left open, and a tensor kept by two scopes", async () => {
  await d.init({ device: "wasm" });
  const outer = d.scope("outer");
  const inner = d.scope("inner");
  const t = f(1);
  inner.keep(t);
  assertThrows(
    () => outer[Symbol.dispose](),
    d.ScopeError,
    "outer closed while scopes opened after",
  );
  assertEquals(t.disposed, true); // kept by the inner one, it belonged to the outer one
  inner[Symbol.dispose]();
  let kept: Tensor;
  {
    using a = d.scope();
    {
      using b = d.scope();
      kept = a.keep(b.keep(f(1)));
      b.keep(kept);
    }
    assertEquals(kept.scope, null);
  }
  assertEquals(kept.disposed, false);
  kept.dispose();
});

Deno.test("options that there are not are named, with the right spelling where that is all", async () => {
  await d.init({ device: "reference" });
  const wrong = (options: object): never => options as never;
  const model = () => new d.DiT({ inputSize: 4, hiddenSize: 4, depth: 1, numHeads: 1 });
  const faults: readonly (readonly [run: () => unknown, message: string])[] = [
    [() => new d.DiT(wrong({ hidden_size: 8 })), "DiT: unknown option hidden_size; did you mean"],
    [
      () => new d.AutoencoderKL(wrong({ actFn: "silu" })),
      "AutoencoderKL: unknown option actFn; expected inChannels, outChannels",
    ],
    [() => d.createDiffusion(wrong({ noise_schedule: "linear" })), "did you mean noiseSchedule?"],
    [() => new d.AdamW(model().parameters(), wrong({ betas1: 0.9 })), "AdamW: unknown option"],
    [() => new d.Ema(model(), wrong({ rate: 0.9 })), "Ema: unknown option rate"],
    [() => new d.GradScaler(wrong({ scale: 2 })), "GradScaler: unknown option scale"],
    [() => d.randn([2], wrong({ seed: 1 })), "randn: unknown option seed; expected generator"],
    [
      () => d.sampleProgressive(d.createDiffusion(), (x) => x, [1, 3, 4, 4], wrong({ cfg: 4 })),
      "sample: unknown option cfg",
    ],
    [
      () => d.guided((x) => x, wrong({ scale: 4, nullKwargs: {}, channels: 3 })),
      "guidance: unknown option channels",
    ],
  ];
  const [one, x, image] = [d.ones([2]), d.ones([2, 2]), d.ones([1, 2, 4, 4])];
  const heads = d.ones([1, 1, 2, 2]);
  const ops: readonly (readonly [op: string, run: (options: never) => unknown])[] = [
    ["tensor", (o) => d.tensor([1], [1], o)],
    ["zeros", (o) => d.zeros([1], o)],
    ["arange", (o) => d.arange(0, 3, 1, o)],
    ["sum", (o) => d.sum(x, null, o)],
    ["mean", (o) => d.mean(x, null, o)],
    ["max", (o) => d.max(x, null, o)],
    ["min", (o) => d.min(x, null, o)],
    ["variance", (o) => d.variance(x, null, o)],
    ["argmax", (o) => d.argmax(x, 0, o)],
    ["argmin", (o) => d.argmin(x, 0, o)],
    ["matmul", (o) => d.matmul(x, x, o)],
    ["linear", (o) => d.linear(x, x, null, o)],
    ["conv2d", (o) => d.conv2d(image, image, null, o)],
    ["attention", (o) => d.attention(heads, heads, heads, o)],
    ["selfAttention", (o) => d.selfAttention(d.ones([1, 2, 6]), 1, o)],
    ["layerNorm", (o) => d.layerNorm(x, o)],
    ["layerNormModulate", (o) => d.layerNormModulate(d.ones([2, 2, 2]), x, x, o)],
    ["groupNorm", (o) => d.groupNorm(image, 1, o)],
    ["dropout", (o) => d.dropout(one, 0.5, o)],
    ["slice", (o) => d.slice(one, 0, o)],
    ["Linear", (o) => new d.nn.Linear(2, 2, o)],
    ["Conv2d", (o) => new d.nn.Conv2d(2, 2, 1, o)],
    ["LayerNorm", (o) => new d.nn.LayerNorm(2, o)],
    ["GroupNorm", (o) => new d.nn.GroupNorm(1, 2, o)],
    ["Embedding", (o) => new d.nn.Embedding(2, 2, o)],
    ["Dropout", (o) => new d.nn.Dropout(0.5, o)],
    ["Attention", (o) => new d.nn.Attention(2, 1, o)],
    ["Mlp", (o) => new d.nn.Mlp(2, 2, o)],
    ["loadStateDict", (o) => new d.nn.Mlp(2, 2).loadStateDict({}, o)],
    ["DiT.forwardWithCfg", (o) => model().forwardWithCfg(x, one, one, 4, o)],
    ["trainingLosses", (o) => d.createDiffusion().trainingLosses((x) => x, image, 0, o)],
    ["pSample", (o) => d.createDiffusion().pSample((x) => x, image, 0, o)],
    ["ddimSample", (o) => d.createDiffusion().ddimSample((x) => x, image, 0, o)],
    ["calcBpdLoop", (o) => d.createDiffusion().calcBpdLoop((x) => x, image, o)],
  ];
  for (const [op, run] of ops) {
    assertThrows(() => run(wrong({ mask: x })), TypeError, `${op}: unknown option mask`);
  }
  for (const [run, message] of faults) assertThrows(run, TypeError, message);
  await assertRejects(
    () => d.init(wrong({ backend: "wasm" })),
    TypeError,
    "init: unknown option backend; expected device, wasm, webgpu",
  );
});

Deno.test("values that the types rule out are refused by the op, in JavaScript too", async () => {
  await d.init({ device: "reference" });
  using _ = d.scope();
  const wrong = (value: unknown): never => value as never;
  const x = d.ones([2, 2]);
  const faults: readonly (readonly [run: () => unknown, message: string])[] = [
    [() => d.add(x, wrong("3")), "add: expected a tensor or a number as operand 1 but got 3"],
    [() => d.mul(wrong([1, 2]), x), "mul: expected a tensor or a number as operand 0"],
    [() => d.lt(x, wrong(undefined)), "lt: expected a tensor or a number as operand 1"],
    [() => d.matmul(wrong(3), x), "matmul: expected a tensor but got 3"],
    [() => d.full([2], wrong("1")), "full: expected a number but got 1"],
    [() => d.layerNorm(x, wrong(null)), "layerNorm: expected options, an object, but got null"],
    [() => d.cast(x, wrong("f64")), "cast: expected a dtype f32, f16, i32, u32, u8 but got f64"],
    [() => d.zeros([2], { dtype: wrong("int64") }), "zeros: expected a dtype f32, f16"],
    [() => d.zeros([2], { device: wrong("cpu") }), "zeros: expected a device that init() gave"],
    [() => d.randn([2], { dtype: wrong("i32") }), "randn: expected f32 or f16 but got i32"],
    [() => d.randn([2], { generator: wrong(5) }), "randn: expected a Generator but got 5"],
    [
      () => d.linear(x, x, null, { activation: wrong("swish") }),
      "linear: expected activation none",
    ],
    [() => d.gelu(x, wrong("Tanh")), 'gelu: expected approximate "none" or "tanh" but got Tanh'],
    [
      () => d.createDiT("DiT-S/8", { hiddenSize: 8 }),
      "createDiT: expected hiddenSize 384 of a DiT-S/8 but got 8",
    ],
    [() => d.autocast(wrong("bf16"), () => x), "autocast: expected f16 or null but got bf16"],
  ];
  for (const [run, message] of faults) assertThrows(run, Error, message);
});
