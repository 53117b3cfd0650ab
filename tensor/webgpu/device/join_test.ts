import { assert, assertEquals, assertThrows } from "@std/assert";
import type { View } from "../../view.ts";
import { DeviceLostError } from "../../errors.ts";
import { program } from "../../expr.ts";
import { createWebGpuBackend, type WebGpuBackend } from "../backend.ts";
import { CountingGpu } from "../counting_gpu_test_util.ts";
import { matmul } from "../kernels/matmul.ts";
import { PLAIN_CODE, type TileName } from "../kernels/product_plan.ts";
import { gpuTest } from "./device_test_util.ts";

type Matmul = Parameters<typeof matmul>[1];

/** A matrix of numbers that look random, or of NaN. */
function matrix(b: WebGpuBackend, rows: number, columns: number, seed: number | null): View {
  let state = seed ?? 0;
  const data = Float32Array.from({ length: rows * columns }, () => {
    if (seed === null) return NaN;
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 23 - 1;
  });
  const buffer = b.alloc(data.byteLength, "test");
  b.write(buffer, 0, data);
  const shape = [1, 1, rows, columns];
  return { buffer, dtype: "f32", offset: 0, shape, strides: [0, 0, columns, 1] };
}

/** The same with rows and columns exchanged. */
function transposed(view: View): View {
  const [, , rows, columns] = view.shape as [number, number, number, number];
  return { ...view, shape: [1, 1, columns, rows], strides: [0, 0, 1, columns] };
}

async function bitsOf(b: WebGpuBackend, { buffer, shape }: View): Promise<Uint32Array> {
  const length = shape.reduce((product, size) => product * size, 1);
  return new Uint32Array((await b.read(buffer, "f32", 0, length) as Float32Array).buffer);
}

/** Kernels launched by `run`. */
function launches(b: WebGpuBackend, run: () => void): string[] {
  const keys: string[] = [];
  b.runtime.onDispatch = ({ key }) => keys.push(key);
  try {
    run();
  } finally {
    b.runtime.onDispatch = null;
  }
  return keys;
}

const NOTHING_ELSE = { bias: null, activation: "none", pre: null, accumulate: false } as const;
const SLOPE = program(
  "join test slope",
  [{ kind: "input", ty: "f32" }, { kind: "input", ty: "f32" }],
  (g, x) => g!.mul(x!.max(0)),
);

/** Sizes of a linear layer: its rows are no whole tile, and of one side there are more tiles. */
const [ROWS, INPUTS, OUTPUTS] = [150, 76, 140];

/** What the gradients of a layer x W^T are made of, through an activation that was before it. */
function layer(b: WebGpuBackend) {
  const [x, w, g] = [
    matrix(b, ROWS, INPUTS, 1),
    matrix(b, OUTPUTS, INPUTS, 2),
    matrix(b, ROWS, OUTPUTS, 3),
  ];
  const results = () => ({
    dx: matrix(b, ROWS, INPUTS, null),
    dw: matrix(b, OUTPUTS, INPUTS, null),
    sums: { ...matrix(b, 1, OUTPUTS, null), shape: [1, 1, OUTPUTS], strides: [0, 0, 1] },
  });
  type Results = ReturnType<typeof results>;
  const ofInput = ({ dx }: Results): Matmul => ({
    ...NOTHING_ELSE,
    a: g,
    b: w,
    combine: SLOPE,
    operand: x,
    out: dx,
  });
  const ofWeights = ({ dw, sums }: Results): Matmul => ({
    ...NOTHING_ELSE,
    a: transposed(g),
    b: x,
    activationB: "silu",
    out: dw,
    sums,
  });
  return { x, w, g, results, ofInput, ofWeights };
}

const PLANS: readonly (readonly [input: TileName, weights: TileName, splits: number])[] = [
  ["large", "medium", 2],
  ["small", "square", 1],
];

