import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  add,
  attention,
  gelu,
  groupNorm,
  layerNorm,
  linear,
  mean,
  permute,
  reshape,
  silu,
  slice,
  square,
  sub,
} from "../autograd/mod.ts";
import {
  DTypeError,
  Generator,
  IndexError,
  init,
  randn,
  scope,
  ShapeError,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { Attention } from "./attention.ts";
import { Conv2d, Dropout, Embedding, GroupNorm, LayerNorm, Linear } from "./layers.ts";
import { Mlp } from "./mlp.ts";

const generator = () => new Generator(3);

async function same(got: Tensor, want: Tensor, limit = 1e-5): Promise<void> {
  assertEquals(got.shape, want.shape);
  const error = scaledError(await got.data(), await want.data());
  assert(error <= limit, `off by ${error}`);
}

eachDevice("Linear is x W^T + b, with or without bias and activation", async () => {
  using _ = scope();
  const x = randn([2, 5, 7], { generator: generator() });
  const plain = new Linear(7, 3, { generator: generator() });
  await same(plain.forward(x), linear(x, plain.weight, plain.bias));
  const active = new Linear(7, 3, { bias: false, activation: "silu" });
  assertEquals(active.bias, null);
  await same(active.forward(x), silu(linear(x, active.weight)));
});

eachDevice("LayerNorm and GroupNorm give mean 0 and variance 1, eps 1e-5 by default", async () => {
  using _ = scope();
  const x = randn([2, 6, 5], { generator: generator() });
  const layer = new LayerNorm(5);
  await same(layer.forward(x), layerNorm(x, { eps: 1e-5 }));
  const plain = new LayerNorm(5, { affine: false });
  assertEquals(plain.parameters(), []);
  const rows = plain.forward(x);
  const variance = await mean(square(sub(rows, mean(rows, -1, { keepdim: true }))), -1).data();
  for (const v of variance) assert(Math.abs(v - 1) < 1e-3);
  const group = new GroupNorm(3, 6, { silu: true });
  const options = { weight: group.weight, bias: group.bias, eps: 1e-5 };
  await same(group.forward(x), silu(groupNorm(x, 3, options)));
});

eachDevice("Conv2d takes stride and padding; Embedding gives rows", async () => {
  using _ = scope();
  const conv = new Conv2d(3, 5, 3, { stride: 2, padding: 1 });
  const image = randn([2, 3, 7, 8], { generator: generator() });
  assertEquals(conv.forward(image).shape, [2, 5, 4, 4]);
  const wide = new Conv2d(3, 5, [1, 7], { padding: { top: 0, bottom: 0, left: 3, right: 3 } });
  assertEquals([wide.weight.shape, wide.forward(image).shape], [[5, 3, 1, 7], [2, 5, 7, 8]]);
  const table = new Embedding(4, 3);
  const index = tensor([2, 0, 2], [3], { dtype: "i32" });
  const rows = await table.weight.data();
  const want = [2, 0, 2].flatMap((i) => Array.from(rows.slice(3 * i, 3 * i + 3)));
  assertEquals(Array.from(await table.forward(index).data()), want);
});

eachDevice("Mlp is two linear layers with GELU between them", async () => {
  using _ = scope();
  const mlp = new Mlp(4, 8, { outputs: 3 });
  const x = randn([5, 4], { generator: generator() });
  const hidden = gelu(linear(x, mlp.fc1.weight, mlp.fc1.bias), "tanh");
  await same(mlp.forward(x), linear(hidden, mlp.fc2.weight, mlp.fc2.bias));
});

eachDevice("Attention is that of queries, keys and values taken apart", async () => {
  using _ = scope();
  const layer = new Attention(12, 3);
  const x = randn([2, 5, 12], { generator: generator() });
  const qkv = reshape(layer.qkv.forward(x), [2, 5, 3, 3, 4]);
  const part = (i: number) =>
    permute(reshape(slice(qkv, 2, { start: i, end: i + 1 }), [2, 5, 3, 4]), [0, 2, 1, 3]);
  const heads = attention(part(0), part(1), part(2));
  const joined = reshape(permute(heads, [0, 2, 1, 3]), [2, 5, 12]);
  await same(layer.forward(x), layer.proj.forward(joined));
});

eachDevice("Dropout works in training only, from its own generator", async () => {
  using _ = scope();
  const x = add(randn([50, 40], { generator: generator() }), 10);
  const layer = new Dropout(0.25, { generator: generator() });
  const [once, again] = [await layer.forward(x).data(), await layer.forward(x).data()];
  const zeros = Array.from(once).filter((v) => v === 0).length;
  assert(zeros > 420 && zeros < 580, `${zeros} of 2000`);
  assert(scaledError(again, once) > 0.1);
  const whole = await x.data();
  for (const [i, v] of once.entries()) assert(v === 0 || Math.abs(v - whole[i]! / 0.75) < 1e-4);
  assertEquals(layer.eval().forward(x), x);
});

Deno.test("layers say what is wrong with their sizes and inputs", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  const x = tensor([1, 2, 3], [1, 3]);
  const faults: [() => unknown, new (message: string) => Error, string][] = [
    [() => new Linear(0, 3), ShapeError, "Linear: expected inputs to be 1 or more but got 0"],
    [() => new Linear(2, 1.5), ShapeError, "Linear: expected outputs to be 1 or more but got 1.5"],
    [() => new LayerNorm(NaN), ShapeError, "LayerNorm: expected size"],
    [() => new GroupNorm(4, 6), ShapeError, "GroupNorm: expected channels to be a multiple of 4"],
    [
      () => new Attention(10, 3),
      ShapeError,
      "Attention: expected the hidden size to be a multiple",
    ],
    [() => new Embedding(0, 3), ShapeError, "Embedding: expected count to be 1 or more"],
    [() => new Conv2d(3, 4, 0), ShapeError, "Conv2d: expected size to be 1 or more"],
    [() => new Conv2d(3, 4, [1, 0]), ShapeError, "Conv2d: expected columns to be 1 or more"],
    [() => new Dropout(1), RangeError, "Dropout: expected p in [0, 1) but got 1"],
    [() => new Dropout(NaN), RangeError, "Dropout: expected p in [0, 1) but got NaN"],
    [() => new Linear(2, 2).forward(x), ShapeError, "linear: expected x [..., I], w [O, I]"],
    [() => new Embedding(3, 2).forward(x), DTypeError, "embedding: expected indices of i32"],
    [
      () => new Embedding(3, 2).forward(tensor([3], [1], { dtype: "i32" })),
      IndexError,
      "embedding: expected indices in [0, 3)",
    ],
  ];
  for (const [run, kind, message] of faults) assertThrows(run, kind, message);
});
