/** What ops do with tensors without elements: as PyTorch 1.13 does, whose answers are recorded. */
import { assertEquals } from "@std/assert";
import * as d from "../mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { eachDevice } from "./devices.ts";

const z = (...shape: number[]): Tensor => d.zeros(shape);
const f = (...values: number[]): Tensor => d.tensor(values);
const i32 = (...values: number[]): Tensor => d.tensor(values, undefined, { dtype: "i32" });

/** What PyTorch 1.13 gives for tensors without elements: shape and elements. */
const EMPTY: Record<string, [() => Tensor | Tensor[], ...[shape: number[], data: number[]][]]> = {
  "add": [() => d.add(z(3, 1, 0), z(1, 4, 1)), [[3, 4, 0], []]],
  "exp": [() => d.exp(z(0)), [[0], []]],
  "where": [() => d.where(d.zeros([0], { dtype: "u8" }), 1, 2), [[0], []]],
  "sum of rows of nothing": [() => d.sum(z(0, 3), 0), [[3], [0, 0, 0]]],
  "sum of all": [() => d.sum(z(0)), [[], [0]]],
  "mean": [() => d.mean(z(0, 3), 0), [[3], [NaN, NaN, NaN]]],
  "mean along the other axis": [() => d.mean(z(0, 3), 1), [[0], []]],
  "variance of nothing": [() => d.variance(z(0)), [[], [NaN]]],
  "variance of one": [() => d.variance(f(1)), [[], [NaN]]],
  "max along an axis with elements": [() => d.max(z(0, 3), 1), [[0], []]],
  "argmax": [() => d.argmax(z(2, 0), 0), [[0], []]],
  "cumsum": [() => d.cumsum(z(0, 2), 0), [[0, 2], []]],
  "chunk": [() => d.chunk(z(0, 3), 2, 1), [[0, 2], []], [[0, 1], []]],
  "mse": [() => d.mse(z(0), z(0)), [[], [NaN]]],
  "matmul over nothing": [() => d.matmul(z(3, 0), z(0, 2)), [[3, 2], [0, 0, 0, 0, 0, 0]]],
  "matmul of no rows": [() => d.matmul(z(0, 4), z(4, 2)), [[0, 2], []]],
  "matmul of no batches": [() => d.matmul(z(0, 3, 4), z(0, 4, 2)), [[0, 3, 2], []]],
  "linear over nothing": [() => d.linear(z(2, 0), z(3, 0), f(1, 2, 3)), [[2, 3], [
    1,
    2,
    3,
    1,
    2,
    3,
  ]]],
  "linear of no rows": [() => d.linear(z(0, 2), z(3, 2), f(1, 2, 3)), [[0, 3], []]],
  "conv2d of no images": [() => d.conv2d(z(0, 2, 4, 4), z(3, 2, 2, 2)), [[0, 3, 3, 3], []]],
  "attention of no queries": [() => d.attention(z(1, 1, 0, 4), z(1, 1, 2, 4), z(1, 1, 2, 4)), [[
    1,
    1,
    0,
    4,
  ], []]],
  "selfAttention of no tokens": [() => d.selfAttention(z(2, 0, 6), 2), [[2, 0, 2], []]],
  "softmax of no columns": [() => d.softmax(z(3, 0), -1), [[3, 0], []]],
  "softmax of no rows": [() => d.softmax(z(0, 3), 0), [[0, 3], []]],
  "layerNorm": [() => d.layerNorm(z(0, 3), { weight: z(3), bias: z(3) }), [[0, 3], []]],
  "layerNorm of no columns": [() => d.layerNorm(z(3, 0)), [[3, 0], []]],
  "groupNorm": [() => d.groupNorm(z(1, 4, 0), 2, { weight: z(4), bias: z(4) }), [[1, 4, 0], []]],
  "embedding of no indices": [() => d.embedding(z(3, 2), i32()), [[0, 2], []]],
  "embedding of an empty table": [() => d.embedding(z(0, 2), i32()), [[0, 2], []]],
  "embedding of no width": [() => d.embedding(z(3, 0), i32(0, 1)), [[2, 0], []]],
  "dropout": [() => d.dropout(z(0), 0.5, { generator: new d.Generator(1) }), [[0], []]],
  "concat": [() => d.concat([z(0, 3), d.ones([1, 3])]), [[1, 3], [1, 1, 1]]],
  "stack": [() => d.stack([z(0), z(0)]), [[2, 0], []]],
  "split of nothing": [() => d.split(z(0), 1), [[0], []]],
  "split with an empty part": [() => d.split(f(1, 2), [0, 2]), [[0], []], [[2], [1, 2]]],
  "chunk of nothing": [() => d.chunk(z(0, 2), 3), [[0, 2], []], [[0, 2], []], [[0, 2], []]],
  "chunk into more than there are": [() => d.chunk(f(1, 2), 5), [[1], [1]], [[1], [2]]],
  "slice": [() => d.slice(z(3), 0, { start: 3 }), [[0], []]],
  "reshape": [() => d.reshape(z(3, 0), [0, 7]), [[0, 7], []]],
  "flatten of a number": [() => d.flatten(z()), [[1], [0]]],
  "expand": [() => d.expand(z(3, 1), [3, 0]), [[3, 0], []]],
  "repeat": [() => d.repeat(f(1, 2), [0]), [[0], []]],
  "pad": [() => d.pad(z(0, 2), [[1, 0], [0, 1]], 3), [[1, 3], [3, 3, 3]]],
  "permute": [() => d.permute(z(0, 2, 3), [2, 0, 1]), [[3, 0, 2], []]],
  "upsampleNearest": [() => d.upsampleNearest(z(0, 1, 2, 2)), [[0, 1, 4, 4], []]],
  "cast": [() => d.cast(z(0, 2), "u8"), [[0, 2], []]],
  "contiguous": [() => d.contiguous(d.transpose(z(0, 2))), [[2, 0], []]],
  "arange": [() => d.arange(3, 3), [[0], []]],
};

