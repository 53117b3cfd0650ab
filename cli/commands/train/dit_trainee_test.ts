import type { ModelConfig } from "@dit/core/pipeline";
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { expect } from "@std/expect";
import { init, memory, resetPeak, type Tensor } from "@dit/core/tensor";
import type { Examples } from "@dit/data";
import { eachDevice } from "../../../tests/devices.ts";
import { numbers } from "../../../tests/numbers.ts";
import { diskTest } from "../../../tests/fixtures.ts";
import { openWeights, weightLines } from "../../model/weights.ts";
import { CommandError } from "../../shared/errors.ts";
import { openCheckpoint } from "../../run/checkpoint.ts";
import { loadTrainee, saveTrainee } from "../../run/saving.ts";
import type { StepRecord } from "../../run/records.ts";
import { settingsOf, type TrainSettings } from "./settings.ts";
import { DIT_KIND, DiTTrainee } from "./dit_trainee.ts";

const CONFIG: ModelConfig = {
  name: "test",
  dit: {
    inputSize: 16,
    patchSize: 4,
    inChannels: 1,
    hiddenSize: 32,
    depth: 3,
    numHeads: 2,
    mlpRatio: 4,
    classDropoutProb: 0.1,
    numClasses: 3,
    learnSigma: false,
  },
  diffusion: {
    objective: "xstart",
    noiseSchedule: "linear",
    diffusionSteps: 1000,
    minSnrGamma: null,
  },
  latents: null,
  classNames: ["a", "b", "c"],
  nullClass: 3,
};

const STEPS = 20;
const BATCH = 8;

function trainee(settings: Partial<TrainSettings> = {}, config = CONFIG): DiTTrainee {
  const usual = settingsOf({ "global-batch-size": BATCH, "steps": STEPS });
  return new DiTTrainee(config, { ...usual, ...settings }, { steps: STEPS });
}

/** The same batches for everyone: a bright square whose place is its class. */
function batchOf(step: number): Examples {
  const next = numbers(step);
  const labels = Int32Array.from({ length: BATCH }, () => Math.floor(next() * 3));
  const images = new Float32Array(BATCH * 256);
  for (let i = 0; i < images.length; i++) {
    const [sample, column] = [Math.floor(i / 256), i % 16];
    images[i] = Math.floor(column / 6) === labels[sample] ? 0.9 : -0.9;
  }
  return { images, shape: [BATCH, 1, 16, 16], labels };
}

async function go(run: DiTTrainee, steps: number): Promise<StepRecord[]> {
  for (let i = 0; i < steps; i++) {
    await run.takeStep(batchOf(run.step));
    await run.afterStep();
  }
  return await run.records.take();
}

const losses = (records: readonly StepRecord[]) => records.map((r) => r.loss);

async function weights(run: DiTTrainee): Promise<number[][]> {
  const all: number[][] = [];
  for (const [, p] of run.model.namedParameters()) all.push(Array.from(await p.data()));
  return all;
}

eachDevice(
  "training lowers the loss, leaves nothing behind and reads nothing back",
  async (device) => {
    using run = trainee();
    const first = await go(run, 2);
    const before = memory(device).tensors;
    const rest = await go(run, STEPS - 2);
    assertEquals(memory(device).tensors, before);
    assertEquals(rest.map((r) => r.step), Array.from({ length: STEPS - 2 }, (_, i) => i + 3));
    expect(rest.at(-1)!.loss).toBeLessThan(0.8 * first[0]!.loss);
    assert(rest.every((r) => r.gradNorm > 0));
  },
);

eachDevice("a seed decides every bit of a run", async () => {
  const runs: number[][][] = [];
  for (const seed of [1, 1, 2]) {
    using run = trainee({ seed });
    await go(run, 3);
    runs.push(await weights(run));
  }
  assertEquals(runs[0], runs[1]);
  assert(JSON.stringify(runs[0]) !== JSON.stringify(runs[2]));
});

eachDevice("gradient checkpointing gives the same bits for less memory", async (device) => {
  const results: { losses: number[]; peak: number }[] = [];
  for (const gradCheckpoint of [false, true]) {
    using run = trainee({ gradCheckpoint });
    await go(run, 1);
    resetPeak(device);
    const before = memory(device).liveBytes;
    const records = await go(run, 3);
    results.push({ losses: losses(records), peak: memory(device).peakBytes - before });
  }
  assertEquals(results[1]!.losses, results[0]!.losses);
  expect(results[1]!.peak).toBeLessThan(0.7 * results[0]!.peak);
});

