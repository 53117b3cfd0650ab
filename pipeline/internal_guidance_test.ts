/** Internal guidance (arXiv 2512.24176) against a direct computation. */
import { assert, assertEquals } from "@std/assert";
import { add, backward, mean, mul, noGrad, sub } from "@dit/core/autograd";
import { mapSource } from "@dit/core/io";
import { Generator, init, randn, scope, tensor } from "@dit/core/tensor";
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

Deno.test("the loss of a model with an early head is that of both at the same noise", async () => {
  const weights = mapSource(await smallWeights(CONFIG), "weights");
  await init({ device: "wasm" });
  using sampler = await ImageSampler.load({ config: CONFIG, source: weights }, null);
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
  const source = mapSource(await smallWeights(CONFIG), "weights");
  await init({ device: "wasm" });
  using sampler = await ImageSampler.load({ config: CONFIG, source }, null);
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
