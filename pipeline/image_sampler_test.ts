import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { detach } from "@dit/core/autograd";
import { FlowMatching } from "@dit/core/diffusion";
import { bytesSource, mapSource, SafetensorsFile } from "@dit/core/io";
import {
  buildModel,
  ConfigError,
  type Draw,
  ImageSampler,
  type ModelConfig,
  type SampleSettings,
} from "@dit/core/pipeline";
import {
  type Device,
  Generator,
  init,
  memory,
  scope,
  setDevice,
  type Tensor,
} from "@dit/core/tensor";
import { SMALL, smallWeights } from "../tests/commands.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import type { WasmBackend } from "../tensor/wasm/backend.ts";
import { UsageError } from "../cli/shared/errors.ts";
import { planLabels } from "../cli/commands/sample/flags.ts";
import { noiseOf } from "./draws.ts";

const SETTINGS: SampleSettings = {
  sampler: "dpm++",
  steps: 4,
  eta: 0,
  cfgScale: 2,
  cfgChannels: 3,
  cfgInterval: undefined,
  seed: 3,
  frames: 1,
};

async function samplerOf(device: Device, config: ModelConfig = SMALL): Promise<ImageSampler> {
  const source = mapSource(await smallWeights(config));
  setDevice(device);
  return await ImageSampler.load({ config, source }, null);
}

eachDevice(
  "weights of f16 are computed with in f16 where the device favours that",
  async (device) => {
    const source = mapSource(await smallWeights(SMALL));
    setDevice(device);
    using whole = await ImageSampler.load({ config: SMALL, source }, null);
    using half = await ImageSampler.load({ config: SMALL, source }, null, { dtype: "f16" });
    const draw = async (sampler: ImageSampler, favoursHalf: boolean) => {
      Object.defineProperty(device.backend, "favoursHalf", {
        value: favoursHalf,
        configurable: true,
      });
      try {
        return (await sampler.sample(0, [1, 2], SETTINGS)).images;
      } finally {
        delete (device.backend as { favoursHalf?: boolean }).favoursHalf;
      }
    };
    const wide = await draw(half, false);
    const narrow = await draw(half, true);
    assert(scaledError(narrow, wide) < 1e-2, `${scaledError(narrow, wide)}`);
    assert(narrow.some((x, i) => x !== wide[i]), "expected half precision to be seen");
    assertEquals(await draw(whole, true), await draw(whole, false));
  },
);

eachDevice("a sample's bits depend on its number, not on the batch", async (device) => {
  using sampler = await samplerOf(device);
  for (const choice of [{}, { sampler: "ddpm", cfgScale: 1 }] as const) {
    const settings = { ...SETTINGS, ...choice, steps: 2 };
    const labels = [0, 1, 2, 3, 4, 5, 0, 1];
    const { images } = await sampler.sample(0, labels, settings);
    const size = images.length / labels.length;
    for (const k of [0, 3, 7]) {
      const alone = await sampler.sample(k, [labels[k]!], settings);
      assertEquals(alone.images, images.slice(k * size, (k + 1) * size), `sample ${k}`);
    }
    assert(new Set(images).size > 100, "expected pictures that are not all alike");
  }
});

/** So wide that sums are long, and of sizes that are no multiples of anything. */
const SIZES: readonly Partial<ModelConfig["dit"]>[] = [
  { patchSize: 4, hiddenSize: 384, numHeads: 6, depth: 1 },
  { inputSize: 10, inChannels: 3, hiddenSize: 72, numHeads: 3, learnSigma: true },
];

eachDevice("on a CPU no bit depends on batch, threads, or the sizes of a model", async (device) => {
  assert(device.backend.isBatchInvariant);
  const backend = device.backend as WasmBackend;
  const { threads } = backend;
  for (const sizes of SIZES) {
    using sampler = await samplerOf(device, { ...SMALL, dit: { ...SMALL.dit, ...sizes } });
    const settings = { ...SETTINGS, sampler: "ddpm", steps: 2 } as const;
    const labels = [0, 1, 2, 3, 4, 5, 0, 1];
    const { images } = await sampler.sample(0, labels, settings);
    const size = images.length / labels.length;
    try {
      for (const [count, numbers] of [[1, [0, 5]], [2, [2, 7]], [3, [6, 1, 4]]] as const) {
        await backend.setThreads(count);
        const some = await sampler.sample(numbers, numbers.map((k) => labels[k]!), settings);
        for (const [i, k] of numbers.entries()) {
          const want = images.slice(k * size, (k + 1) * size);
          assertEquals(some.images.slice(i * size, (i + 1) * size), want, `sample ${k}`);
        }
      }
    } finally {
      await backend.setThreads(threads);
    }
  }
}, ["wasm"]);

