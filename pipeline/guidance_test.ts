/** Internal guidance (arXiv 2512.24176) and model guidance (2502.12154) against direct computations. */
import { assert, assertEquals } from "@std/assert";
import { add, backward, mean, mul, noGrad, square, sub } from "@dit/core/autograd";
import type { GaussianDiffusion, ModelFunction, Process } from "@dit/core/diffusion";
import { mapSource } from "@dit/core/io";
import { guide } from "@dit/core/nn";
import { Generator, init, randn, scope, type Tensor, tensor } from "@dit/core/tensor";
import { SMALL, smallWeights } from "../tests/commands.ts";
import { scaledError } from "../tests/devices.ts";
import {
  buildModel,
  buildProcess,
  denoisingLoss,
  ImageSampler,
  type ModelConfig,
  trainingGenerators,
} from "./mod.ts";

const CONFIG: ModelConfig = {
  ...SMALL,
  dit: { ...SMALL.dit, hiddenSize: 32, numHeads: 2, earlyHead: 1 },
};
const ONE_HEAD: ModelConfig = { ...CONFIG, dit: { ...CONFIG.dit, earlyHead: 0 } };

/** A model with small random weights, and what samples it. */
async function loaded(config: ModelConfig): Promise<ImageSampler> {
  const source = mapSource(await smallWeights(config), "weights");
  await init({ device: "wasm" });
  return await ImageSampler.load({ config, source }, null);
}

Deno.test("the loss of a model with an early head is that of both at the same noise", async () => {
  using sampler = await loaded(CONFIG);
  using _ = scope();
  const { model } = sampler;
  model.eval(); // no label is dropped
  const process = buildProcess(CONFIG);
  const x = randn([3, 1, 8, 8], { generator: new Generator(4) });
  const y = tensor([0, 1, 5], [3], { dtype: "i32" });
  const parts = {
    model,
    process,
    timesteps: process.timestepSampler("uniform"),
    generators: trainingGenerators(7),
    mixedPrecision: "no",
  } as const;
  const { loss, each, timesteps } = denoisingLoss(parts, x, y);
  const noise = randn(x.shape, { generator: trainingGenerators(7).noise });
  const of = (head: "out" | "early") =>
    process.trainingLosses(
      (x, t, { y }: { y: typeof x }) => model.forwardHeads(x, t, y)[head],
      x,
      timesteps,
      { modelKwargs: { y }, noise },
    ).loss;
  const [out, early] = [await of("out").data(), await of("early").data()];
  assert(scaledError(await each.data(), out) < 1e-6, "the loss that is shown is the last head's");
  const total = [...out, ...early].reduce((sum, value) => sum + value, 0) / 3;
  assert(Math.abs(await loss.item() - total) < 1e-5 * total);
  backward(loss);
  for (const name of ["finalLayer", "earlyLayer"] as const) {
    const grad = await model[name]!.linear.weight.grad!.data();
    assert(grad.some((value) => value !== 0), `${name} learns`);
  }
});

Deno.test("samples are moved away from what the early head predicts", async () => {
  using sampler = await loaded(CONFIG);
  const settings = {
    sampler: "ddim",
    steps: 1,
    eta: 0,
    cfgScale: 1,
    cfgChannels: "all",
    cfgInterval: undefined,
    seed: 1,
    frames: 1,
  } as const;
  const drawn = async (more: object) =>
    (await sampler.sample(0, [2], { ...settings, ...more })).images;
  const [plain, one, guided] = [
    await drawn({}),
    await drawn({ internalScale: 1 }),
    await drawn({
      internalScale: 1.5,
    }),
  ];
  assertEquals(one, plain);
  // one step of DDIM from noise is the prediction of x_0 itself
  using _ = scope();
  const x = randn([1, 1, 8, 8], { generator: new Generator(1, 0) });
  const labels = tensor([2], [1], { dtype: "i32" });
  const t = tensor([999], [1]);
  const { out, early } = noGrad(() => sampler.model.eval().forwardHeads(x, t, labels));
  const want = await add(early, mul(sub(out, early), 1.5)).data();
  const clipped = want.map((value) => Math.min(1, Math.max(-1, value)));
  assert(scaledError(guided, clipped) < 1e-4);
  assert(scaledError(guided, plain) > 1e-3);
  assert(Number.isFinite(await mean(out).item()));
  using model = buildModel(CONFIG, { generator: new Generator(0) }).model;
  assertEquals(model.earlyLayer !== null, true);
});