gpuTest(
  "gradients of a layer that share a launch have the bits that they have alone",
  async (b) => {
    const { results, ofInput, ofWeights } = layer(b);
    for (const [input, weights, splits] of PLANS) {
      const run = (
        to: ReturnType<typeof results>,
        isWeightsFirst: boolean,
        between: () => void,
      ) => {
        const products = [
          () => {
            const plan = { tile: input, splits: 1, code: PLAIN_CODE };
            matmul(b.runtime, ofInput(to), "test", { plan });
          },
          () => {
            const plan = { tile: weights, splits, code: PLAIN_CODE };
            matmul(b.runtime, ofWeights(to), "test", { plan });
          },
        ];
        if (isWeightsFirst) products.reverse();
        products[0]!();
        between();
        products[1]!();
      };
      const apart = results();
      const alone = launches(b, () => run(apart, false, () => b.runtime.settle()));
      assertEquals(alone.filter((key) => key.includes("+")), []);
      // A split product ends with a launch that adds its parts, with which the other shares none.
      for (const isWeightsFirst of splits === 1 ? [false, true] : [false]) {
        const shared = results();
        const together = launches(b, () => run(shared, isWeightsFirst, () => {}));
        assertEquals(together.filter((key) => key.includes("+")).length, 1, together.join());
        assertEquals(together.length, alone.length - 1);
        for (const name of ["dx", "dw", "sums"] as const) {
          const want = await bitsOf(b, apart[name]);
          assert(want.every((bits) => (bits & 0x7fffffff) <= 0x7f800000), "what was there is left");
          assertEquals(await bitsOf(b, shared[name]), want, `${name} ${input} ${weights}`);
        }
      }
    }
  },
);

gpuTest("launches share no grid where one needs what the other writes, nor others", (b) => {
  const { g, w, results, ofInput, ofWeights } = layer(b);
  const plan = (tile: TileName) => ({ plan: { tile, splits: 1, code: PLAIN_CODE } });
  const countOf = (...products: [args: Matmul, tile: TileName][]): number =>
    launches(b, () => {
      for (const [args, tile] of products) matmul(b.runtime, args, "test", plan(tile));
    }).length;
  const [one, other] = [results(), results()];
  assertEquals(countOf([ofInput(one), "large"], [ofWeights(one), "large"]), 1);
  // three: the third waits for a fourth in vain
  assertEquals(
    countOf([ofInput(one), "large"], [ofWeights(one), "large"], [ofInput(other), "large"]),
    2,
  );
  assertEquals(countOf([ofInput(one), "large"], [ofWeights(one), "square"]), 2);
  const reader: Matmul = { ...NOTHING_ELSE, a: one.dx, b: transposed(w), out: other.dw };
  assertEquals(countOf([ofInput(one), "large"], [{ ...reader, out: g }, "large"]), 2);
  assertEquals(countOf([ofInput(one), "large"], [ofInput(one), "large"]), 2);
  const overwrites: Matmul = { ...ofWeights(one), out: w };
  assertEquals(countOf([ofInput(one), "large"], [overwrites, "large"]), 2);
});

gpuTest("a launch that waits for another is not lost, nor the memory that it reads", async (b) => {
  const { results, ofInput, ofWeights, g } = layer(b);
  const want = results();
  matmul(b.runtime, ofInput(want), "test");
  matmul(b.runtime, ofWeights(want), "test");
  const got = results();
  matmul(b.runtime, ofInput(got), "test");
  // what it reads changes, by the host, by a copy and by another owner
  const copy = matrix(b, ROWS, OUTPUTS, null);
  b.runtime.copy(g.buffer, 0, copy.buffer, 0, ROWS * OUTPUTS * 4);
  b.write(g.buffer, 0, new Float32Array(ROWS * OUTPUTS));
  assertEquals(await bitsOf(b, got.dx), await bitsOf(b, want.dx));
  b.write(
    g.buffer,
    0,
    await b.read(copy.buffer, "f32", 0, ROWS * OUTPUTS) as Float32Array<
      ArrayBuffer
    >,
  );
  matmul(b.runtime, ofWeights(got), "test");
  b.free(g.buffer);
  const next = b.alloc(ROWS * OUTPUTS * 4, "test");
  b.write(next, 0, new Float32Array(ROWS * OUTPUTS).fill(NaN));
  assertEquals(await bitsOf(b, got.dw), await bitsOf(b, want.dw));
});

