/**
 * Whole models at their full size on the WebAssembly device: a guided step of DiT-XL/2, an image
 * through the VAE's decoder, and training steps beside PyTorch's in the same run.
 */
import {
  AutoencoderKL,
  createDiT,
  type DiT,
  Generator,
  init,
  memory,
  mul,
  nn,
  noGrad,
  randn,
  resetPeak,
  scope,
  shutdown,
  type Tensor,
  tensor,
} from "@dit/core";
import { text } from "../cli/shared/flags.ts";
import type { SuiteOptions } from "./main.ts";
import type { Report, Row } from "./measure.ts";
import { findTorch } from "./models/torch.ts";
import { MODEL_JOBS, TINY_JOB, trainingSteps } from "./models/training.ts";

/** It starts Python. */
export const permissions = ["--allow-run"];

/** What is trained. */
export const flags = {
  "model": text(
    "MODEL,...",
    `those to train, of ${MODEL_JOBS.map(({ model }) => model).join(", ")}`,
  ),
};

/** What can be measured alone. */
export const parts = ["training", "inference"];

/** Runs the suite. */
export async function run(report: Report, { tiny, only, given = {} }: SuiteOptions): Promise<void> {
  const device = await init({ device: "wasm" });
  report.note("device", device.backend.description);
  console.log(device.backend.description);
  const isWanted = (part: string) => only?.includes(part) ?? true;
  // first, while memory is small: what was taken once is not given back
  if (isWanted("training")) {
    const models = (given["model"] as string | undefined)?.split(",");
    const jobs = MODEL_JOBS.filter(({ model }) => models?.includes(model) ?? true);
    const python = await findTorch();
    if (python === null) console.log("\nno PyTorch here: its figures are left out");
    await trainingSteps(report, device, tiny ? [TINY_JOB] : jobs, python, tiny);
  }
  if (isWanted("inference") && tiny) console.log("\ninference has no miniature: it is left out");
  else if (isWanted("inference")) {
    report.add("DiT-XL/2, 256x256, two latents guided", [guidedStep("f16"), guidedStep("f32")]);
    report.add("AutoencoderKL, one image", [decoding(256), decoding(512, 256)]);
  }
  await shutdown(device);
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
