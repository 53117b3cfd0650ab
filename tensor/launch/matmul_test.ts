import { assert, assertEquals, assertThrows } from "@std/assert";
import { arange, tensor, zeros } from "../create.ts";
import { init } from "../device.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import { randn } from "../random.ts";
import { Generator } from "../random.ts";
import { scope } from "../scope.ts";
import { broadcastShapes, type Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { eachDevice, scaledError } from "../../tests/devices.ts";
import { permuted, reshaped } from "./layout.ts";
import { product } from "./matmul.ts";

const DEVICES = ["reference", "wasm", "webgpu"] as const;

/** The product by its definition, broadcasting batches. */
async function loops(a: Tensor, b: Tensor): Promise<number[]> {
  const batch = broadcastShapes("test", a.shape.slice(0, -2), b.shape.slice(0, -2));
  const [m, k] = a.shape.slice(-2) as [number, number];
  const n = b.shape.at(-1)!;
  const read = async (t: Tensor) => {
    const data = await t.data();
    const own = t.shape.slice(0, -2);
    const size = t.shape.at(-2)! * t.shape.at(-1)!;
    return (at: number, i: number) => {
      let [rest, place, step] = [at, 0, 1];
      for (let d = batch.length - 1; d >= 0; d--) {
        const j = d - (batch.length - own.length);
        if (j >= 0 && own[j] !== 1) place += (rest % batch[d]!) * step;
        if (j >= 0) step *= own[j]!;
        rest = Math.floor(rest / batch[d]!);
      }
      return data[place * size + i]!;
    };
  };
  const [x, y] = [await read(a), await read(b)];
  const out: number[] = [];
  for (let p = 0; p < batch.reduce((u, v) => u * v, 1); p++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let s = 0;
        for (let l = 0; l < k; l++) s += x(p, i * k + l) * y(p, l * n + j);
        out.push(s);
      }
    }
  }
  return out;
}

const pairs: [Shape, Shape][] = [
  [[3, 4], [4, 5]],
  [[2, 3, 4], [4, 5]],
  [[3, 4], [2, 4, 5]],
  [[2, 1, 3, 4], [3, 4, 2]],
  [[2, 3, 2, 3, 4], [2, 1, 2, 4, 2]], // three batch dimensions that do not merge
  [[1, 3, 4], [5, 4, 1]],
  [[2, 1, 1], [1, 1, 3]],
];
eachDevice("product() broadcasts batches of any number of dimensions", async () => {
  using _ = scope();
  const generator = new Generator(1);
  for (const [a, b] of pairs) {
    const [x, y] = [randn(a, { generator }), randn(b, { generator })];
    const { out } = product("op", x, y);
    const error = scaledError(await out.data(), await loops(x, y));
    assert(error < 1e-6, `[${a}] by [${b}] is off by ${error}`);
  }
}, DEVICES);

eachDevice("product() takes transposed and strided views", async () => {
  using _ = scope();
  const a = permuted(reshaped(arange(24), [4, 2, 3]), [1, 2, 0]); // [2, 3, 4]
  const b = permuted(reshaped(arange(40), [5, 4, 2]), [2, 1, 0]); // [2, 4, 5]
  const { out } = product("op", a, b);
  assertEquals(Array.from(await out.data()), await loops(a, b));
}, DEVICES);

eachDevice("product() adds a bias and gives the value before the activation", async () => {
  using _ = scope();
  const [a, b] = [tensor([1, -2], [1, 2]), tensor([1, 2, 3, 4], [2, 2])];
  const bias = tensor([10, 1]);
  const { out, pre } = product("op", a, b, { bias, activation: "relu", keepPre: true });
  assertEquals([Array.from(await out.data()), Array.from(await pre!.data())], [[5, 0], [5, -5]]);
  assertEquals(product("op", a, b, { bias }).pre, null);
  const apart = tensor([10, 7, 1]).as([2], [2]);
  assertEquals(Array.from(await product("op", a, b, { bias: apart }).out.data()), [5, -5]);
  const repeated = tensor([10, 7]).as([2], [0]);
  assertEquals(Array.from(await product("op", a, b, { bias: repeated }).out.data()), [5, 4]);
}, DEVICES);

eachDevice("product() of nothing is nothing, or the bias through the activation", async () => {
  using _ = scope();
  assertEquals(product("op", zeros([0, 3]), zeros([3, 2])).out.shape, [0, 2]);
  assertEquals(product("op", zeros([0, 2, 3]), zeros([3, 2])).out.shape, [0, 2, 2]);
  const { out } = product("op", zeros([2, 2, 0]), zeros([0, 2]));
  assertEquals([out.shape, Array.from(await out.data())], [[2, 2, 2], [0, 0, 0, 0, 0, 0, 0, 0]]);
  const options = { bias: tensor([3, -3]), activation: "relu", keepPre: true } as const;
  const biased = product("op", zeros([2, 0]), zeros([0, 2]), options);
  assertEquals(Array.from(await biased.out.data()), [3, 0, 3, 0]);
  assertEquals(Array.from(await biased.pre!.data()), [3, -3, 3, -3]);
}, DEVICES);

eachDevice(
  "product() takes weights of the other float type; the result is of the first's",
  async () => {
    using _ = scope();
    const half = { dtype: "f16" } as const;
    const [a, b] = [tensor([1, 2], [1, 2]), tensor([3, 4], [2, 1])];
    const [ha, hb] = [tensor([1, 2], [1, 2], half), tensor([3, 4], [2, 1], half)];
    for (const [x, y] of [[a, hb], [ha, b]] as const) {
      const { out } = product("op", x, y);
      assertEquals([out.dtype, Array.from(await out.data())], [x.dtype, [11]]);
    }
  },
  DEVICES,
);

Deno.test("product() names the shapes and types that do not fit", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  const [a, b] = [zeros([2, 3]), zeros([3, 4])];
  const whole = zeros([3, 4], { dtype: "i32" });
  const faults: [() => unknown, new (m: string) => Error, string][] = [
    [
      () => product("op", a, a),
      ShapeError,
      "op: expected [..., M, K] and [..., K, N] but got [2, 3]",
    ],
    [() => product("op", zeros([3]), b), ShapeError, "but got [3] and [3, 4]"],
    [() => product("op", zeros([2, 2, 3]), zeros([3, 3, 4])), ShapeError, "broadcast together"],
    [() => product("op", a, b, { bias: zeros([3]) }), ShapeError, "op: expected a bias of [4]"],
    [() => product("op", a, whole), DTypeError, "op: expected one floating-point dtype"],
  ];
  for (const [run, kind, message] of faults) assertThrows(run, kind, message);
});
