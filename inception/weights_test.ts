import { assertEquals, assertThrows } from "@std/assert";
import { StateDictError } from "../nn/mod.ts";
import { hostTensor, type TensorSource, toFloat32 } from "../tensor/mod.ts";
import { foldedInception } from "./weights.ts";

/** A source of tensors of these shapes; each element is its own index but where `values` says more. */
function sourceOf(
  shapes: Readonly<Record<string, readonly number[]>>,
  values: Readonly<Record<string, readonly number[]>> = {},
): TensorSource {
  const read = (key: string) => {
    const shape = shapes[key]!;
    const size = shape.reduce((a, b) => a * b, 1);
    const data = values[key] ?? Array.from({ length: size }, (_, i) => i);
    return Promise.resolve({ ...hostTensor(Float32Array.from(data)), shape });
  };
  return {
    name: "weights.pth",
    keys: () => Object.keys(shapes),
    has: (key) => Object.hasOwn(shapes, key),
    info: (key) => ({ dtype: "f32", shape: shapes[key]! }),
    read,
    readInto: async (key, target, start = 0) =>
      target.set((await read(key)).data.subarray(start, start + target.byteLength)),
  };
}

const FIRST = {
  "Conv2d_1a_3x3.conv.weight": [2, 1, 1, 2],
  "Conv2d_1a_3x3.bn.weight": [2],
  "Conv2d_1a_3x3.bn.bias": [2],
  "Conv2d_1a_3x3.bn.running_mean": [2],
  "Conv2d_1a_3x3.bn.running_var": [2],
  "Conv2d_1a_3x3.bn.num_batches_tracked": [],
};
const CLASSES = { "fc.weight": [1008, 2048], "fc.bias": [1008] };

Deno.test("foldedInception() folds batch normalisation by its formula", async () => {
  const folded = foldedInception(sourceOf({ ...FIRST, ...CLASSES }, {
    "Conv2d_1a_3x3.conv.weight": [1, 2, 3, 4],
    "Conv2d_1a_3x3.bn.weight": [1, 3],
    "Conv2d_1a_3x3.bn.bias": [0.5, -1],
    "Conv2d_1a_3x3.bn.running_mean": [2, 4],
    "Conv2d_1a_3x3.bn.running_var": [0.249, 3.999],
  }));
  assertEquals(folded.keys(), [
    "Conv2d_1a_3x3.conv.weight",
    "Conv2d_1a_3x3.conv.bias",
    "fc.weight",
    "fc.bias",
  ]);
  // gamma / sqrt(var + 0.001) is 2 and 1.5
  const round = (values: Float32Array) => [...values].map((v) => Math.round(v * 1e4) / 1e4);
  const weight = await folded.read("Conv2d_1a_3x3.conv.weight");
  assertEquals(round(toFloat32(weight)), [2, 4, 4.5, 6]);
  assertEquals(weight.shape, [2, 1, 1, 2]);
  const bias = await folded.read("Conv2d_1a_3x3.conv.bias");
  assertEquals(round(toFloat32(bias)), [0.5 - 4, -1 - 6]);
  assertEquals(bias.shape, [2]);
});

Deno.test("foldedInception() refuses the weights of other networks, saying which they are", () => {
  const cases: [Readonly<Record<string, readonly number[]>>, RegExp][] = [
    [{ "blocks.0.attn.qkv.weight": [3, 1] }, /another network, of 1 tensors \(blocks.0/],
    [
      { ...FIRST, "fc.weight": [1000, 2048], "fc.bias": [1000] },
      /torchvision's, of 1,000 classes, which was trained otherwise/,
    ],
    [{ ...FIRST, "fc.weight": [10, 20], "fc.bias": [10] }, /one with classes of \[10, 20\]/],
    [
      { "Conv2d_1a_3x3.conv.weight": [2, 1, 1, 2], ...CLASSES },
      /one without Conv2d_1a_3x3.bn.weight/,
    ],
    [
      { ...FIRST, "Conv2d_1a_3x3.bn.bias": [3], ...CLASSES },
      /Conv2d_1a_3x3.bn.bias of \[3\] beside 2 channels/,
    ],
  ];
  for (const [shapes, message] of cases) {
    const error = assertThrows(() => foldedInception(sourceOf(shapes)), StateDictError);
    assertEquals(message.test(error.message), true, error.message);
    assertEquals(error.message.startsWith("weights.pth: expected the Inception-v3 of 2015"), true);
  }
});
