/** What ops do with infinities and NaN: as PyTorch 1.13 does. */
import { assert, assertEquals } from "@std/assert";
import * as d from "../mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { eachDevice } from "./devices.ts";

const f = (...values: number[]): Tensor => d.tensor(values);

const SPECIAL = [NaN, Infinity, -Infinity, 0, -0, 1, -1, 3e38, -3e38, 100, -100, 0.5, 3];

/** What PyTorch 1.13 gives for {@link SPECIAL}, written with what JavaScript has. */
const NON_FINITE: Record<string, [op: (x: Tensor) => Tensor, want: (x: number) => number]> = {
  abs: [d.abs, Math.abs],
  neg: [d.neg, (x) => -x],
  square: [d.square, (x) => Math.fround(x * x)],
  sqrt: [d.sqrt, Math.sqrt],
  rsqrt: [d.rsqrt, (x) => 1 / Math.sqrt(x)],
  reciprocal: [d.reciprocal, (x) => 1 / x],
  exp: [d.exp, (x) => Math.fround(Math.exp(x))],
  log: [d.log, Math.log],
  tanh: [d.tanh, Math.tanh],
  sigmoid: [d.sigmoid, (x) => 1 / (1 + Math.exp(-x))],
  relu: [d.relu, (x) => x > 0 ? x : x === x ? 0 : NaN],
  silu: [d.silu, (x) => x / (1 + Math.exp(-x))],
  gelu: [d.gelu, (x) => Math.abs(x) > 9 ? (x > 0 ? x : x * 0) : NaN],
  clamp: [(x) => d.clamp(x, -2, 2), (x) => Math.min(2, Math.max(-2, x))],
  isNonFinite: [d.isNonFinite, (x) => Number.isFinite(x) ? 0 : 1],
};

/** Equal to five digits; numbers below the normal ones may be 0. */
const near = (got: number, want: number): boolean =>
  got === want || Math.abs(got - want) <= Math.max(1e-5 * Math.abs(want), 1.2e-38);

eachDevice("infinities and NaN go through functions as in PyTorch", async () => {
  for (const [name, [op, want]] of Object.entries(NON_FINITE)) {
    using _ = d.scope();
    const got = await op(f(...SPECIAL)).data();
    for (const [i, x] of SPECIAL.entries()) {
      const wanted = want(x);
      if (name === "gelu" && Math.abs(x) <= 9) continue; // the goldens have those
      const right = Object.is(got[i], wanted) || near(got[i]!, wanted);
      assert(right, `${name}(${x}): expected ${wanted} but got ${got[i]}`);
    }
  }
});

/** a^b in C, which PyTorch uses; JavaScript's differs where a is 1 or -1. */
const power = (a: number, b: number) =>
  a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : Math.fround(a ** b);

const PAIRS: Record<string, [(a: Tensor, b: Tensor) => Tensor, (a: number, b: number) => number]> =
  {
    add: [d.add, (a, b) => Math.fround(a + b)],
    sub: [d.sub, (a, b) => Math.fround(a - b)],
    mul: [d.mul, (a, b) => Math.fround(a * b)],
    div: [d.div, (a, b) => Math.fround(a / b)],
    maximum: [d.maximum, Math.max],
    minimum: [d.minimum, Math.min],
    pow: [d.pow, power],
    lt: [d.lt, (a, b) => Number(a < b)],
    le: [d.le, (a, b) => Number(a <= b)],
    gt: [d.gt, (a, b) => Number(a > b)],
    ge: [d.ge, (a, b) => Number(a >= b)],
    eq: [d.eq, (a, b) => Number(a === b)],
    ne: [d.ne, (a, b) => Number(a !== b)],
  };

eachDevice("pairs of infinities and NaN do as in PyTorch", async () => {
  for (const [name, [op, want]] of Object.entries(PAIRS)) {
    using _ = d.scope();
    const n = SPECIAL.length;
    const x = f(...SPECIAL.map(Math.fround));
    const got = await op(d.expand(d.reshape(x, [n, 1]), [n, n]), x).data();
    got.forEach((v: number, at: number) => {
      const [a, b] = [SPECIAL[Math.floor(at / n)]!, SPECIAL[at % n]!].map(Math.fround) as [
        number,
        number,
      ];
      const wanted = want(a, b);
      assert(
        Object.is(v, wanted) || near(v, wanted),
        `${name}(${a}, ${b}): expected ${wanted} but got ${v}`,
      );
    });
  }
});

eachDevice("NaN wins every reduction and shows in every norm and product", async () => {
  using _ = d.scope();
  const x = d.tensor([1, NaN, 3, 4, 5, 6], [2, 3]);
  const rows: Record<string, Tensor> = {
    sum: d.sum(x, 1),
    mean: d.mean(x, 1),
    max: d.max(x, 1),
    min: d.min(x, 1),
    variance: d.variance(x, 1),
    softmax: d.sum(d.softmax(x, 1), 1),
    logSoftmax: d.sum(d.logSoftmax(x, 1), 1),
    layerNorm: d.sum(d.layerNorm(x), 1),
    matmul: d.sum(d.matmul(x, d.ones([3, 2])), 1),
    linear: d.sum(d.linear(x, d.ones([2, 3])), 1),
    cumsum: d.sum(d.cumsum(x, 1), 1),
  };
  for (const [name, row] of Object.entries(rows)) {
    const [first, second] = await row.data();
    assert(Number.isNaN(first), `${name} of NaN is ${first}`);
    assert(Number.isFinite(second), `${name} beside NaN is ${second}`);
  }
  assertEquals(Array.from(await d.argmax(x, 1).data()), [1, 2]);
});
