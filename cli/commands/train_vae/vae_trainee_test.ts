import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { expect } from "@std/expect";
import { loadSafetensors, SafetensorsFile, saveSafetensors } from "@dit/core/io";
import { defaultGenerator, init, manualSeed, memory, resetPeak } from "@dit/core/tensor";
import { AutoencoderKL } from "@dit/core/vae";
import type { Examples } from "@dit/data";
import { eachDevice } from "../../../tests/devices.ts";
import { numbers } from "../../../tests/numbers.ts";
import { diskTest } from "../../../tests/fixtures.ts";
import type { World } from "../../distributed/world.ts";
import { onRanks } from "../../distributed/world_test_util.ts";
import { openCheckpoint } from "../../run/checkpoint.ts";
import type { StepRecord } from "../../run/records.ts";
import {
  resumedVaeSettings,
  VAE_FLAGS,
  type VaeFlags,
  type VaeSettings,
  vaeSettings,
} from "./flags.ts";
import { VAE_KIND, VaeTrainee } from "./vae_trainee.ts";
import { loadTrainee, saveTrainee } from "../../run/saving.ts";
import { readSettings } from "../../shared/settings.ts";

const [SIDE, BATCH] = [8, 8];

function settings(changes: Partial<VaeSettings> = {}): VaeSettings {
  const usual = vaeSettings({
    "data": "pictures",
    "image-size": SIDE,
    "batch-size": BATCH,
    "channels": [8, 8],
    "steps": 20,
    "warmup": 0,
  });
  return { ...usual, ...changes };
}

/** Pictures of two colours each, the same for everyone. */
function batchOf(step: number): Examples {
  const next = numbers(step);
  const images = new Float32Array(BATCH * 3 * SIDE * SIDE);
  for (let plane = 0; plane < BATCH * 3; plane++) {
    const [left, right] = [next() * 1.8 - 0.9, next() * 1.8 - 0.9];
    for (let i = 0; i < SIDE * SIDE; i++) {
      images[plane * SIDE * SIDE + i] = i % SIDE < SIDE / 2 ? left : right;
    }
  }
  return { images, shape: [BATCH, 3, SIDE, SIDE], labels: new Int32Array(BATCH) };
}

async function go(run: VaeTrainee, steps: number): Promise<StepRecord[]> {
  for (let i = 0; i < steps; i++) await run.takeStep(batchOf(run.step));
  return await run.records.take();
}

async function weights(run: VaeTrainee): Promise<number[][]> {
  const all: number[][] = [];
  for (const [, p] of run.model.namedParameters()) all.push(Array.from(await p.data()));
  return all;
}

eachDevice("training an autoencoder lowers the loss and leaves nothing behind", async () => {
  using run = new VaeTrainee(settings({ steps: 10 }), null);
  for (let i = 0; i < 10; i++) await run.takeStep(batchOf(0));
  const records = await run.records.take();
  expect(records.at(-1)!.loss).toBeLessThan(0.9 * records[0]!.loss);
  assert(records.every(({ kl }) => kl! > 0));
  assertEquals(records[0]!.lr, 1e-3);
  expect(records.at(-1)!.lr).toBeLessThan(1e-4);
});

eachDevice("parts of a batch come to the loss and the gradient of the whole", async () => {
  const records: StepRecord[] = [];
  for (const gradAccum of [1, 4]) {
    using run = new VaeTrainee(settings({ gradAccum, klWeight: 1 }), null);
    records.push(...await go(run, 1));
  }
  const [whole, parts] = records;
  for (const name of ["loss", "kl", "gradNorm"] as const) {
    assertAlmostEquals(parts![name]! / whole![name]!, 1, 1e-4, name);
  }
}, ["wasm", "gpu"]);

/** The rows of a batch that one rank of two has. */
function shareOf({ images, shape: [count, ...shape], labels }: Examples, rank: number): Examples {
  const [half, size] = [count / 2, images.length / 2];
  return {
    images: images.slice(rank * size, (rank + 1) * size),
    shape: [half, ...shape],
    labels: labels.slice(rank * half, (rank + 1) * half),
  };
}

eachDevice("ranks come to the loss, divergence and gradient of one process", async () => {
  const records = async (world?: World): Promise<StepRecord[]> => {
    using run = new VaeTrainee(settings({ klWeight: 1 }), null, world);
    for (let i = 0; i < 3; i++) {
      const batch = batchOf(i);
      await run.takeStep(world ? shareOf(batch, world.rank) : batch);
    }
    return await run.records.take();
  };
  const alone = await records();
  for (const shared of await onRanks(2, records)) {
    shared.forEach((record, i) => {
      for (const name of ["loss", "kl", "mse", "gradNorm"] as const) {
        assertAlmostEquals(record[name]! / alone[i]![name]!, 1, 1e-4, `${name} of step ${i + 1}`);
      }
    });
  }
}, ["wasm"]);