gpuTest("a device that is told so lets no launches share a grid", (b) => {
  const { results, ofInput, ofWeights } = layer(b);
  const to = results();
  const keys = launches(b, () => {
    const plan = { tile: "large", splits: 1, code: PLAIN_CODE } as const;
    matmul(b.runtime, ofInput(to), "test", { plan });
    matmul(b.runtime, ofWeights(to), "test", { plan });
  });
  assertEquals(keys.length, 2);
}, { join: false });

Deno.test("launches share no grid where a workgroup has no memory for what both stage", async () => {
  // Of tiles of as many threads, one is twice as high as wide and the other twice as wide as high.
  for (const [bytes, count] of [[16384, 2], [32768, 1]] as const) {
    const gpu = new CountingGpu({ maxComputeWorkgroupStorageSize: bytes });
    const b = await createWebGpuBackend({}, gpu);
    const { results, ofInput, ofWeights } = layer(b);
    const to = results();
    const keys = launches(b, () => {
      const plan = (tile: TileName) => ({ plan: { tile, splits: 1, code: PLAIN_CODE } });
      matmul(b.runtime, ofInput(to), "test", plan("large"));
      matmul(b.runtime, ofWeights(to), "test", plan("broad"));
    });
    assertEquals(keys.length, count, `${bytes} bytes`);
    await b.dispose();
  }
});

Deno.test("launches share no grid where strides are too odd to tell whether one needs the other", async () => {
  const b = await createWebGpuBackend({}, new CountingGpu());
  const buffer = b.alloc(2 ** 24, "test");
  const view = (offset: number, shape: number[], strides: number[]): View => {
    return { buffer, dtype: "f32", offset, shape, strides };
  };
  // They share an element, which ten thousand steps do not find.
  const written = view(13_767, [1, 81, 56, 4], [0, 24_491, 6_673, 1]);
  const read = view(258_999, [1, 114, 16, 4], [0, 8_459, 8_293, 1]);
  const elementsOf = ({ offset, shape, strides }: View): Set<number> => {
    const places = (axis: number) => Array.from({ length: shape[axis]! }, (_, i) => i);
    return new Set(
      places(1).flatMap((i) =>
        places(2).flatMap((j) =>
          places(3).map((k) => offset + i * strides[1]! + j * strides[2]! + k)
        )
      ),
    );
  };
  assert(elementsOf(written).intersection(elementsOf(read)).size > 0);
  const batches = (view: View, batches: number): View => {
    const [, , rows, columns] = view.shape;
    return { ...view, shape: [1, batches, rows!, columns!] };
  };
  const [x, w, y] = [matrix(b, 56, 4, 1), matrix(b, 4, 4, 2), matrix(b, 114 * 16, 4, 3)];
  const plan = { plan: { tile: "small", splits: 1, code: PLAIN_CODE } } as const;
  const keys = launches(b, () => {
    matmul(
      b.runtime,
      { ...NOTHING_ELSE, a: batches(x, 81), b: batches(w, 81), out: written },
      "test",
      plan,
    );
    const out = { ...batches(y, 114), shape: [1, 114, 16, 4], strides: [0, 64, 4, 1] };
    matmul(b.runtime, { ...NOTHING_ELSE, a: read, b: batches(w, 114), out }, "test", plan);
  });
  assertEquals(keys.length, 2);
  await b.dispose();
});

Deno.test("memory that a waiting launch reads is given back where the device is gone", async () => {
  // so little is handed over at once that every launch is handed over before the next
  const b = await createWebGpuBackend({ submitSeconds: 1e-9 }, new CountingGpu());
  const { g, results, ofInput, ofWeights } = layer(b);
  const to = results();
  const plan = { plan: { tile: "small", splits: 1, code: PLAIN_CODE } } as const;
  matmul(b.runtime, ofInput(to), "test", plan);
  b.runtime.settle();
  matmul(b.runtime, ofWeights(to), "test", plan);
  b.runtime.faults.lose("the GPU was lost");
  assertThrows(() => matmul(b.runtime, ofWeights(to), "test", plan), DeviceLostError);
  b.free(g.buffer);
  await b.dispose();
});
