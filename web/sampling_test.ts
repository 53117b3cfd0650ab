import { assert, assertEquals, assertRejects } from "@std/assert";
import { mapSource } from "@dit/core/io";
import { ImageSampler, type ModelConfig } from "@dit/core/pipeline";
import { type Device, memory, setDevice } from "@dit/core/tensor";
import { makeGrid } from "@dit/data";
import { SMALL, smallLatents, smallWeights } from "../tests/commands.ts";
import { eachDevice } from "../tests/devices.ts";
import { describeModel } from "./model_info.ts";
import type { Picture, SampleRequest } from "./protocol.ts";
import { readSampleRequest } from "./read_request.ts";
import { samplePictures, type SamplingOptions } from "./sampling.ts";

const REQUEST: SampleRequest = {
  model: "small",
  pictures: [{ label: 1, seed: 5 }, { label: 4, seed: 2 ** 32 - 1 }],
  sampler: "dpm++",
  steps: 4,
  eta: 0,
  guidance: 2,
  interval: null,
};

async function samplerOf(device: Device, config: ModelConfig = SMALL): Promise<ImageSampler> {
  const source = mapSource(await smallWeights(config));
  setDevice(device);
  return await ImageSampler.load({ config, source }, null);
}

const OPTIONS: SamplingOptions = { signal: { aborted: false }, onStep() {} };

/** Red of each pixel. */
const red = ({ rgba }: Picture) => rgba.filter((_, i) => i % 4 === 0);

eachDevice(
  "a picture is the first that deno task sample draws of its seed and class",
  async (device) => {
    using sampler = await samplerOf(device);
    for (const choice of [{}, { sampler: "ddpm", interval: [0, 500] as const, steps: 3 }]) {
      const request = { ...REQUEST, ...choice };
      const pictures = await samplePictures(sampler, request, OPTIONS);
      for (const [i, { label, seed }] of request.pictures.entries()) {
        const { images, ...shape } = await sampler.sample(0, [label], {
          sampler: request.sampler as "ddpm",
          steps: request.steps,
          eta: 0,
          cfgScale: 2,
          cfgChannels: "all",
          cfgInterval: request.interval ?? undefined,
          seed,
          frames: 1,
        });
        const { pixels } = makeGrid(images, shape);
        assertEquals(Uint8Array.from(red(pictures[i]!)), pixels);
      }
    }
  },
  ["wasm"],
);

eachDevice("steps are told, with what every picture is taken to become", async (device) => {
  using sampler = await samplerOf(device);
  const held = memory(device).tensors;
  const pictures = Array.from({ length: 34 }, (_, seed) => ({ label: seed % 6, seed }));
  const told: Parameters<SamplingOptions["onStep"]>[] = [];
  const finished = await samplePictures(sampler, { ...REQUEST, pictures, steps: 2 }, {
    ...OPTIONS,
    previewEvery: 0,
    onStep: (...step) => told.push(step),
  });
  assertEquals(told.map(([step, steps]) => [step, steps]), [[1, 4], [2, 4], [3, 4], [4, 4]]);
  const previews = told.flatMap(([, , pictures]) => pictures ? [pictures] : []);
  assertEquals(previews.map(({ length }) => length), previews.map(() => 34));
  assert(red(previews[0]!.at(-1)!).every((x) => x === 128), "expected grey of what has not begun");
  assert(red(previews[0]![0]!).some((x) => x !== 128));
  assertEquals(
    finished.map(({ width, height, rgba }) => [width, height, rgba.length]),
    finished.map(() => [8, 8, 256]),
  );
  assertEquals(memory(device).tensors, held);
}, ["wasm"]);

eachDevice("a cancelled request ends within a step and leaves nothing behind", async (device) => {
  using sampler = await samplerOf(device);
  const held = memory(device).tensors;
  const cancel = new AbortController();
  const steps: number[] = [];
  const run = () =>
    samplePictures(sampler, { ...REQUEST, steps: 50 }, {
      signal: cancel.signal,
      onStep(step) {
        steps.push(step);
        if (step === 3) cancel.abort();
      },
    });
  const error = await assertRejects(run, DOMException, "cancelled");
  assertEquals([error.name, steps], ["AbortError", [1, 2, 3]]);
  await assertRejects(run, DOMException);
  assertEquals([steps.length, memory(device).tensors], [3, held]);
}, ["wasm"]);

eachDevice("latents without an autoencoder are seen in false colours", async (device) => {
  using sampler = await samplerOf(device, smallLatents({ inputSize: 8 }, "mse"));
  const [picture] = await samplePictures(sampler, { ...REQUEST, steps: 2 }, OPTIONS);
  assertEquals([picture!.width, picture!.rgba.length], [8, 256]);
}, ["wasm"]);

Deno.test("what the page is told of a model suits requests and samplers", () => {
  const facts = { id: "a", title: "A", parameters: 1, bytes: 2 };
  const info = describeModel(SMALL, facts);
  assertEquals(info.samplers.map(({ name }) => name), ["ddpm", "ddim", "dpm++", "heun", "euler"]);
  assertEquals([info.imageSize, info.channels, info.times.most], [8, 1, 999]);
  assertEquals(info.classNames, SMALL.classNames);
  const { usual: { sampler, steps, guidance, interval } } = info;
  const request = { ...REQUEST, model: "a", sampler, steps, guidance, interval };
  assertEquals(readSampleRequest(request, [info]), request);
  const flow = describeModel({
    ...smallLatents({}, "mse"),
    nullClass: null,
    diffusion: { ...SMALL.diffusion, process: "flow", objective: "v" },
  }, facts);
  assertEquals([flow.times.most, flow.channels, flow.canGuide, flow.usual.guidance], [
    1,
    3,
    false,
    1,
  ]);
  assertEquals(flow.samplers.map(({ name }) => name).includes("ddpm"), false);
  assert(flow.samplers.every(({ most }) => Number.isFinite(most)));
  assertEquals(flow.classNames[3], "class 3");
});