eachDevice("mixed precision follows full precision in less memory", async (device) => {
  const results: { losses: number[]; peak: number }[] = [];
  for (const mixedPrecision of ["no", "fp16"] as const) {
    using run = trainee({ mixedPrecision });
    await go(run, 1);
    resetPeak(device);
    const before = memory(device).liveBytes;
    const records = await go(run, 5);
    results.push({ losses: losses(records), peak: memory(device).peakBytes - before });
  }
  const [full, half] = results as [typeof results[0], typeof results[0]];
  half.losses.forEach((loss, i) => assertAlmostEquals(loss, full.losses[i]!, 0.01 * loss));
  expect(half.peak).toBeLessThan(0.9 * full.peak);
}, ["wasm", "gpu"]);

eachDevice("parts of a batch come to the gradient of the whole", async () => {
  const norms: number[] = [];
  for (const gradAccum of [1, 1, 4]) {
    using run = trainee({ gradAccum });
    // one draw for the whole batch or one a part: not the same noise, so the norms only resemble
    norms.push((await go(run, 1))[0]!.gradNorm);
  }
  assertEquals(norms[0], norms[1]);
  assertAlmostEquals(norms[2]! / norms[0]!, 1, 0.25);
}, ["wasm", "gpu"]);

eachDevice("steps whose gradients overflow are left out and counted", async () => {
  using run = trainee({ mixedPrecision: "fp16" });
  await go(run, 1);
  const state = new Map(
    [["scale", 2 ** 100], ["streak", 0], ["skipped", 0]].map(([name, value]) =>
      [name as string, { shape: [], data: [value as number] }] as const
    ),
  );
  run.scaler.loadStateDict(state);
  const before = await weights(run);
  const records = await go(run, 1);
  assert(!Number.isFinite(records[0]!.gradNorm));
  assertEquals(await weights(run), before);
  assertEquals(await run.scaler.state(), { scale: 2 ** 99, streak: 0, skipped: 1 });
}, ["wasm"]);

eachDevice("a NaN changes no weight and its source is named", async () => {
  using run = trainee();
  await go(run, 2);
  const before = await weights(run);
  const batch = batchOf(2);
  batch.images[5] = NaN;
  await run.takeStep(batch);
  const [record] = await run.records.take();
  assertEquals(record!.step, 3);
  assert(Number.isNaN(record!.loss));
  assertEquals(await weights(run), before);
  assertEquals(await run.findNonFinite(batch), "the batch");
  const named = new Map<string, Tensor>(run.model.namedParameters());
  const bias = named.get("blocks.1.attn.qkv.bias")!;
  run.model.loadStateDict(
    {
      "blocks.1.attn.qkv.bias": { shape: bias.shape, data: new Float32Array(bias.size).fill(NaN) },
    },
    { strict: false },
  );
  assertEquals(
    await run.findNonFinite(batchOf(2)),
    "the weight blocks.1.attn.qkv.bias",
  );
});

const FLOW: ModelConfig = {
  ...CONFIG,
  diffusion: { ...CONFIG.diffusion, process: "flow", objective: "v", timeShift: 2 },
};

for (
  const [timestepSampler, config] of [
    ["uniform", CONFIG],
    ["loss-second-moment", CONFIG],
    ["logit-normal", FLOW],
  ] as const
) {
  diskTest(`a run with ${timestepSampler} timesteps continues bit for bit`, async (folder) => {
    await init({ device: "wasm" });
    using whole = trainee({ timestepSampler, timeMean: -0.4, mixedPrecision: "fp16" }, config);
    const expected = losses(await go(whole, 17));
    const path = `${folder}/0000013.safetensors`;
    {
      using first = trainee({ timestepSampler, timeMean: -0.4, mixedPrecision: "fp16" }, config);
      await go(first, 13);
      await saveTrainee(path, first, {
        position: { epoch: 0, step: 13 },
        state: await first.state(),
      });
    }
    using checkpoint = await openCheckpoint(path, DIT_KIND);
    using second = trainee({ timestepSampler, timeMean: -0.4, mixedPrecision: "fp16" }, config);
    assertEquals(checkpoint.header.config, config);
    await loadTrainee(second, checkpoint, checkpoint.header.training!);
    assertEquals(losses(await go(second, 4)), expected.slice(13));
    assertEquals(await weights(second), await weights(whole));
    assertEquals(second.timesteps.state(), whole.timesteps.state());
    expect(whole.ema.step).toBeGreaterThan(0);
  });
}