eachDevice("mixed precision follows full precision in less memory", async (device) => {
  const results: { records: StepRecord[]; peak: number }[] = [];
  for (const mixedPrecision of ["no", "fp16"] as const) {
    using run = new VaeTrainee(settings({ mixedPrecision, klWeight: 0.1 }), null);
    await go(run, 1);
    resetPeak(device);
    const before = memory(device).liveBytes;
    const records = await go(run, 5);
    results.push({ records, peak: memory(device).peakBytes - before });
  }
  const [full, half] = results as [typeof results[0], typeof results[0]];
  half.records.forEach(({ loss, kl }, i) => {
    assertAlmostEquals(loss, full.records[i]!.loss, 0.02 * loss);
    assertAlmostEquals(kl!, full.records[i]!.kl!, 0.02 * kl!);
  });
  expect(half.peak).toBeLessThan(0.9 * full.peak);
}, ["wasm", "gpu"]);

eachDevice("steps whose gradients overflow are left out and counted", async () => {
  using run = new VaeTrainee(settings({ mixedPrecision: "fp16" }), null);
  await go(run, 1);
  const cells = { scale: 2 ** 100, streak: 0, skipped: 0 };
  run.scaler.loadStateDict(
    new Map(Object.entries(cells).map(([name, value]) => [name, { shape: [], data: [value] }])),
  );
  const before = await weights(run);
  const [record] = await go(run, 1);
  assertEquals(Number.isFinite(record!.gradNorm), false);
  assertEquals(await weights(run), before);
  assertEquals(await run.scaler.state(), { scale: 2 ** 99, streak: 0, skipped: 1 });
}, ["wasm"]);

const POSITION = { epoch: 0, step: 7 };

/** Resumes a run as the command does. */
async function resumed(path: string, flags: VaeFlags = {}): Promise<VaeTrainee> {
  using checkpoint = await openCheckpoint(path, VAE_KIND);
  const training = checkpoint.header.training!;
  const stored = readSettings(VAE_FLAGS, training.settings.values);
  const run = new VaeTrainee(resumedVaeSettings(stored, flags), null);
  assertEquals(await loadTrainee(run, checkpoint, training), POSITION);
  return run;
}

diskTest("a run in parts and half precision continues bit for bit", async (folder) => {
  await init({ device: "wasm" });
  const chosen = settings({ mixedPrecision: "fp16", gradAccum: 2 });
  using whole = new VaeTrainee(chosen, null);
  const expected = await go(whole, 12);
  const path = `${folder}/0000007.safetensors`;
  {
    using first = new VaeTrainee(chosen, null);
    await go(first, 7);
    await saveTrainee(path, first, { position: POSITION, state: await first.state() });
  }
  using second = await resumed(path);
  assertEquals(await go(second, 5), expected.slice(7));
  assertEquals(await weights(second), await weights(whole));
  assertEquals(await second.scaler.state(), await whole.scaler.state());
  expect((await whole.scaler.state()).streak).toBeGreaterThan(0);
});

diskTest(
  "a run from before there were folders of checkpoints continues bit for bit",
  async (folder) => {
    await init({ device: "wasm" });
    using whole = new VaeTrainee(settings(), null);
    const expected = await go(whole, 12);
    const path = `${folder}/training.safetensors`;
    {
      using first = new VaeTrainee(settings(), null);
      await go(first, 7);
      await saveTrainee(path, first, { position: POSITION, state: await first.state() });
    }
    // as it was written then
    let header: Record<string, unknown>;
    {
      using file = await SafetensorsFile.open(path);
      header = JSON.parse(file.metadata.get("header")!);
    }
    const { position, settings: kept, generators, emaUpdates } = header["training"] as {
      [name: string]: Record<string, unknown>;
    };
    const later = ["gradAccum", "mixedPrecision", "strict", "keep", "sampleEvery"];
    const former = Object.entries(kept!).filter(([name]) => !later.includes(name));
    const state = {
      step: header["step"],
      settings: Object.fromEntries(former),
      position,
      noise: generators!["noise"],
      emaUpdates,
    };
    const tensors = [...await loadSafetensors(path)].filter(([name]) =>
      !name.startsWith("scaler.")
    );
    await saveSafetensors(path, new Map(tensors), [
      ["format", "dit autoencoder training"],
      ["state", JSON.stringify(state)],
    ]);

    using second = await resumed(path, { strict: true });
    assertEquals(second.settings, settings({ strict: true }));
    assertEquals(await go(second, 5), expected.slice(7));
    assertEquals(await weights(second), await weights(whole));
  },
);

Deno.test("building an autoencoder leaves the draws of others alone", async () => {
  await init({ device: "wasm" });
  const generator = manualSeed(3);
  using one = new VaeTrainee(settings(), null);
  assertEquals(generator.offset, 0);
  assertEquals(defaultGenerator(), generator);
  manualSeed(0);
  // the weights of a seed are those of before
  using two = new AutoencoderKL(one.model.options);
  const first = async (m: AutoencoderKL) => Array.from(await m.encoder.convIn.weight.data());
  assertEquals(await first(one.model), await first(two));
});
