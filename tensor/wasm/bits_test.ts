/**
 * The kernels promise more than closeness to the reference: the same bits for any number of
 * threads, at sizes that are cut into blocks, panels and pieces.
 */
import { assertEquals } from "@std/assert";
import type { KernelArgs, KernelName } from "../kernels.ts";
import type { View } from "../view.ts";
import { contiguousStrides, sizeOf } from "../shape.ts";
import { createWasmBackend, type WasmBackend } from "./backend.ts";

/** Allocates arrays on a backend, inputs filled with a fixed sequence. */
class Arrays {
  readonly views: View[] = [];
  readonly outputs: View[] = [];
  #seed = 1;

  constructor(readonly backend: WasmBackend) {}

  input(...shape: number[]): View {
    const view = this.#make(shape);
    const data = new Float32Array(sizeOf(shape));
    for (let i = 0; i < data.length; i++) {
      this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) | 0;
      data[i] = this.#seed / 2 ** 31;
    }
    this.backend.write(view.buffer, 0, data);
    return view;
  }

  output(...shape: number[]): View {
    const view = this.#make(shape);
    this.outputs.push(view);
    return view;
  }

  #make(shape: number[]): View {
    const buffer = this.backend.alloc(sizeOf(shape) * 4, "test");
    const strides = contiguousStrides(shape);
    const view: View = { buffer, dtype: "f32", offset: 0, shape, strides };
    this.views.push(view);
    return view;
  }

  free(): void {
    for (const view of this.views) this.backend.free(view.buffer);
  }
}

/** The bits of a kernel's outputs, for each number of threads. */
async function bitsByThreads<K extends KernelName>(
  kernel: K,
  make: (arrays: Arrays) => KernelArgs[K],
): Promise<Uint32Array[][]> {
  const backend = await createWasmBackend({ threads: 1 });
  try {
    const results: Uint32Array[][] = [];
    for (const threads of [1, 2, 5]) {
      await backend.setThreads(threads);
      const arrays = new Arrays(backend);
      backend.run(kernel, make(arrays), "test");
      const bits: Uint32Array[] = [];
      for (const { buffer, shape } of arrays.outputs) {
        const data = await backend.read(buffer, "f32", 0, sizeOf(shape)) as Float32Array;
        bits.push(new Uint32Array(data.buffer as ArrayBuffer));
      }
      results.push(bits);
      arrays.free();
    }
    return results;
  } finally {
    await backend.dispose();
  }
}

function sameBits<K extends KernelName>(
  title: string,
  kernel: K,
  make: (arrays: Arrays) => KernelArgs[K],
): void {
  Deno.test(`${title} gives the same bits with 1, 2 and 5 threads`, async () => {
    const [one, ...others] = await bitsByThreads(kernel, make);
    for (const other of others) assertEquals(other, one);
  });
}

const plain = { bias: null, activation: "none", pre: null, accumulate: false } as const;

for (const [m, n, k] of [[301, 190, 800], [7, 500, 390], [500, 3, 1000]] as const) {
  sameBits(`matmul [${m}, ${k}] x [${k}, ${n}]`, "matmul", (arrays) => ({
    a: arrays.input(1, 1, m, k),
    b: arrays.input(1, 1, k, n),
    ...plain,
    out: arrays.output(1, 1, m, n),
  }));
}