eachDevice("what is predicted of pixels has limits, of latents it has none", async (device) => {
  // an untrained model that predicts noise leaves it in, which grows when it is scaled up
  const noisy = { ...SMALL, diffusion: { ...SMALL.diffusion, objective: "epsilon" } } as const;
  const dit = { ...SMALL.dit, inChannels: 4 };
  const latents = { vae: "mse", scalingFactor: 0.18215, downsample: 8 };
  const settings = { ...SETTINGS, sampler: "ddim", cfgScale: 1 } as const;
  const largest = async (config: ModelConfig): Promise<number> => {
    using sampler = await samplerOf(device, config);
    return (await sampler.sample(0, [1], settings)).images.reduce(
      (a, b) => Math.max(a, Math.abs(b)),
      0,
    );
  };
  assert(await largest(noisy) <= 1);
  assert(await largest({ ...noisy, dit, latents }) > 2);
});

eachDevice("every sampler, guidance, class and seed gives other pictures", async (device) => {
  using sampler = await samplerOf(device);
  const variants: Partial<SampleSettings & { label: number }>[] = [
    {},
    { label: 2 },
    { seed: 4 },
    { steps: 5 },
    { cfgScale: 1 },
    { cfgInterval: [0, 500] },
    { sampler: "ddpm" },
    { sampler: "ddim" },
    { sampler: "ddim", eta: 1 },
    { sampler: "heun" },
  ];
  const seen = new Map<string, string>();
  for (const { label = 1, ...settings } of variants) {
    const { images } = await sampler.sample(0, [label], { ...SETTINGS, ...settings });
    assert(images.every(Number.isFinite));
    const name = JSON.stringify({ label, ...settings });
    assertEquals(seen.get(String(images)), undefined, name);
    seen.set(String(images), name);
  }
}, ["wasm"]);

eachDevice("all channels are guided where that is asked for, three otherwise", async (device) => {
  const dit = { ...SMALL.dit, inChannels: 4 };
  const latents = { vae: "mse", scalingFactor: 0.18215, downsample: 8 };
  using sampler = await samplerOf(device, { ...SMALL, dit, latents });
  const three = await sampler.sample(0, [1], SETTINGS);
  const all = await sampler.sample(0, [1], { ...SETTINGS, cfgChannels: "all" });
  assertEquals(three.images.length, 3 * 64); // latents without an autoencoder are seen in colour
  assert(three.images.some((x, i) => x !== all.images[i]));
}, ["wasm"]);

eachDevice("frames of a sample end with the sample itself", async (device) => {
  using sampler = await samplerOf(device);
  const { images: alone } = await sampler.sample(0, [1, 2], SETTINGS);
  const steps: number[] = [];
  const frames = { ...SETTINGS, frames: 3 };
  const { images } = await sampler.sample(0, [1, 2], frames, (taken) => steps.push(taken));
  assertEquals(steps, [1, 2, 3, 4]);
  assertEquals(images.length, 3 * alone.length);
  assertEquals(images.slice(2 * 64, 3 * 64), alone.slice(0, 64));
  assertEquals(images.slice(5 * 64, 6 * 64), alone.slice(64));
  const more = await sampler.sample(0, [1, 2], { ...SETTINGS, frames: 9 }); // than steps
  assertEquals(more.images.length, 9 * alone.length);
  assertEquals(more.images.slice(8 * 64, 9 * 64), alone.slice(0, 64));
  assertEquals(more.images.slice(17 * 64), alone.slice(64));
  const held = memory(device).tensors;
  await sampler.sample(2, [3], SETTINGS);
  assertEquals(memory(device).tensors, held);
}, ["wasm"]);

eachDevice(
  "another process samples images as well, and a model in training stays so",
  async (device) => {
    setDevice(device);
    const { model } = buildModel(SMALL, { generator: new Generator(1) });
    using sampler = new ImageSampler(SMALL, { model, process: new FlowMatching() }, null);
    const { images } = await sampler.sample(0, [1, 2], SETTINGS);
    assert(images.every(Number.isFinite) && new Set(images).size > 50);
    assert(model.training);
    await assertRejects(() => sampler.sample(0, [1], { ...SETTINGS, sampler: "ddpm" }), RangeError);
    assert(model.training, "expected training mode after a failure too");
  },
  ["wasm"],
);

Deno.test("classes are gone through again and again, a column each", () => {
  const names = [["tench"], ["gold fish"], ["shark"]];
  assertEquals(planLabels({ n: 5, classes: "2,Gold-Fish" }, 3, names), {
    labels: [2, 1, 2, 1, 2],
    columns: 2,
  });
  assertEquals(planLabels({}, 3, names).labels.length, 12);
  assertEquals(planLabels({}, 1000, []).labels.slice(0, 3), [0, 100, 200]);
  assertEquals(planLabels({}, 1000, [], [7, 8, 9, 10, 11]), {
    labels: [7, 8, 9, 10, 11],
    columns: 4,
  });
  for (const wrong of ["3", "-1", "1.5", "", "1,,2", "whale"]) {
    assertThrows(() => planLabels({ classes: wrong }, 3, names), UsageError, "--classes: expected");
  }
});

