/** Gradients at 0, at the ends of f32, at infinities and NaN: as PyTorch 1.13 gives them. */
import { assert } from "@std/assert";
import * as d from "../mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { eachDevice } from "./devices.ts";

const INF = Infinity;
/** By each operand at these points. */
type Case = [op: (...x: Tensor[]) => Tensor, at: number[][], want: number[][]];

const CASES: Record<string, Case> = {
  "x^0": [(x) => d.pow(x!, 0), [[0, 1, -2, INF, NaN]], [[0, 0, 0, 0, 0]]],
  "x^1": [(x) => d.pow(x!, 1), [[0, -2, INF]], [[1, 1, 1]]],
  "x^2": [(x) => d.pow(x!, 2), [[0, -2, INF]], [[0, -4, INF]]],
  "x^0.5": [(x) => d.pow(x!, 0.5), [[0, 4, -1, INF]], [[INF, 0.25, NaN, 0]]],
  "x^1.5": [(x) => d.pow(x!, 1.5), [[0, 4, -1]], [[0, 3, NaN]]],
  "x^-1": [(x) => d.pow(x!, -1), [[0, 2, INF]], [[-INF, -0.25, 0]]],
  "a^b": [
    (a, b) => d.pow(a!, b!),
    [[0, 0, 0, 0, -2, -2, 2, 1e20, 0], [0, 2, 0.5, -1, 2, 0, 0, 1, NaN]],
    [[0, 0, INF, -INF, -4, 0, 0, 1, NaN], [0, 0, 0, -INF, NaN, NaN, Math.LN2, 4.6051702e21, NaN]],
  ],
  "0^x": [(x) => d.pow(0, x!), [[0, 1, 2.5, -1, NaN]], [[0, 0, 0, -INF, NaN]]],
  "a/b": [
    (a, b) => d.div(a!, b!),
    [[1e20, 1e-25, 1e-20, 1, 0, 3e38, 1e20, 1], [1e20, 1e-23, 1e-20, 0, 0, 1e30, 1e-10, INF]],
    [
      [1e-20, 1e23, 1e20, INF, INF, 1e-30, 1e10, 0],
      [-1e-20, -1e21, -1e20, -INF, NaN, -3e-22, -INF, 0],
    ],
  ],
  "sqrt": [(x) => d.sqrt(x!), [[0, 1e-20, 4, -1, INF]], [[INF, 5e9, 0.25, NaN, 0]]],
  "rsqrt": [(x) => d.rsqrt(x!), [[0, 1e-20, 4, 1e20]], [[-INF, -5e29, -0.0625, -5e-31]]],
  "log": [(x) => d.log(x!), [[0, 1e-20, INF, NaN]], [[INF, 1e20, 0, NaN]]],
  "abs": [(x) => d.abs(x!), [[0, -0, 1e-20, -INF, NaN]], [[0, 0, 1, -1, 0]]],
  "exp": [(x) => d.exp(x!), [[1e4, -1e4, -INF, INF]], [[INF, 0, 0, INF]]],
  "tanh": [(x) => d.tanh(x!), [[1e4, -1e4, INF, -INF]], [[0, 0, 0, 0]]],
  "sigmoid": [(x) => d.sigmoid(x!), [[1e4, -1e4, INF, -INF]], [[0, 0, 0, 0]]],
  "silu": [(x) => d.silu(x!), [[1e4, -1e4, 3e38, -3e38]], [[1, 0, 1, 0]]],
  "gelu": [(x) => d.gelu(x!), [[1e4, -1e4, 1e20, -1e20]], [[1, 0, 1, 0]]],
  "geluTanh": [(x) => d.gelu(x!, "tanh"), [[1e4, -1e4]], [[1, 0]]],
  "erf": [(x) => d.erf(x!), [[1e4, -1e4, INF]], [[0, 0, 0]]],
  "sin": [(x) => d.sin(x!), [[5e6, 1e10, -1e20]], [[-0.2153249, 0.8731197, 0.7542593]]],
  "cos": [(x) => d.cos(x!), [[5e6, 1e10, -1e20]], [[0.9765425, 0.487506, 0.6565767]]],
  "relu": [(x) => d.relu(x!), [[0, -0, INF, -INF]], [[0, 0, 1, 0]]],
  "clamp": [(x) => d.clamp(x!, -2, 2), [[-2, 2, INF, -INF]], [[1, 1, 0, 0]]],
  "maximum": [
    (a, b) => d.maximum(a!, b!),
    [[0, 1, INF, -INF], [0, 2, INF, 3e38]],
    [[0.5, 0, 0.5, 0], [0.5, 1, 0.5, 1]],
  ],
  "logSoftmax": [
    (x) => d.slice(d.logSoftmax(x!, 0), 0, { end: 1 }),
    [[1e4, -1e4, 0]],
    [[0, 0, 0]],
  ],
  "variance of equal elements": [(x) => d.variance(x!), [[1e4, 1e4, 1e4]], [[0, 0, 0]]],
  "sqrt of a variance of 0": [(x) => d.sqrt(d.variance(x!)), [[1, 1]], [[NaN, NaN]]],
  "max of ties": [(x) => d.max(x!), [[INF, 1, INF]], [[0.5, 0, 0.5]]],
  "max of NaN": [(x) => d.max(x!), [[NaN, 1]], [[NaN, NaN]]],
  "mse of numbers whose square overflows": [
    (a, b) => d.mse(a!, b!),
    [[1e30, 0], [-1e30, 0]],
    [[2e30, 0], [-2e30, 0]],
  ],
};