Deno.test("a product has the same bits however its left operand lies", async () => {
  const [m, n, k] = [301, 70, 800]; // so many rows that B is packed
  const backend = await createWasmBackend({ threads: 2 });
  const arrays = new Arrays(backend);
  try {
    const a = arrays.input(1, 1, m, k), b = arrays.input(1, 1, k, n);
    const numbers = await backend.read(a.buffer, "f32", 0, m * k);
    /** A with its rows side by side, and what is no number between a step and the next. */
    const across = (stride: number): View => {
      const offset = 3;
      const data = new Float32Array(offset + k * stride).fill(NaN);
      for (let p = 0; p < k; p++) {
        for (let i = 0; i < m; i++) data[offset + p * stride + i] = numbers[i * k + p]!;
      }
      const buffer = backend.alloc(data.byteLength, "test");
      backend.write(buffer, 0, data);
      const view: View = { ...a, buffer, offset, strides: [0, 0, 1, stride] };
      arrays.views.push(view);
      return view;
    };
    const bits: Uint32Array[] = [];
    for (const left of [a, across(m), across(310), across(512), across(520), across(1024)]) {
      const out = arrays.output(1, 1, m, n);
      backend.run("matmul", { a: left, b, ...plain, out }, "test");
      const data = await backend.read(out.buffer, "f32", 0, m * n) as Float32Array;
      bits.push(new Uint32Array(data.buffer as ArrayBuffer));
    }
    for (const other of bits.slice(1)) assertEquals(other, bits[0]);
  } finally {
    arrays.free();
    await backend.dispose();
  }
});

Deno.test("rows of a product have the same bits in one of few rows", async () => {
  const [all, few, n, k] = [40, 13, 2100, 1000];
  const backend = await createWasmBackend({ threads: 2 });
  const arrays = new Arrays(backend);
  try {
    const a = arrays.input(1, 1, all, k), weights = arrays.input(1, 1, n, k);
    const b: View = { ...weights, shape: [1, 1, k, n], strides: [0, 0, 1, k] };
    const biases = arrays.input(n);
    for (const bias of [null, biases]) {
      const rowsOf = async (m: number): Promise<Uint32Array> => {
        const out = arrays.output(1, 1, m, n);
        backend.run("matmul", { a: { ...a, shape: [1, 1, m, k] }, b, ...plain, bias, out }, "test");
        const data = await backend.read(out.buffer, "f32", 0, few * n) as Float32Array;
        return new Uint32Array(data.buffer as ArrayBuffer);
      };
      assertEquals(await rowsOf(few), await rowsOf(all));
    }
  } finally {
    arrays.free();
    await backend.dispose();
  }
});

sameBits("a batch of matmul with bias and activation", "matmul", (arrays) => ({
  a: arrays.input(3, 1, 70, 50),
  b: arrays.input(3, 1, 50, 90),
  bias: arrays.input(90),
  activation: "gelu",
  pre: arrays.output(3, 1, 70, 90),
  out: arrays.output(3, 1, 70, 90),
  accumulate: false,
}));

Deno.test("no element of a product depends on its column's tile, nor on its bias's type", async () => {
  const backend = await createWasmBackend({ threads: 1 });
  try {
    // Products too small for float32, over more than one chain of k: every sum is -0.
    const [m, n, k] = [7, 25, 400];
    const filled = (
      shape: readonly number[],
      value: number,
      dtype: "f32" | "f16" = "f32",
    ): View => {
      const data =
        (dtype === "f32" ? new Float32Array(sizeOf(shape)) : new Float16Array(sizeOf(shape)))
          .fill(value);
      const buffer = backend.alloc(data.byteLength, "test");
      backend.write(buffer, 0, data);
      return { buffer, dtype, offset: 0, shape, strides: contiguousStrides(shape) };
    };
    for (const bias of [null, "f32", "f16"] as const) {
      const out = filled([1, 1, m, n], NaN);
      backend.run("matmul", {
        ...plain,
        a: filled([1, 1, m, k], 1e-30),
        b: filled([1, 1, k, n], -1e-30),
        bias: bias && filled([n], -0, bias),
        out,
      }, "test");
      const bits = await backend.read(out.buffer, "u32", 0, m * n);
      assertEquals(bits, new Uint32Array(m * n).fill(0x80000000), `bias ${bias}`);
    }
  } finally {
    await backend.dispose();
  }
});

