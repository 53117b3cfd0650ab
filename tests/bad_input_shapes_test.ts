/**
 * Ops given shapes, axes and places that do not fit: a named error that says the op, what came and
 * what is needed. Nothing is cut, wrapped or limited on the quiet.
 */
import { assertEquals, assertRejects } from "@std/assert";
import * as d from "../mod.ts";
import { f, generator, i32, testFaults, u8, z } from "./bad_input.ts";
import { eachDevice, scaledError } from "./devices.ts";

const { ShapeError, IndexError } = d;

testFaults({
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
    [() => d.rmsNorm(z(2, 3), { weight: z(2) }), ShapeError, "a weight [N] but got [2, 3], [2]"],
    [() => d.rmsNorm(z()), ShapeError, "rmsNorm: expected x [..., N]"],
    [
      () => d.rmsNormModulate(z(2, 3, 4), z(2, 4), z(2, 3)),
      ShapeError,
      "rmsNormModulate: expected x [B, T, N], shift and scale [B, N]",
    ],
    [() => d.swiglu(z(2, 5)), ShapeError, "swiglu: expected x [..., 2 D]"],
    [() => d.swiglu(z()), ShapeError, "swiglu: expected x [..., 2 D]"],
    [
      () => d.rotaryEmbedding(z(1, 2, 1, 4), { cosine: z(2, 4), sine: z(3, 4) }),
      ShapeError,
      "constant tables [T, D] but got [1, 2, 1, 4], [2, 4], [3, 4]",
    ],
    [
      () => d.rotaryEmbedding(z(1, 2, 1, 3), { cosine: z(2, 3), sine: z(2, 3) }),
      ShapeError,
      "rotaryEmbedding: expected x [B, T, H, D] with an even D",
    ],
    [
      () => d.selfAttention(z(1, 2, 12), 1, { rotary: { cosine: z(2, 4), sine: z(1, 4) } }),
      ShapeError,
      "selfAttention: expected rotary tables [2, 4], of an even number a head, but got [2, 4] and [1",
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
    [() => d.reshape(z(2, 3), [-1, -1]), ShapeError, "reshape: expected one -1 at most but got"],
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
});

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