Deno.test("the demo's checkpoint samples without a file system", async () => {
  await init({ device: "wasm" });
  const bytes = await Deno.readFile(new URL("../cli/demo/mnist.safetensors", import.meta.url));
  const file = await SafetensorsFile.from(bytesSource(bytes, "mnist.safetensors"));
  using sampler = await ImageSampler.fromCheckpoint(file);
  assertEquals(sampler.config.name, "DiT-Mini/4");
  const { images, height, width } = await sampler.sample(0, [7], { ...SETTINGS, steps: 2 });
  assertEquals([height, width, images.length], [32, 32, 32 * 32]);
  const other = await SafetensorsFile.from(bytesSource(emptySafetensors(), "other.safetensors"));
  await assertRejects(() => ImageSampler.fromCheckpoint(other), ConfigError, "found other weights");
});

/** A file of no tensors: the length of its header, and the header. */
function emptySafetensors(): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d);
}

eachDevice("a sample on the way to another seed or class ends at each of them", async (device) => {
  using sampler = await samplerOf(device);
  const pixels = async (settings: Partial<SampleSettings>, ...draws: Draw[]) => {
    using _ = scope();
    let last: Tensor | undefined;
    for await (const { sample } of sampler.steps(draws, { ...SETTINGS, steps: 3, ...settings })) {
      last = detach(sample);
    }
    const { images } = await sampler.images([last!]);
    const size = images.length / draws.length;
    return draws.map((_, i) => images.slice(i * size, (i + 1) * size));
  };
  for (const settings of [{}, { sampler: "ddpm" }, { sampler: "ddim", eta: 1 }] as const) {
    const seed = (amount: number): Draw => ({
      label: 1,
      seed: 5,
      towardsSeed: { seed: 8, amount },
    });
    const [own, half, other] = await pixels(settings, seed(0), seed(0.5), seed(1));
    const { images } = await sampler.sample(0, [1], {
      ...SETTINGS,
      steps: 3,
      ...settings,
      seed: 5,
    });
    const [plain] = await pixels(settings, { label: 1, seed: 8 });
    assertEquals([own, other], [images, plain]);
    assert(own!.some((x, i) => x !== half![i]) && other!.some((x, i) => x !== half![i]));
  }
  const label = (amount: number): Draw => ({
    label: 1,
    seed: 5,
    towardsLabel: { label: 4, amount },
  });
  for (const settings of [{}, { cfgScale: 1 }, { cfgInterval: [0, 500] as const }]) {
    const [own, half, other] = await pixels(settings, label(0), label(0.5), label(1));
    const plain = [1, 4].map((label): Draw => ({ label, seed: 5 }));
    const want = await pixels(settings, ...plain);
    assert(scaledError(own!, want[0]!) < 1e-5 && scaledError(other!, want[1]!) < 1e-5);
    assert(scaledError(half!, want[0]!) > 1e-3 && scaledError(half!, want[1]!) > 1e-3);
  }
}, ["wasm"]);

eachDevice("noise on the way to that of another seed is standard normal", async (device) => {
  setDevice(device);
  using _ = scope();
  for (const amount of [0.25, 0.5]) {
    const noise = noiseOf([
      { label: 0, seed: 1, towardsSeed: { seed: 2, amount } },
      { label: 0, seed: 1, towardsSeed: { seed: 1, amount } }, // stays where it is
      { label: 0, seed: 1 },
    ])(-1, [3, 1, 100, 100]);
    const data = Array.from(await noise.data());
    const [mixed, same, plain] = [0, 1, 2].map((i) => data.slice(i * 1e4, (i + 1) * 1e4));
    const mean = mixed!.reduce((a, b) => a + b) / 1e4;
    const variance = mixed!.reduce((a, b) => a + (b - mean) ** 2, 0) / 1e4;
    assert(Math.abs(mean) < 0.04 && Math.abs(variance - 1) < 0.06, `${mean}, ${variance}`);
    assertEquals(same, plain);
  }
}, ["wasm"]);

eachDevice(
  "sampling that is broken off leaves nothing behind, and the model as it was",
  async (device) => {
    using sampler = await samplerOf(device);
    sampler.model.train();
    const held = memory(device).tensors;
    const draws: Draw[] = [{ label: 1, seed: 2, towardsLabel: { label: 2, amount: 0.5 } }];
    for await (const { step } of sampler.steps(draws, SETTINGS)) {
      assert(!sampler.model.training);
      if (step === 1) break;
    }
    assertEquals(memory(device).tensors, held);
    assert(sampler.model.training);
  },
  ["wasm"],
);

eachDevice("samples that take an instant each let other tasks run all the same", async (device) => {
  using sampler = await samplerOf(device, {
    ...SMALL,
    dit: { ...SMALL.dit, hiddenSize: 8, numHeads: 1, depth: 1 },
  });
  let isLetThrough = false;
  setTimeout(() => isLetThrough = true);
  for (let calls = 0; !isLetThrough; calls++) {
    assert(calls < 10_000, "no task ran in between");
    await sampler.sample(calls, [0], { ...SETTINGS, steps: 2 });
  }
}, ["wasm"]);