for (const [heads, queries, keys] of [[1, 150, 1100], [3, 130, 130]] as const) {
  const title = `attention of ${heads} heads, ${queries} queries on ${keys} keys`;
  sameBits(title, "attention", (arrays) => ({
    q: arrays.input(1, heads, queries, 24),
    k: arrays.input(1, heads, keys, 24),
    v: arrays.input(1, heads, keys, 24),
    scale: 0.2,
    out: arrays.output(1, heads, queries, 24),
    stats: arrays.output(1, heads, queries, 2),
  }));
  sameBits(`the gradient of ${title}`, "attentionGrad", (arrays) => ({
    q: arrays.input(1, heads, queries, 24),
    k: arrays.input(1, heads, keys, 24),
    v: arrays.input(1, heads, keys, 24),
    out: arrays.input(1, heads, queries, 24),
    stats: arrays.input(1, heads, queries, 2),
    g: arrays.input(1, heads, queries, 24),
    scale: 0.2,
    dq: arrays.output(1, heads, queries, 24),
    dk: arrays.output(1, heads, keys, 24),
    dv: arrays.output(1, heads, keys, 24),
  }));
}

Deno.test("scores have no gradient where one key has all the weight", async () => {
  const backend = await createWasmBackend({ threads: 1 });
  try {
    for (const [keys, depth] of [[1, 32], [1, 23], [70, 64], [70, 7]] as const) {
      const arrays = new Arrays(backend);
      const queries = 75;
      const q = arrays.input(1, 2, queries, depth), k = arrays.input(1, 2, keys, depth);
      const v = arrays.input(1, 2, keys, depth), g = arrays.input(1, 2, queries, depth);
      const out = arrays.output(1, 2, queries, depth), stats = arrays.output(1, 2, queries, 2);
      const [dq, dk, dv] = [q, k, v].map(({ shape }) => arrays.output(...shape)) as [
        View,
        View,
        View,
      ];
      const scale = 1e9; // the others' exponentials are 0
      backend.run("attention", { q, k, v, scale, out, stats }, "test");
      backend.run("attentionGrad", { q, k, v, out, stats, g, scale, dq, dk, dv }, "test");
      for (const { buffer, shape } of [dq, dk]) {
        const found = await backend.read(buffer, "f32", 0, sizeOf(shape));
        assertEquals(found.findIndex((x) => x !== 0), -1, `${keys} keys of ${depth}`);
      }
      arrays.free();
    }
  } finally {
    await backend.dispose();
  }
});

sameBits("convolution", "conv2d", (arrays) => ({
  x: arrays.input(3, 20, 30, 34),
  w: arrays.input(40, 20, 3, 3),
  bias: arrays.input(40),
  stride: 1,
  padTop: 1,
  padLeft: 1,
  dilation: 1,
  out: arrays.output(3, 40, 30, 34),
}));

sameBits("the weight gradient of convolution", "conv2dGradWeight", (arrays) => ({
  x: arrays.input(3, 20, 30, 34),
  g: arrays.input(3, 40, 30, 34),
  stride: 1,
  padTop: 1,
  padLeft: 1,
  out: arrays.output(40, 20, 3, 3),
}));

sameBits("layer norm's gradient with a weight", "layerNormGrad", (arrays) => ({
  x: arrays.input(3, 300, 130),
  g: arrays.input(3, 300, 130),
  weight: arrays.input(130),
  scale: null,
  centred: true,
  mean: arrays.input(3, 300),
  rstd: arrays.input(3, 300),
  dx: arrays.output(3, 300, 130),
  dWeight: arrays.output(130),
  dBias: arrays.output(130),
  dScale: null,
  dShift: null,
}));

sameBits("group norm's gradient", "groupNormGrad", (arrays) => ({
  x: arrays.input(5, 12, 5000),
  g: arrays.input(5, 12, 5000),
  weight: arrays.input(12),
  bias: arrays.input(12),
  groups: 4,
  silu: true,
  mean: arrays.input(5, 4),
  rstd: arrays.input(5, 4),
  dx: arrays.output(5, 12, 5000),
  dWeight: arrays.output(12),
  dBias: arrays.output(12),
}));
