/**
 * The engine's figures: matrix products beside OpenBLAS where it is installed, memory-bound kernels
 * as shares of the copy bandwidth, convolution and attention beside the products they amount to,
 * the host's cost of a WebGPU dispatch, and what a warmed-up training step allocates.
 */
import {
  AdamW,
  attention,
  backward,
  conv2d,
  type Device,
  Generator,
  init,
  matmul,
  memory,
  mse,
  nn,
  noGrad,
  randn,
  scope,
  shutdown,
  type Tensor,
} from "@dit/core";
import { copyInto, dispatch, empty, evaluateInto, type Formula, unitInner } from "@dit/core/tensor";
import { compare, duration, type Report, type Row, type Timing, type Work } from "./measure.ts";

/** Runs the suite. */
export async function run(report: Report): Promise<void> {
  const wasm = await init({ device: "wasm" });
  console.log(wasm.backend.description);
  report.add("f32 matrix product, wasm", await products());
  report.add("memory-bound kernels, wasm, 16 MB arrays", await memoryBound(wasm));
  report.add("convolution and attention, wasm", await compound());
  report.add("training step, wasm", [await trainingStep(1000)]);
  await shutdown(wasm);
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) return console.log("\nno WebGPU adapter: its figures are left out");
  const gpu = await init({ device: "webgpu" });
  console.log(`\n${gpu.backend.description}`);
  report.add("dispatches, webgpu", [await dispatchCost(gpu)]);
  report.add("training step, webgpu", [await trainingStep(20)]);
  await shutdown(gpu);
}

const generator = new Generator(1);
const random = (...shape: number[]): Tensor => randn(shape, { generator });

/** Runs ops without a tape, and frees what they make. */
function timed(fn: () => void): Work {
  return () => {
    using _ = scope("bench");
    noGrad(fn);
  };
}

type Gemm = (m: number, n: number, k: number) => Work;

/** OpenBLAS through its C interface, or null where it is not installed. */
function openBlas(): Gemm | null {
  const symbols = {
    cblas_sgemm: {
      parameters: [
        "i32",
        "i32",
        "i32",
        "i32",
        "i32",
        "i32",
        "f32",
        "buffer",
        "i32",
        "buffer",
        "i32",
        "f32",
        "buffer",
        "i32",
      ],
      result: "void",
    },
  } as const;
  for (const name of ["libopenblas.so.0", "libopenblas.dylib", "libopenblas.dll"]) {
    try {
      const { cblas_sgemm } = Deno.dlopen(name, symbols).symbols;
      const [rowMajor, plain] = [101, 111];
      return (m, n, k) => {
        const [a, b, c] = [m * k, k * n, m * n].map((size) => {
          return new Float32Array(size).fill(0.5);
        }) as [Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>];
        return () => cblas_sgemm(rowMajor, plain, plain, m, n, k, 1, a, k, b, n, 0, c, n);
      };
    } catch {
      continue;
    }
  }
  return null;
}

const SHAPES = [
  [1024, 1024, 1024],
  [512, 1536, 384],
  [4096, 3072, 768],
  [16384, 384, 128],
] as const;

async function products(): Promise<Row[]> {
  const blas = openBlas();
  const rows: Row[] = [];
  for (const [m, n, k] of SHAPES) {
    using _ = scope("bench");
    const [a, b, bt, at] = [random(m, k), random(k, n), random(n, k), random(k, m)];
    const times = await compare({
      ours: timed(() => matmul(a, b)),
      transposedB: timed(() => matmul(a, bt, { transposeB: true })),
      transposedA: timed(() => matmul(at, b, { transposeA: true })),
      ...(blas ? { blas: blas(m, n, k) } : {}),
    } as Record<"ours" | "transposedB" | "transposedA" | "blas", Work>);
    const rate = (t: Timing | undefined) => t ? 2 * m * n * k / t.best / 1e9 : NaN;
    rows.push({
      "M x N x K": `${m} x ${n} x ${k}`,
      "GFLOPS": rate(times.ours),
      "b transposed": rate(times.transposedB),
      "a transposed": rate(times.transposedA),
      ...(blas
        ? { "OpenBLAS": rate(times.blas), "of OpenBLAS": times.blas.best / times.ours.best }
        : {}),
    });
  }
  return rows;
}

const ADD: Formula = { name: "bench:add", build: (a, b) => a!.add(b!) };
const ADAMW: Formula = {
  name: "bench:adamw",
  build: (p, g, m, v, b1, c1, b2, c2, size, inv, eps) => {
    const m1 = m!.mul(b1!).add(g!.mul(c1!));
    const v1 = v!.mul(b2!).add(g!.mul(g!).mul(c2!));
    return [p!.sub(m1.mul(size!).div(v1.sqrt().mul(inv!).add(eps!))), m1, v1];
  },
};
const GELU: Formula = {
  name: "bench:gelu",
  build: (x) => x!.mul(x!.mul(x!).mul(0.0713548).add(1.5957691).mul(x!).sigmoid()),
};

