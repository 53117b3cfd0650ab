/** Training steps and forward passes on the CPU beside PyTorch's, in turns, and where the time goes. */
import {
  type Device,
  matmul,
  memory,
  noGrad,
  randn,
  resetPeak,
  scope,
  type Tensor,
  tensor,
} from "@dit/core";
import { copyInto } from "@dit/core/tensor";
import { batchFor, type Job, traineeOf } from "../gpu/jobs.ts";
import { measure, type Report, type Row } from "../measure.ts";
import { Torch, type TorchWork } from "./torch.ts";
import { type KernelWork, leastSeconds, profile, type Rates } from "./work.ts";

const plain = { precision: "f32", checkpointing: false } as const;

/** What is compared, the quickest first. */
export const MODEL_JOBS: readonly Job[] = [
  { model: "DiT-Mini/4", batch: 64, ...plain },
  { model: "DiT-S/4", batch: 8, ...plain },
  { model: "DiT-S/2", batch: 4, ...plain },
  { model: "DiT-B/4", batch: 8, ...plain },
];

/** In miniature. */
export const TINY_JOB: Job = { model: "DiT-Mini/4", batch: 2, ...plain };

/** Turns in which each is timed, after one that is not; more where steps are short. */
const LEAST_TURNS = 3, MOST_TURNS = 6;

/**
 * How often each is done in a turn, without a break, as training does it: after a pause, and others'
 * work, caches and clocks are not what they are within a run. As often as fits in `TURN_SECONDS`.
 */
const LEAST_TIMES = 2, MOST_TIMES = 5, TURN_SECONDS = 1;

/** Seconds of steps, ours, for which turns are taken. */
const SECONDS = 6;

/**
 * Time between two that are timed: threads go on looking for work for a while after their last, those
 * of OpenBLAS for some 25 ms, and would take the cores from whoever comes next.
 */
const PAUSE_MS = 250;

/** Numbers of the threads that PyTorch shares its own kernels among; OpenBLAS has its own. */
const TORCH_THREADS = [1, 2];

/**
 * Runs all jobs, each with its table of kernels.
 *
 * @param python One that has PyTorch; without it the engine's figures stand alone.
 */
export async function trainingSteps(
  report: Report,
  device: Device,
  jobs: readonly Job[],
  python: string | null,
  tiny = false,
): Promise<void> {
  const rows: Row[] = [];
  for (const job of jobs) {
    const { row, kernels } = await compared(job, device, python, tiny, report);
    rows.push({ model: job.model, batch: job.batch, ...row });
    report.add("training steps beside PyTorch's", rows);
    report.add(`kernels of a step of ${job.model}, batch ${job.batch}`, kernels);
  }
}

async function compared(
  job: Job,
  device: Device,
  python: string | null,
  tiny: boolean,
  report: Report,
): Promise<{ row: Row; kernels: Row[] }> {
  using trainee = traineeOf(job);
  const batch = batchFor(trainee, job.batch);
  const { inChannels, inputSize, patchSize, numClasses, learnSigma } = trainee.config.dit;
  const forward = forwardOf(trainee.model, batch);
  const step = async () => {
    await trainee.takeStep(batch);
  };
  /** Does it with every launch made, none replayed. */
  const made = (work: () => Promise<void>) => async () => {
    trainee.model.isCaptured = false;
    await work();
    trainee.model.isCaptured = true;
  };
  await using started = python === null ? null : await startTorch(python, {
    size: job.model.split("/")[0]!,
    patch: patchSize,
    batch: job.batch,
    side: inputSize,
    channels: inChannels,
    classes: numClasses,
    learnSigma,
  });
  if (started) report.note("PyTorch", started.version);
  for (let i = 0; i < 3; i++) await step(); // compiles, and records what is replayed
  const once = await fastest(step, 1);
  const between = (least: number, most: number, x: number) =>
    tiny ? 1 : Math.max(least, Math.min(most, Math.round(x)));
  const turns = between(LEAST_TURNS, MOST_TURNS, SECONDS / once);
  const times = between(LEAST_TIMES, MOST_TIMES, TURN_SECONDS / once);
  const torch = (work: TorchWork, threads: number) => () =>
    started!.torch.time(work, threads, times);
  const candidates: Record<string, () => Promise<number>> = {
    step: () => fastest(step, times),
    forward: () => fastest(forward, times),
  };
  for (const threads of python === null ? [] : TORCH_THREADS) {
    candidates[`torch step ${threads}`] = torch("step", threads);
    candidates[`torch forward ${threads}`] = torch("forward", threads);
  }
  const best = await inTurns(candidates, turns, tiny ? 0 : PAUSE_MS);
  // apart from the turns with PyTorch, which are of what users run
  const anew = await inTurns({ step: () => fastest(made(step), times) }, turns, 0);
  resetPeak(device);
  await step();
  const { peakBytes } = memory(device);
  // what is replayed is no kernel by itself
  const { kernels, seconds: profiled } = await profile(device.backend, made(step), turns);
  const { kernels: forwardKernels } = await profile(
    device.backend,
    made(() => Promise.resolve(forward())),
    turns,
  );
  const rates = await measureRates(!tiny);
  const leastOf = (of: readonly KernelWork[]) =>
    of.reduce((total, each) => total + leastSeconds(each, rates), 0);
  const least = leastOf(kernels), leastForward = leastOf(forwardKernels);
  const kernelSeconds = kernels.reduce((total, each) => total + each.seconds, 0);
  const ours = best.step!;
  const theirs = (work: TorchWork) =>
    Math.min(...TORCH_THREADS.map((n) => best[`torch ${work} ${n}`] ?? NaN));
  return {
    row: {
      "step, s": ours,
      "without replay, s": anew.step!,
      ...(python === null ? {} : {
        "PyTorch, s": theirs("step"),
        "ratio": ours / theirs("step"),
        "least ratio": least / theirs("step"),
      }),
      "forward, s": best.forward!,
      ...(python === null ? {} : {
        "PyTorch forward, s": theirs("forward"),
        "forward ratio": best.forward! / theirs("forward"),
        "least forward ratio": leastForward / theirs("forward"),
      }),
      "least, s": least,
      "of least": ours / least,
      "peak of tensors, GB": peakBytes / 1e9,
    },
    kernels: kernelRows(kernels, rates, profiled - kernelSeconds),
  };
}