eachDevice(
  "frozen weights keep their bits while others move, and slow ones move less",
  async () => {
    const moved = async (settings: Partial<TrainSettings>) => {
      using run = trainee({ lr: 1e-3, warmup: 0, ...settings });
      const before = await weights(run);
      await go(run, 2);
      const names = [...run.model.namedParameters()].map(([name]) => name);
      const after = await weights(run);
      return new Map(names.map((name, i) => [
        name,
        Math.max(...after[i]!.map((value, k) => Math.abs(value - before[i]![k]!))),
      ]));
    };
    const usual = await moved({});
    const frozen = await moved({ freeze: "blocks.1,t_embedder", lrScale: "blocks.2=0.1" });
    for (const [name, distance] of frozen) {
      if (/^(blocks\.1|t_embedder)\./.test(name)) assertEquals(distance, 0, name);
      else if (name.startsWith("blocks.2.adaLN")) {
        assert(distance < 0.2 * usual.get(name)!, name);
        assert(distance > 0, name);
      } else if (name.startsWith("final_layer.linear")) {
        assertEquals(
          distance,
          usual.get(name),
          name,
        );
      }
    }
  },
  ["wasm"],
);

diskTest(
  "several averages are kept, continue bit for bit, and one is chosen to sample from",
  async (folder) => {
    await init({ device: "wasm" });
    const settings = { emaDecay: "0.9,0.5,power0.1", emaWarmup: false, lr: 1e-3 };
    using whole = trainee(settings);
    await go(whole, 4);
    const path = `${folder}/0000002.safetensors`;
    {
      using first = trainee(settings);
      await go(first, 2);
      const position = { epoch: 0, step: 2 };
      await saveTrainee(path, first, { position, state: await first.state() });
    }
    using checkpoint = await openCheckpoint(path, DIT_KIND);
    using second = trainee(settings);
    await loadTrainee(second, checkpoint, checkpoint.header.training!);
    await go(second, 2);
    const bits = async (run: DiTTrainee) => {
      const found: Record<string, number[]> = {};
      for (const name of ["ema", "ema-0.5", "ema-power0.1"]) {
        const average = run.sections()[name]!.stateDict().get("final_layer.linear.bias")!;
        found[name] = Array.from(await (average as Tensor).data());
      }
      return found;
    };
    assertEquals(await bits(second), await bits(whole));
    assertEquals(new Set(Object.values(await bits(whole)).map(String)).size, 3);
    const chosen = async (set: string) => {
      using weights = await openWeights(path, set);
      const { note, average } = weights;
      const lines = weightLines(weights);
      return { note, average, lines, bias: await weights.source.read("final_layer.linear.bias") };
    };
    assertEquals((await chosen("ema")).bias, (await chosen("0.9")).bias);
    const [fast, power] = [await chosen("0.5"), await chosen("power0.1")];
    assert(String(fast.bias.data) !== String(power.bias.data));
    assertEquals(
      (await chosen("ema")).note?.slice(0, 50),
      "averaged over 2 steps with a decay of 0.9: half of",
    );
    const { note, lines } = await chosen("ema"); // --init has no --weights
    assertEquals(lines[1], `         ${note}; --weights model is without it`);
    const names = ["ema", ".50", "power.10", "model"];
    assertEquals(await Promise.all(names.map(async (set) => (await chosen(set)).average)), [
      "EMA 0.9",
      "EMA 0.5",
      "EMA power0.1",
      "weights not averaged",
    ]);
    assertEquals([fast.note, power.note, (await chosen("model")).note], [null, null, null]);
    await assertRejects(
      () => openWeights(path, "0.99"),
      CommandError,
      "expected weights 0.99 but it has 0.9, 0.5, power0.1, ema, model",
    );
    // a header that is damaged
    using damaged = trainee({ emaDecay: 0.9 });
    Object.assign(damaged.settings, { emaDecay: "0.9,none" });
    await saveTrainee(path, damaged, {
      position: { epoch: 0, step: 0 },
      state: await damaged.state(),
    });
    await assertRejects(() => openWeights(path), CommandError, "training.settings.emaDecay: expec");
  },
);