async function memoryBound(device: Device): Promise<Row[]> {
  using _ = scope("bench");
  const size = 2 ** 22; // 16 MB of f32
  const [x, y, out] = [random(size), random(size), random(size)];
  const [p, g, m, v] = [random(size), random(size), random(size), random(size)];
  evaluateInto("bench", { name: "bench:square", build: (a) => a!.mul(a!) }, [v], [v]);
  const rowsOf = (t: Tensor, n: number) => {
    const count = Math.floor(size / n);
    return t.as([count, n], [n, 1]);
  };
  const [x256, out256] = [rowsOf(x, 256), rowsOf(out, 256)];
  const [x384, out384] = [x, out].map((t) => {
    const flat = rowsOf(t, 384);
    return flat.as([1, ...flat.shape], [0, ...flat.strides]);
  }) as [Tensor, Tensor];
  const stats = [0, 1].map(() => empty(device, "f32", [1, x384.shape[1]!], "bench"));
  const [weight, bias] = [unitInner(random(384), "bench"), unitInner(random(384), "bench")];
  const times = await compare({
    copy: () => copyInto(x, out),
    add: () => evaluateInto("bench", ADD, [x, y], [out]),
    adamw: () =>
      evaluateInto("bench", ADAMW, [p, g, m, v, 0.9, 0.1, 0.999, 1e-3, 1e-6, 1, 1e-8], [p, m, v]),
    gelu: () => evaluateInto("bench", GELU, [x], [out]),
    layerNorm: () =>
      dispatch("bench", "layerNorm", device, {
        x: x384,
        weight,
        bias,
        scale: null,
        shift: null,
        eps: 1e-6,
        centred: true,
        out: out384,
        mean: stats[0]!,
        rstd: stats[1]!,
      }),
    softmax: () => dispatch("bench", "softmax", device, { x: x256, out: out256, log: false }),
  });
  const arrays = { copy: 2, add: 3, adamw: 7, gelu: 2, layerNorm: 2, softmax: 2 };
  const names = Object.keys(arrays) as (keyof typeof arrays)[];
  const bandwidth = (name: keyof typeof arrays, t: number) => arrays[name] * size * 4 / t / 1e9;
  const copied = bandwidth("copy", times.copy.median);
  return names.map((name) => ({
    kernel: name,
    "GB/s": bandwidth(name, times[name].median),
    "of copy": bandwidth(name, times[name].median) / copied,
  }));
}

async function compound(): Promise<Row[]> {
  const rows: Row[] = [];
  const add = (name: string, flops: number, ours: Timing, product: Timing) =>
    rows.push({
      kernel: name,
      "GFLOPS": flops / ours.best / 1e9,
      "product": flops / product.best / 1e9,
      "of product": product.best / ours.best,
    });
  for (const [c, side] of [[128, 64], [256, 32], [512, 32]] as const) {
    using _ = scope("bench");
    const [x, w] = [random(1, c, side, side), random(c, c, 3, 3)];
    const [a, b] = [random(c, 9 * c), random(9 * c, side * side)];
    const times = await compare({
      conv: timed(() => conv2d(x, w, null, { padding: 1 })),
      product: timed(() => matmul(a, b)),
    });
    const flops = 2 * c * 9 * c * side * side;
    add(`conv 3x3, ${c} to ${c}, ${side}x${side}`, flops, times.conv, times.product);
  }
  for (const [batch, heads, t, d] of [[8, 6, 256, 64], [2, 16, 256, 72]] as const) {
    using _ = scope("bench");
    const [q, k, v] = [0, 1, 2].map(() => random(batch, heads, t, d)) as [Tensor, Tensor, Tensor];
    const scores = random(batch, heads, t, t);
    const times = await compare({
      attention: timed(() => attention(q, k, v)),
      product: timed(() => {
        matmul(q, k, { transposeB: true });
        matmul(scores, v);
      }),
    });
    const flops = 4 * batch * heads * t * t * d;
    add(`attention, ${batch}x${heads} heads, ${t}x${d}`, flops, times.attention, times.product);
  }
  return rows;
}

/** A small transformer block, trained again and again on the same batch. */
async function trainingStep(steps: number): Promise<Row> {
  using _ = scope("bench");
  const [x, y] = [random(4, 16, 32), random(4, 16, 32)];
  const block = [new nn.LayerNorm(32), new nn.Attention(32, 4), new nn.Mlp(32, 64)] as const;
  const model = new nn.Sequential(...block);
  using optimizer = new AdamW(model.namedParameters());
  const step = () => {
    using _ = scope("step");
    const loss = mse(model.forward(x), y);
    backward(loss);
    optimizer.step();
    optimizer.zeroGrad();
  };
  step();
  step();
  const before = memory();
  const start = performance.now();
  for (let i = 0; i < steps; i++) step();
  await model.parameters()[0]!.data();
  const seconds = (performance.now() - start) / 1000;
  const after = memory();
  return {
    steps,
    "a step": duration(seconds / steps),
    "bytes more": after.liveBytes - before.liveBytes,
    "tensors more": after.tensors - before.tensors,
    "allocations more": after.allocations - before.allocations,
  };
}

/** What 1,000 dispatches in one pass cost the host. */
async function dispatchCost(device: Device): Promise<Row> {
  using _ = scope("bench");
  const pairs = Array.from({ length: 20 }, () => [random(64), random(64)] as const);
  const pass = () => {
    for (let i = 0; i < 1000; i++) {
      const [a, b] = pairs[i % pairs.length]!;
      evaluateInto("bench", ADD, [a, b], [b]);
    }
  };
  const encode: number[] = [];
  const whole: number[] = [];
  for (let i = 0; i < 12; i++) {
    const start = performance.now();
    pass();
    encode.push(performance.now() - start);
    device.backend.flush();
    whole.push(performance.now() - start);
    await device.backend.sync();
  }
  const median = (list: number[]) => list.slice(2).sort((a, b) => a - b)[5]!;
  return {
    "us a dispatch": median(encode),
    "with submit": median(whole),
  };
}
