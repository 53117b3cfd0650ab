/**
 * Whole models at their full size on the WebAssembly device: a guided step of DiT-XL/2, an image
 * through the VAE's decoder, and training steps beside PyTorch's on the same kind of machine.
 */
import {
  AdamW,
  AutoencoderKL,
  backward,
  createDiT,
  type DiT,
  Generator,
  init,
  mean,
  memory,
  mul,
  nn,
  noGrad,
  randn,
  resetPeak,
  scope,
  square,
  type Tensor,
  tensor,
} from "@dit/core";
import type { Report, Row } from "./measure.ts";

/** Runs the suite. */
export async function run(report: Report): Promise<void> {
  const device = await init({ device: "wasm" });
  console.log(device.backend.description);
  // f16 first: memory that was taken once is not given back
  report.add("DiT-XL/2, 256x256, two latents guided", [
    guidedStep("f16"),
    guidedStep("f32"),
  ]);
  report.add("AutoencoderKL, one image", [decoding(256), decoding(512, 256)]);
  report.add("training step, no checkpointing", [
    trainingStep("DiT-S/4", 8, 0.99),
    trainingStep("DiT-S/2", 4, 2.4),
    trainingStep("DiT-B/4", 8, 4.1),
  ]);
}

const generator = new Generator(1);

/** Draws every weight of a model made without them, one at a time. */
export function fill<M extends nn.Module>(model: M): M {
  for (const [name, { shape }] of model.namedParameters()) {
    using _ = scope("bench");
    model.loadStateDict({ [name]: mul(randn(shape, { generator }), 0.02) }, { strict: false });
  }
  return model;
}

const gigabytes = (bytes: number): number => bytes / 1e9;
const labels = (...y: number[]): Tensor => tensor(y, undefined, { dtype: "i32" });

/** The fastest of a few runs, in seconds: the work is long, and warm after the first. */
function fastest(runs: number, fn: () => void): number {
  let best = Infinity;
  for (let i = 0; i < runs; i++) {
    using _ = scope("bench");
    const start = performance.now();
    fn();
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return best;
}

/** Seconds of `fn` without gradients, and the most that tensors held. */
function used(model: nn.Module, runs: number, fn: () => Tensor): Row {
  resetPeak();
  return {
    seconds: fastest(runs, () => noGrad(fn)),
    "weights, GB": gigabytes(model.parameters().reduce((n, p) => n + p.bytes, 0)),
    "peak of tensors, GB": gigabytes(memory().peakBytes),
    "reserved, GB": gigabytes(memory().reservedBytes),
    "resident, GB": gigabytes(Deno.memoryUsage().rss),
  };
}

function guidedStep(dtype: "f16" | "f32"): Row {
  using model = fill(nn.withoutInit(() => createDiT("DiT-XL/2"), { dtype })).eval();
  using x = randn([2, 4, 32, 32], { generator });
  using t = labels(500, 500);
  using y = labels(207, 1000);
  const row = used(model, 3, () => model.forwardWithCfg(x, t, y, 4));
  return { weights: dtype, ...row, "GFLOPS": 2 * flops(model) / Number(row.seconds) / 1e9 };
}

/** Operations of one sample in the matrix products of the blocks, which is nearly all. */
function flops(model: DiT): number {
  const { depth, hiddenSize: d, mlpRatio, inputSize, patchSize } = model.options;
  const tokens = (inputSize / patchSize) ** 2;
  const linear = tokens * d * d * (4 + 2 * mlpRatio) + 6 * d * d; // and adaLN once a sample
  return 2 * depth * (linear + 2 * tokens * tokens * d);
}

function decoding(size: number, tile?: number): Row {
  using model = fill(nn.withoutInit(() => new AutoencoderKL())).eval();
  if (tile) model.tiling = { size: tile };
  using z = randn([1, 4, size / 8, size / 8], { generator });
  const row = used(model, tile ? 1 : 2, () => model.decode(z));
  return { pixels: size, tiles: tile ?? "none", ...row };
}

/** @param torch Seconds of PyTorch 1.13 with OpenBLAS on two cores of an EPYC. */
function trainingStep(name: string, batch: number, torch: number): Row {
  using model = createDiT(name);
  using optimizer = new AdamW(model.namedParameters(), { lr: 1e-4 });
  using x = randn([batch, 4, 32, 32], { generator });
  using t = labels(...Array.from({ length: batch }, (_, i) => i * 100));
  using y = labels(...Array.from({ length: batch }, (_, i) => i));
  const seconds = fastest(3, () => {
    optimizer.zeroGrad();
    backward(mean(square(model.forward(x, t, y))));
    optimizer.step();
  });
  return { model: name, batch, seconds, "PyTorch there, seconds": torch, ratio: seconds / torch };
}