Deno.test("a model that learns guidance is drawn to the target and away from what it says of no class", async () => {
  using sampler = await loaded(ONE_HEAD);
  using _ = scope();
  const { model } = sampler;
  model.eval(); // no label is dropped
  const process = buildProcess(ONE_HEAD) as GaussianDiffusion;
  const x = randn([2, 1, 8, 8], { generator: new Generator(4) });
  const y = tensor([1, 6], [2], { dtype: "i32" }); // the second one has no class
  const timesteps = process.timestepSampler("uniform");
  const lossOf = async (modelGuidance: number) => {
    const generators = trainingGenerators(7);
    const parts = {
      model,
      process,
      timesteps,
      generators,
      mixedPrecision: "no",
      modelGuidance,
    } as const;
    const { loss, each } = denoisingLoss(parts, x, y);
    return { loss, each: await each.data() };
  };
  const [plain, guided] = [await lossOf(0), await lossOf(0.7)];
  assertEquals(guided.each[1], plain.each[1], "nothing is moved without a class");
  const generators = trainingGenerators(7);
  const { timesteps: times } = timesteps.sample(2, generators.timesteps);
  const noise = randn(x.shape, { generator: generators.noise });
  const t = tensor(times);
  const noisy = process.qSample(x, times, { noise });
  const nothing = tensor([6, 6], [2], { dtype: "i32" });
  const [out, without] = noGrad(
    () => [model.forward(noisy, t, y), model.forward(noisy, t, nothing)],
  );
  const [a, b, start] = [await out!.data(), await without!.data(), await x.data()];
  // the target of this objective is x_0
  const share = 0.7 / 1.7;
  let want = 0;
  for (let i = 0; i < 64; i++) want += (a[i]! - (start[i]! + share * (a[i]! - b[i]!))) ** 2 / 64;
  assert(Math.abs(guided.each[0]! - want) < 1e-4 * want, `${guided.each[0]} and ${want}`);
  // what is moved by is a constant: the gradient is that of the prediction alone
  backward(guided.loss);
  const grad = Array.from(await model.finalLayer.linear.bias!.grad!.data());
  let sum = 0;
  for (let i = 0; i < 64; i++) {
    sum += 2 * (a[i]! - start[i]! - share * (a[i]! - b[i]!)) / 64 / 2;
    sum += 2 * (a[64 + i]! - start[64 + i]!) / 64 / 2;
  }
  assert(Math.abs(grad.reduce((total, g) => total + g, 0) - sum) < 1e-4, `${sum}`);
});

Deno.test("a model has learned guidance of 1 + w where its predictions are the targets guided so", async () => {
  using sampler = await loaded(ONE_HEAD);
  using _ = scope();
  const { model } = sampler;
  model.eval(); // no label is dropped
  const x = randn([2, 1, 8, 8], { generator: new Generator(4) });
  const t = tensor([300, 700]);
  const [y, nothing] = [[1, 3], [6, 6]].map((labels) => tensor(labels, [2], { dtype: "i32" }));
  const [out, without] = noGrad(() => [model.forward(x, t, y!), model.forward(x, t, nothing!)]);
  for (const modelGuidance of [0.5, 1, 3]) {
    const target = add(without!, mul(sub(out!, without!), 1 / (1 + modelGuidance)));
    const guided = guide(target, without!, 1 + modelGuidance, 1);
    assert(scaledError(await guided.data(), await out!.data()) < 1e-6);
    const process = {
      trainingLosses: (predict: ModelFunction<{ y: Tensor }>) => ({
        loss: mean(square(sub(predict(x, t, { y: y! }), target)), [1, 2, 3]),
      }),
    } as unknown as Process;
    const { each } = denoisingLoss(
      {
        model,
        process,
        timesteps: buildProcess(ONE_HEAD).timestepSampler("uniform"),
        generators: trainingGenerators(7),
        mixedPrecision: "no",
        modelGuidance,
      },
      x,
      y!,
    );
    const moved = await mean(square(sub(out!, without!))).item();
    for (const loss of await each.data()) assert(loss < 1e-8 * moved, `${modelGuidance}: ${loss}`);
  }
});
