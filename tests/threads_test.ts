/** The wasm device gives the same bits on any number of threads. */
import { assertEquals } from "@std/assert";
import {
  add,
  attention,
  conv2d,
  cumsum,
  embedding,
  gradients,
  groupNorm,
  layerNorm,
  linear,
  logSoftmax,
  matmul,
  mean,
  mul,
  Parameter,
  permute,
  softmax,
  square,
  sum,
  transpose,
} from "../autograd/mod.ts";
import {
  Generator,
  init,
  randint,
  randn,
  scope,
  setNumThreads,
  type Shape,
  type Tensor,
} from "../tensor/mod.ts";
import { unreadable } from "./fixtures.ts";

/** Ops at sizes that are worth dividing, odd ones among them. */
const CALLS: Record<string, { shapes: Shape[]; call: (x: Tensor[]) => Tensor }> = {
  "elementwise with broadcasting": {
    shapes: [[257, 1, 129], [5, 1]],
    call: ([a, b]) => square(add(mul(a!, b!), b!)),
  },
  "sums of rows and columns": {
    shapes: [[513, 1027]],
    call: ([x]) => add(sum(square(x!), 0, { keepdim: true }), sum(x!, 1, { keepdim: true })),
  },
  "a sum of everything": { shapes: [[200_003]], call: ([x]) => mean(square(x!)) },
  "running sums": { shapes: [[65, 129, 33]], call: ([x]) => cumsum(x!, 1) },
  "a product": { shapes: [[193, 301], [301, 157]], call: ([a, b]) => matmul(a!, b!) },
  "a batch of transposed products": {
    shapes: [[7, 65, 33], [7, 65, 33]],
    call: ([a, b]) => matmul(a!, transpose(b!)),
  },
  "a linear layer": {
    shapes: [[3, 131, 96], [200, 96], [200]],
    call: ([x, w, b]) => linear(x!, w!, b!, { activation: "geluTanh" }),
  },
  "softmax": { shapes: [[301, 257]], call: ([x]) => softmax(x!, -1) },
  "logSoftmax along the first axis": { shapes: [[257, 101]], call: ([x]) => logSoftmax(x!, 0) },
  "layerNorm": {
    shapes: [[301, 193], [193], [193]],
    call: ([x, weight, bias]) => layerNorm(x!, { weight: weight!, bias: bias! }),
  },
  "groupNorm": {
    shapes: [[3, 24, 17, 19], [24], [24]],
    call: ([x, weight, bias]) => groupNorm(x!, 8, { weight: weight!, bias: bias!, silu: true }),
  },
  "conv2d": {
    shapes: [[2, 9, 33, 31], [21, 9, 3, 3], [21]],
    call: ([x, w, b]) => conv2d(x!, w!, b!, { padding: 1 }),
  },
  "attention": {
    shapes: [[2, 3, 65, 32], [2, 3, 97, 32], [2, 3, 97, 32]],
    call: ([q, k, v]) => attention(q!, k!, v!),
  },
  "embedding with repeated rows": {
    shapes: [[50, 65]],
    call: ([table]) => embedding(table!, randint(50, [1001], { generator: new Generator(2) })),
  },
  "a transposed copy": { shapes: [[65, 33, 129]], call: ([x]) => square(permute(x!, [2, 0, 1])) },
};

async function run({ shapes, call }: typeof CALLS[string]): Promise<Uint32Array[]> {
  using _ = scope();
  const generator = new Generator(1);
  const inputs = shapes.map((shape) => new Parameter(randn(shape, { generator })));
  const out = call(inputs);
  const upstream = randn(out.shape, { generator });
  const results = [out, ...gradients(out, inputs, upstream)];
  const data = await Promise.all(results.map((t) => t.data()));
  return data.map((a) => new Uint32Array(a.buffer, a.byteOffset, a.length));
}

Deno.test({
  name: `wasm: one thread, two and three give the same bits${unreadable ? ` (${unreadable})` : ""}`,
  ignore: unreadable !== undefined,
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async (t) => {
    const device = await init({ device: "wasm" });
    const threads = (device.backend as { threads?: number }).threads ?? 1;
    const wanted = new Map<string, Uint32Array[]>();
    await setNumThreads(1);
    for (const [name, one] of Object.entries(CALLS)) wanted.set(name, await run(one));
    for (const count of [2, 3]) {
      await setNumThreads(count);
      for (const [name, one] of Object.entries(CALLS)) {
        await t.step(`${name} on ${count}`, async () => {
          const got = await run(one);
          got.forEach((bits, i) => {
            const differs = bits.findIndex((word, k) => word !== wanted.get(name)![i]![k]);
            assertEquals(differs, -1, `result ${i} differs at ${differs}`);
          });
        });
      }
    }
    await setNumThreads(threads);
  },
});