async function startTorch(
  python: string,
  job: Parameters<typeof Torch.start>[1],
): Promise<{ torch: Torch; version: string } & AsyncDisposable> {
  const started = await Torch.start(python, job);
  return { ...started, [Symbol.asyncDispose]: () => started.torch[Symbol.asyncDispose]() };
}

/** A forward pass without gradients, of the batch that steps are taken with. */
function forwardOf(
  model: { forward(x: Tensor, t: Tensor, y: Tensor): Tensor },
  { images, shape, labels }: ReturnType<typeof batchFor>,
): () => void {
  return () => {
    using _ = scope("bench");
    const x = tensor(images as Float32Array, shape);
    const t = tensor(labels.map(() => 500), [shape[0]!], { dtype: "i32" });
    const y = tensor(labels, [shape[0]!], { dtype: "i32" });
    noGrad(() => void model.forward(x, t, y));
  };
}

/** Seconds that the fastest of `times` takes, one right after the other. */
async function fastest(work: () => void | Promise<void>, times: number): Promise<number> {
  let best = Infinity;
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    await work();
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return best;
}

/**
 * Runs each once without counting it, then all in turns, each after a pause; returns the shortest
 * time of each.
 */
async function inTurns(
  candidates: Readonly<Record<string, () => Promise<number>>>,
  turns: number,
  pauseMs: number,
): Promise<Record<string, number>> {
  const best: Record<string, number> = {};
  for (let turn = 0; turn <= turns; turn++) {
    for (const [name, work] of Object.entries(candidates)) {
      if (pauseMs > 0) await new Promise((resume) => setTimeout(resume, pauseMs));
      const taken = await work();
      if (turn > 0) best[name] = Math.min(best[name] ?? Infinity, taken);
    }
  }
  return best;
}

/** Measured anew for each model, since machines that are shared change. */
async function measureRates(isLong: boolean): Promise<Rates> {
  using _ = scope("bench");
  const size = isLong ? 1024 : 64;
  const options = { seconds: isLong ? 1 : 0, batchSeconds: 0 };
  const [a, b] = [randn([size, size]), randn([size, size])];
  const product = await measure(() => {
    using _ = scope("product");
    noGrad(() => void matmul(a, b));
  }, options);
  const length = isLong ? 2 ** 24 : 2 ** 10; // 64 MB, more than caches hold
  const [from, to] = [randn([length]), randn([length])];
  const copy = await measure(() => copyInto(from, to), options);
  return { product: 2 * size ** 3 / product.best, copy: 2 * 4 * length / copy.best };
}

function kernelRows(kernels: readonly KernelWork[], rates: Rates, host: number): Row[] {
  const all = kernels.reduce((total, each) => total + each.seconds, host);
  const rows: Row[] = kernels.filter(({ seconds }) => seconds > all / 500).map((each) => ({
    op: each.op,
    kernel: each.kernel,
    launches: each.launches,
    "ms": each.seconds * 1000,
    "%": 100 * each.seconds / all,
    "GFLOPS": each.flops > 0 ? each.flops / each.seconds / 1e9 : "",
    "GB/s": each.bytes / each.seconds / 1e9,
    "least, ms": leastSeconds(each, rates) * 1000,
  }));
  const shown = rows.reduce((total, row) => total + Number(row["ms"]), 0);
  rows.push(
    { op: "others", kernel: "", ms: (all - host) * 1000 - shown },
    { op: "the host, without replay", kernel: "", ms: host * 1000, "%": 100 * host / all },
    {
      op: "a large product",
      kernel: "matmul",
      "GFLOPS": rates.product / 1e9,
    },
    { op: "a copy", kernel: "elementwise", "GB/s": rates.copy / 1e9 },
  );
  return rows;
}
