/** Training on the smallest GPU that WebGPU allows: default limits, no optional feature. */
import { assert, assertEquals } from "@std/assert";
import { add, backward, mean, square, sub } from "../autograd/mod.ts";
import { createDiffusion } from "../diffusion/mod.ts";
import { DiT } from "../dit/mod.ts";
import { AdamW, clipGradNorm, Ema, type Module } from "../nn/mod.ts";
import {
  type Device,
  Generator,
  init,
  manualSeed,
  randn,
  scope,
  setDevice,
  shutdown,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import type { WebGpuBackend } from "../tensor/webgpu/backend.ts";
import { AutoencoderKL } from "../vae/mod.ts";
import { noWebGpu, scaledError } from "./devices.ts";

/** Loss and gradient norm of two steps with all that training uses, and the averaged weights. */
async function train(model: Module, loss: (generator: Generator) => Tensor): Promise<number[]> {
  using optimizer = new AdamW(model.namedParameters(), { lr: 1e-2, weightDecay: 0.1 });
  using ema = new Ema(model, { decay: 0.9 });
  const generator = new Generator(2);
  const read: Promise<number>[] = [];
  for (let step = 0; step < 2; step++) {
    using _ = scope();
    optimizer.zeroGrad();
    const value = loss(generator);
    backward(value);
    read.push(value.item(), clipGradNorm(optimizer, 1).item());
    optimizer.step();
    ema.update();
  }
  return await Promise.all(read);
}

async function trainDit(): Promise<number[]> {
  manualSeed(1);
  using model = new DiT({
    inputSize: 8,
    inChannels: 1,
    patchSize: 4,
    hiddenSize: 16,
    depth: 1,
    numHeads: 2,
    numClasses: 3,
    learnSigma: true,
  });
  const diffusion = createDiffusion();
  return await train(model, (generator) => {
    const x = randn([2, 1, 8, 8], { generator });
    const y = tensor([0, 2], [2], { dtype: "i32" });
    const { loss } = diffusion.trainingLosses(model, x, [10, 700], {
      modelKwargs: { y },
      generator,
    });
    return mean(loss);
  });
}

async function trainVae(): Promise<number[]> {
  manualSeed(1);
  using model = new AutoencoderKL({
    latentChannels: 2,
    blockOutChannels: [4],
    layersPerBlock: 1,
    normNumGroups: 2,
  });
  return await train(model, (generator) => {
    const x = randn([1, 3, 4, 4], { generator });
    const posterior = model.encode(x);
    const again = model.decode(posterior.sample({ generator }));
    return add(mean(square(sub(again, x))), mean(posterior.kl()));
  });
}

async function onDevice<T>(device: Device, run: () => Promise<T>): Promise<T> {
  setDevice(device);
  try {
    return await run();
  } finally {
    await shutdown(device);
  }
}

Deno.test({
  name: `models train on a GPU of the default limits as on the CPU${
    noWebGpu ? ` (${noWebGpu})` : ""
  }`,
  ignore: noWebGpu !== undefined,
  async fn() {
    const run = async () => [...await trainDit(), ...await trainVae()];
    const want = await onDevice(await init({ device: "wasm", wasm: { threads: 1 } }), run);
    const weakest = await init({ device: "webgpu", webgpu: { limits: "default" } });
    const { limits } = (weakest.backend as WebGpuBackend).runtime;
    assertEquals(limits.maxStorageBuffersPerShaderStage, 8);
    const got = await onDevice(weakest, run);
    for (const [i, value] of got.entries()) {
      assert(scaledError([value], [want[i]!]) < 1e-2, `${got} instead of ${want}`);
    }
  },
});
