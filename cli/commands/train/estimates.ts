/** Estimates of a run's time and memory, before it begins. */
import { matmul } from "@dit/core/autograd";
import { DIT_DEFAULTS, type DiTShape } from "@dit/core/dit";
import type { ModelConfig } from "@dit/core/pipeline";
import { type Device, Generator, OutOfMemoryError, randn, scope } from "@dit/core/tensor";
import type { World } from "../../distributed/world.ts";
import { deviceLimit } from "../../shared/device.ts";
import { bytesText } from "../../shared/progress.ts";
import type { TrainSettings } from "./settings.ts";

/** Seconds for which the device is timed at least, and how often: other programs disturb it. */
const TRIAL = 0.03;
const TRIALS = 5;

/** How much of the speed of one product a whole training step reaches (measured, both devices). */
const EFFICIENCY = 0.65;

/**
 * Floating-point operations of a training step on one image: three times those of a forward pass,
 * four where blocks are computed again.
 */
export function trainingFlops(dit: Readonly<DiTShape>, checkpoint: boolean): number {
  const { hiddenSize: d, depth, mlpRatio, patchSize, inChannels } = dit;
  const tokens = (dit.inputSize / patchSize) ** 2;
  const { conditioning, bottleneck } = { ...DIT_DEFAULTS, ...dit };
  const perToken = (4 + 2 * mlpRatio) * d * d + 2 * tokens * d; // qkv, out, MLP; scores, values
  const cross = conditioning === "crossAttention" ? tokens * 2 * d * d : 0; // queries, out
  const block = tokens * perToken + cross + vectorsOf(conditioning) * d * d;
  const patch = patchSize ** 2 * inChannels;
  const first = bottleneck > 0 ? bottleneck * (patch + d) : patch * d;
  const ends = tokens * (first + 2 * patch * d) + 3 * d * d;
  return 2 * (checkpoint ? 4 : 3) * (depth * block + ends);
}

/** Vectors by which adaLN tells a block the time and the class. */
function vectorsOf(conditioning: Required<DiTShape>["conditioning"]): number {
  return conditioning === "adaLN-Zero" ? 6 : conditioning === "adaLN" ? 4 : 0;
}

/** Seconds that a step takes, by the speed of one product of the model's shape on the device. */
export async function stepSeconds(
  device: Device,
  dit: Readonly<DiTShape>,
  settings: TrainSettings,
): Promise<number> {
  using _ = scope("trial");
  const tokens = (dit.inputSize / dit.patchSize) ** 2;
  const [rows, d] = [Math.min(2048, settings.batchSize * tokens), dit.hiddenSize];
  const generator = new Generator(0);
  const a = randn([rows, d], { generator, device });
  const b = randn([d, 4 * d], { generator, device });
  const product = async (times: number): Promise<number> => {
    const start = performance.now();
    let last;
    for (let i = 0; i < times; i++) {
      last?.dispose();
      last = matmul(a, b);
    }
    await last!.data();
    return (performance.now() - start) / 1000;
  };
  await product(1); // compiles the kernel
  let [times, seconds] = [1, await product(1)];
  while (seconds < TRIAL && times < 1 << 16) seconds = await product(times *= 4);
  for (let i = 0; i < TRIALS; i++) seconds = Math.min(seconds, await product(times));
  const flops = 2 * rows * d * 4 * d * times / seconds;
  const work = trainingFlops(dit, settings.gradCheckpoint) * settings.batchSize;
  return work / (flops * EFFICIENCY);
}

/** Weights of a model, without building it. */
export function parameterCount(dit: Readonly<DiTShape>): number {
  const { hiddenSize: d, depth, mlpRatio, patchSize, inChannels, numClasses } = dit;
  const linear = (from: number, to: number): number => (from + 1) * to;
  const wide = Math.floor(d * mlpRatio);
  const patch = patchSize ** 2 * inChannels;
  const { norm, mlp, qkNorm, conditioning, bottleneck, earlyHead } = {
    ...DIT_DEFAULTS,
    ...dit,
  };
  const ofNorm = (width: number): number => norm === "rmsNorm" ? width : 2 * width;
  const ofAdaptiveNorm = norm === "rmsNorm" ? d : 0;
  const vectors = vectorsOf(conditioning);
  const gated = Math.max(1, Math.floor(wide * 2 / 3));
  const block = linear(d, 3 * d) + linear(d, d) +
    (mlp === "swiglu"
      ? linear(d, 2 * gated) + linear(gated, d)
      : linear(d, wide) + linear(wide, d)) +
    (qkNorm ? 2 * ofNorm(d / dit.numHeads) : 0) +
    (vectors > 0 ? linear(d, vectors * d) + 2 * ofAdaptiveNorm : 2 * ofNorm(d)) +
    (conditioning === "crossAttention" ? 2 * linear(d, d) + linear(d, 2 * d) + ofNorm(d) : 0);
  const times = linear(256, d) + linear(d, d);
  const labels = (numClasses + (dit.classDropoutProb > 0 ? 1 : 0)) * d;
  const positions = (dit.inputSize / patchSize) ** 2 * d;
  const last = (vectors > 0 ? linear(d, 2 * d) + ofAdaptiveNorm : ofNorm(d)) +
    linear(d, patch * (dit.learnSigma ? 2 : 1));
  const first = bottleneck > 0 ? patch * bottleneck + linear(bottleneck, d) : linear(patch, d);
  return first + times + labels + positions + depth * block + (earlyHead > 0 ? 2 : 1) * last;
}

/** What a block keeps for backward of each token, in widths of a token (measured). */
const KEPT = { full: 18.5, half: 13 } as const;

/**
 * Bytes that tensors take: weights, gradients, both moments and the average, and what backward
 * needs of a forward pass.
 */
export function memoryEstimate(
  dit: Readonly<DiTShape>,
  settings: TrainSettings,
): number {
  const { hiddenSize, depth, mlpRatio, inputSize, patchSize } = dit;
  const images = settings.batchSize / settings.gradAccum;
  const token = images * (inputSize / patchSize) ** 2 * hiddenSize * 4; // bytes of all tokens
  const isHalf = settings.mixedPrecision === "fp16";
  const kept = KEPT[isHalf ? "half" : "full"] + 2 * (mlpRatio - 4);
  const activations = settings.gradCheckpoint
    ? token * (depth + 1.25 * kept)
    : token * (depth + 0.35) * kept;
  const weights = 5 * 4 + (isHalf ? 2 : 0); // bytes of each, with its f16 copy
  return weights * parameterCount(dit) + activations;
}

/** Settings of which the batch is what one rank has of it. */
export function shareOfBatch(settings: TrainSettings, { size }: World): TrainSettings {
  return { ...settings, batchSize: settings.batchSize / size };
}

/**
 * Refuses, before anything is made, what the device cannot hold.
 *
 * @throws {OutOfMemoryError} saying how much it would take, and how much there is.
 */
export function checkMemory(
  config: ModelConfig,
  settings: TrainSettings,
  device: Device,
  world: World,
): void {
  const bytes = memoryEstimate(config.dit, shareOfBatch(settings, world));
  const all = deviceLimit(device);
  if (all === null) return;
  const limit = device.name === "wasm" ? all / world.localSize : all; // the machine's own memory
  if (bytes <= limit) return;
  const each = world.size === 1 ? "" : " on each rank";
  throw new OutOfMemoryError(
    `${config.name} with batches of ${settings.batchSize} needs about ${bytesText(bytes)}${each} ` +
      `but ${device.name} can hold ${bytesText(limit)}`,
  );
}
