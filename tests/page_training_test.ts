/** What a page trains is what the command trains: the same steps, from the same data. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { loadSafetensors, SafetensorsFile } from "@dit/core/io";
import { ImageSampler, type ModelConfig } from "@dit/core/pipeline";
import { scope } from "@dit/core/tensor";
import { BatchSampler, ImageArray, Loader } from "@dit/data";
import {
  packImages,
  readTrainingPlan,
  trainingSettingsOf,
  trainModel,
  unpackImages,
} from "@dit/web";
import { DiTTrainee } from "../cli/commands/train/dit_trainee.ts";
import { parseFlags } from "../cli/shared/flags.ts";
import { TRAIN_FLAGS } from "../cli/commands/train/flags.ts";
import { modelConfigOf, settingsOf } from "../cli/commands/train/settings.ts";
import type { TrainingEvent } from "../web/trainer.ts";
import { eachDevice } from "./devices.ts";
import { numbers } from "./numbers.ts";

const next = numbers(3);
const images = new ImageArray({
  pixels: Uint8Array.from({ length: 40 * 8 * 8 }, () => Math.floor(next() * 256)),
  labels: Int32Array.from({ length: 40 }, (_, i) => i % 3),
  classNames: ["a", "b", "c"],
  channels: 1,
  height: 8,
  width: 8,
});

/** The model and the settings that the command would have for these images. */
function recipe(steps: number): { config: ModelConfig; settings: ReturnType<typeof settingsOf> } {
  const line = `--batch-size 8 --hidden-size 32 --depth 2 --num-heads 2 --steps ${steps} ` +
    "--sample-steps 3 --warmup 2";
  const flags = parseFlags(line.split(" "), TRAIN_FLAGS);
  const settings = settingsOf(flags);
  const { classNames } = images;
  const shape = { kind: "images", channels: 1, side: 8, imageSize: 8, classNames, latents: null };
  return { config: modelConfigOf(flags, settings, { ...shape, kind: "images" }), settings };
}

eachDevice("a page's training has the losses and the weights of the command's", async () => {
  const { config, settings } = recipe(4);
  const request = { steps: 4, batchSize: 8, learningRate: 1e-3, seed: 5, sampleEvery: 4 };

  const plan = readTrainingPlan(JSON.parse(JSON.stringify({
    title: "t",
    config,
    settings: trainingSettingsOf({ ...settings, steps: 4 }),
    data: "images.bin",
    bytes: 1,
  })));
  const events: TrainingEvent[] = [];
  // a warm-up of a tenth of the steps at most, as the command's without --warmup
  await trainModel(plan, images, request, (e) => events.push(e), { isStopped: () => false });
  const done = events.at(-1)!;
  assert(done.kind === "done");
  const losses = events.flatMap((e) => e.kind === "step" ? [e.loss] : []);
  assertEquals(events.map(({ kind }) => kind), [...losses.map(() => "step"), "samples", "done"]);
  const samples = events.at(-2)!;
  assert(samples.kind === "samples");
  assertEquals([...samples.labels], [0, 1, 2, 0, 1, 2]);
  assertEquals(samples.pictures.map(({ width, height }) => [width, height]), Array(6).fill([8, 8]));

  using trainee = new DiTTrainee(config, { ...settings, seed: 5, warmup: 0 }, { steps: 4 });
  const sampler = new BatchSampler({ size: images.size, batchSize: 8, seed: 5, flip: false });
  await using loader = new Loader(images, sampler);
  for (let step = 0; step < 4; step++) await trainee.takeStep(await loader.next());
  assertEquals(losses, (await trainee.records.take()).map(({ loss }) => loss));

  const weights = await loadSafetensors(done.weights);
  using _ = scope("averages");
  for (const [name, t] of trainee.ema.stateDict()) {
    const half = new Float16Array(await t.data());
    assertEquals(weights.get(`ema.${name}`)!.data, new Uint8Array(half.buffer), name);
  }
  assertEquals(done.model.bytes, done.weights.size);
  using drawn = await ImageSampler.fromCheckpoint(await SafetensorsFile.open(done.weights));
  assertEquals(drawn.config.classNames, ["a", "b", "c"]);
}, ["wasm", "gpu"]);

eachDevice("a page's training ends after the step at which it is stopped", async () => {
  const { config, settings } = recipe(50);
  const events: TrainingEvent[] = [];
  let steps = 0;
  await trainModel(
    { config, settings: trainingSettingsOf({ ...settings, steps: 50 }) },
    images,
    { steps: 50, batchSize: 4, learningRate: 1e-3, seed: 0, sampleEvery: 0 },
    (event) => events.push(event),
    { isStopped: () => ++steps > 3 },
  );
  assertEquals(events.filter(({ kind }) => kind === "step").length, 3);
  const done = events.at(-1)!;
  assert(done.kind === "done" && done.step === 3 && done.model.title.includes("step 3"));
}, ["wasm", "gpu"]);

Deno.test("training data come back as they were packed, and others are refused", async () => {
  const { config, settings } = recipe(4);
  const plan = { config, settings: { ...settings, steps: 4 } };
  const packed = await packImages(images);
  const unpacked = await unpackImages(packed, plan);
  const all = Array.from({ length: 40 }, (_, i) => i);
  assertEquals(await unpacked.read(all), await images.read(all));
  // as a server sends it that unpacks it itself
  const plain = await new Response(
    new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")),
  ).bytes();
  assertEquals((await unpackImages(plain, plan)).size, 40);
  const other = { ...plan, config: { ...config, dit: { ...config.dit, inputSize: 16 } } };
  await assertRejects(
    () => unpackImages(packed, other),
    Error,
    "expected images of the shape [40,16,16,1] but found [40,8,8,1]",
  );
});