const near = (got: number, want: number): boolean =>
  Object.is(got, want) || got === want ||
  Math.abs(got - want) <= Math.max(2e-6 * Math.abs(want), 1.2e-38);

eachDevice("gradients at the ends of f32 are PyTorch's", async () => {
  for (const [name, [op, at, want]] of Object.entries(CASES)) {
    using _ = d.scope();
    const x = at.map((values) => new d.Parameter(d.tensor(values)));
    const grads = d.gradients(d.sum(op(...x)), x);
    for (const [i, grad] of grads.entries()) {
      const got = await grad.data();
      want[i]!.forEach((wanted, k) => {
        const where = at.map((values) => values[k]).join(", ");
        assert(
          near(got[k]!, wanted),
          `${name} at (${where}): expected ${wanted} by operand ${i} but got ${got[k]}`,
        );
      });
    }
  }
});

eachDevice(
  "attention and its gradients are PyTorch's whatever the size of the scores",
  async () => {
    for (const size of [1, 1e4, 3.3e9, 1.234e10, 1e12, 1e30]) {
      using _ = d.scope();
      const parameter = (values: number[]) =>
        new d.Parameter(d.tensor(values, [1, 1, values.length / 4, 4]));
      const q = parameter([1, 0, 0, 0]);
      const k = parameter([-1e3 * size, 0, 0, 0, 2 * size, 0, 0, 0, 2 * size, 0, 0, 0]);
      const v = parameter([9, 9, 9, 9, 1, 1, 1, 1, 5, 1, 2, 2]);
      for (
        const [name, out] of [
          ["attention", d.attention(q, k, v)],
          ["attention of a negative scale", d.attention(d.neg(q), k, v, { scale: -0.5 })],
        ] as const
      ) {
        const grads = d.gradients(out, [k, v], d.tensor([1, 2, 3, 4], out.shape));
        const got = await Promise.all([out, ...grads].map((t) => t.data()));
        const want = [
          [3, 1, 1.5, 1.5],
          [0, 0, 0, 0, -1.375, 0, 0, 0, 1.375, 0, 0, 0],
          [0, 0, 0, 0, 0.5, 1, 1.5, 2, 0.5, 1, 1.5, 2],
        ];
        for (const [i, values] of want.entries()) {
          const right = values.every((value, at) => near(got[i]![at]!, value));
          assert(right, `${name} of scores of ${size}: expected ${values} but got ${got[i]}`);
        }
      }
    }
  },
);

eachDevice("an embedding adds up a hundred thousand gradients of a row", async () => {
  using _ = d.scope();
  const count = 100_000;
  const table = new d.Parameter(d.zeros([2, 1]));
  const index = d.tensor(new Int32Array(count).fill(1));
  d.backward(d.sum(d.mul(d.embedding(table, index), 0.1)));
  const [none, all] = await table.grad!.data();
  assert(none === 0 && Math.abs(all! / (0.1 * count) - 1) < 3e-5, `got ${none} and ${all}`);
}, ["reference", "wasm", "webgpu"]);
