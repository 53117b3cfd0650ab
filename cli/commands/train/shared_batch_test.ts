/** Ranks that share batches come to what one process comes to. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { add, mul } from "@dit/core/autograd";
import type { ModelConfig } from "@dit/core/pipeline";
import { type Generator, randn, type Tensor } from "@dit/core/tensor";
import { BatchSampler, type Examples } from "@dit/data";
import { eachDevice } from "../../../tests/devices.ts";
import { numbers } from "../../../tests/numbers.ts";
import { onRanks } from "../../distributed/world_test_util.ts";
import { ALONE, type World } from "../../distributed/world.ts";
import type { Scaled, StepRecord } from "../../run/records.ts";
import { DiTTrainee } from "./dit_trainee.ts";
import { settingsOf, type TrainSettings } from "./settings.ts";

const CONFIG: ModelConfig = {
  name: "test",
  dit: {
    inputSize: 8,
    patchSize: 4,
    inChannels: 1,
    hiddenSize: 32,
    depth: 2,
    numHeads: 2,
    mlpRatio: 4,
    classDropoutProb: 0.4,
    numClasses: 3,
    learnSigma: false,
  },
  diffusion: {
    objective: "xstart",
    noiseSchedule: "linear",
    diffusionSteps: 20,
    minSnrGamma: null,
  },
  latents: null,
  classNames: ["a", "b", "c"],
  nullClass: 3,
};

const BATCH = 16;
const SIZE = 64;

/** Example number `index`. */
function example(index: number): { pixels: Float32Array; label: number } {
  const next = numbers(index + 1);
  const label = index % 3;
  return {
    pixels: Float32Array.from({ length: 64 }, () => 0.5 * (next() - 0.5) + label / 2),
    label,
  };
}

function read(indices: readonly number[]): Examples {
  const examples = indices.map(example);
  return {
    images: Float32Array.from(examples.flatMap(({ pixels }) => [...pixels])),
    shape: [indices.length, 1, 8, 8],
    labels: Int32Array.from(examples, ({ label }) => label),
  };
}

/** Makes one example, if it is there, more than half precision holds. */
function overflow({ images, labels }: Examples): void {
  const at = images.indexOf(read([5]).images[0]!);
  if (at >= 0) images.fill(1e6, at, at + images.length / labels.length);
}

/** Noise added to what the model sees, as latents are that are drawn for every batch. */
const input = (images: Tensor, generator: Generator) =>
  add(images, mul(randn(images.shape, { generator }), 0.1));

/** A scale of losses at which only what is infinite overflows. */
const SCALER = new Map(
  Object.entries({ scale: 1024, streak: 0, skipped: 0 }).map(([name, value]) =>
    [name, { shape: [], data: [value] }] as const
  ),
);

/** What a run came to. */
interface Result {
  readonly records: StepRecord[];
  readonly weights: number[];
  readonly state: Readonly<Record<string, unknown>>;
  readonly scaled: Scaled | null;
}

async function go(world: World, changed: Partial<TrainSettings>, steps: number): Promise<Result> {
  const usual = settingsOf({ "global-batch-size": BATCH, "steps": steps });
  const settings = { ...usual, warmup: 0, ...changed };
  using run = new DiTTrainee(CONFIG, settings, { steps, world, input });
  const isHalf = settings.mixedPrecision === "fp16";
  if (isHalf) run.scaler.loadStateDict(SCALER);
  const sampler = new BatchSampler({
    size: SIZE,
    batchSize: BATCH,
    parts: settings.gradAccum,
    rank: world.rank,
    world: world.size,
  });
  for (let i = 0; i < steps; i++) {
    const batch = read(sampler.next().indices);
    if (isHalf) overflow(batch);
    await run.takeStep(batch);
    await run.afterStep();
  }
  const weights: number[] = [];
  for (const [, p] of run.model.namedParameters()) weights.push(...await p.data());
  const [records, state] = [await run.records.take(), await run.state()];
  return { records, weights, state, scaled: await run.lossScale() };
}

/** Trains alone and together, and compares. */
async function compare(
  changed: Partial<TrainSettings>,
  steps: number,
  { sizes, tolerance = 2e-5 }: { sizes: readonly number[]; tolerance?: number },
): Promise<Result> {
  const alone = await go(ALONE, changed, steps);
  for (const size of sizes) {
    const all = await onRanks(size, (world) => go(world, changed, steps));
    for (const { records, weights, state, scaled } of all) {
      records.forEach((record, i) => {
        for (const name of ["loss", "gradNorm"] as const) {
          const [got, want] = [record[name], alone.records[i]![name]];
          if (!Number.isFinite(want)) assertEquals(Number.isFinite(got), false);
          else assertAlmostEquals(got, want, tolerance * want, `${name} of step ${i + 1}`);
        }
      });
      assertEquals(weights, all[0]!.weights);
      assertEquals(records, all[0]!.records);
      assertEquals(state, all[0]!.state);
      assertEquals(state.generators, alone.state.generators);
      assertEquals(scaled, alone.scaled);
    }
  }
  assert(alone.records.at(-1)!.loss < alone.records[0]!.loss);
  return alone;
}

eachDevice("2 and 4 ranks train as one process does", async () => {
  await compare({}, 5, { sizes: [2, 4] });
}, ["wasm"]);

eachDevice("2 and 4 ranks train alike with fp16, parts of batches and checkpointing", async () => {
  const settings = { mixedPrecision: "fp16", gradAccum: 2, gradCheckpoint: true } as const;
  // a difference of the last bit of a weight is one of a thousandth once it is rounded to half
  const { scaled } = await compare(settings, 8, { sizes: [2, 4], tolerance: 3e-4 });
  assertEquals(scaled, { scale: 256, skipped: 2 }); // once a pass
}, ["wasm"]);

eachDevice("ranks learn the losses of all times together", async () => {
  await compare({ timestepSampler: "loss-second-moment", gradAccum: 2 }, 12, { sizes: [2] });
}, ["wasm"]);

eachDevice("2 ranks train as one process does, by way of the host", async () => {
  await compare({ gradAccum: 2 }, 3, { sizes: [2] });
}, ["webgpu"]);