eachDevice("without elements every op does as PyTorch", async () => {
  for (const [name, [run, ...wanted]] of Object.entries(EMPTY)) {
    const s = d.scope();
    const result = run();
    const tensors = Array.isArray(result) ? result : [result];
    const reads = tensors.map((t) => t.data());
    const shapes = tensors.map((t) => t.shape);
    s[Symbol.dispose]();
    const data = (await Promise.all(reads)).map((a) => Array.from(a));
    assertEquals(shapes.map((shape, i) => [shape, data[i]]), wanted as unknown[], name);
  }
});

/** Gradients by weights that met no element are 0 (PyTorch 1.13). */
const EMPTY_GRADIENTS: Record<string, (w: Tensor, b: Tensor) => Tensor> = {
  "layerNorm": (weight, bias) => d.layerNorm(z(0, 2), { weight, bias }),
  "layerNormModulate": (shift, scale) =>
    d.layerNormModulate(z(1, 0, 2), d.reshape(shift, [1, 2]), d.reshape(scale, [1, 2])),
  "groupNorm": (weight, bias) => d.groupNorm(z(0, 2, 3), 1, { weight, bias }),
  "linear": (w, b) => d.linear(z(0, 1), d.reshape(w, [2, 1]), b),
  "matmul": (w, b) => d.mul(d.matmul(z(0, 2), d.reshape(w, [2, 1])), d.sum(b)),
  "conv2d": (w, b) => d.conv2d(z(0, 1, 2, 2), d.reshape(w, [2, 1, 1, 1]), b),
  "embedding": (w, b) => d.mul(d.embedding(d.reshape(w, [2, 1]), i32()), d.sum(b)),
  "attention": (k, v) =>
    d.attention(z(1, 1, 0, 2), d.reshape(k, [1, 1, 1, 2]), d.reshape(v, [1, 1, 1, 2])),
  "broadcast": (w, b) => d.add(d.mul(z(0, 2), w), b),
  "concat": (w, b) => d.mul(d.slice(d.concat([w, b]), 0, { end: 0 }), 1),
};

eachDevice("weights that met no element have gradient 0", async () => {
  for (const [name, run] of Object.entries(EMPTY_GRADIENTS)) {
    using _ = d.scope();
    const parameters = [new d.Parameter(f(1, 2)), new d.Parameter(f(3, 4))];
    const grads = d.gradients(d.sum(run(parameters[0]!, parameters[1]!)), parameters);
    for (const g of grads) assertEquals(Array.from(await g.data()), [0, 0], name);
  }
});
