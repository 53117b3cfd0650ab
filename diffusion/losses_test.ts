import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  backward,
  concat,
  gradcheck,
  gradients,
  mean,
  mul,
  Parameter,
  sum,
} from "../autograd/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { numbers } from "../tests/numbers.ts";
import {
  type Device,
  Generator,
  memory,
  scope,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../tensor/mod.ts";
import { createDiffusion, type DiffusionOptions, GaussianDiffusion } from "./mod.ts";

const SHAPE = [3, 2, 4, 4];
const T = [0, 250, 999];
const random = (seed: number, shape: readonly number[] = SHAPE, scale = 1) => {
  const next = numbers(seed);
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(Array.from({ length: size }, () => scale * (2 * next() - 1)), shape);
};

eachDevice("a model that predicts its target has no squared error", async () => {
  using _ = scope();
  const [xStart, noise] = [random(1), random(2)];
  for (
    const [options, target] of [
      [{}, noise],
      [{ predictXstart: true }, xStart],
      [{ objective: "v" }, createDiffusion().schedule.velocity(xStart, T, noise)],
    ] as [DiffusionOptions, Tensor][]
  ) {
    const diffusion = createDiffusion({ learnSigma: false, ...options });
    const { loss, mse, vb } = diffusion.trainingLosses(() => target, xStart, T, { noise });
    assertEquals(vb, undefined);
    assertEquals(loss.shape, [3]);
    for (const error of await mse!.data()) assert(error < 1e-12);
  }
});

eachDevice("minSnrGamma weighs errors by what the model predicts", async () => {
  using _ = scope();
  const [xStart, noise, output] = [random(1), random(2), random(3)];
  const gamma = 5;
  const weights = {
    epsilon: (snr: number) => Math.min(snr, gamma) / snr,
    xstart: (snr: number) => Math.min(snr, gamma),
    v: (snr: number) => Math.min(snr, gamma) / (snr + 1),
  };
  for (const [objective, weight] of Object.entries(weights)) {
    const { betas, alphasCumprod } = createDiffusion();
    const diffusion = new GaussianDiffusion({
      betas,
      objective: objective as keyof typeof weights,
      varType: "fixedLarge",
      lossType: "mse",
      minSnrGamma: gamma,
    });
    const { loss, mse } = diffusion.trainingLosses(() => output, xStart, T, { noise });
    const plain = await mse!.data();
    const want = T.map((t, i) => weight(alphasCumprod[t]! / (1 - alphasCumprod[t]!)) * plain[i]!);
    assert(scaledError(await loss.data(), want) < 1e-5);
  }
});

eachDevice("the bound's part moves the variance and not the mean", async () => {
  using _ = scope();
  const diffusion = createDiffusion();
  const main = new Parameter(random(4));
  const variance = new Parameter(random(5));
  const model = () => concat([main, variance], 1);
  const { vb } = diffusion.trainingLosses(model, random(1), [100, 250, 999], { noise: random(2) });
  const [byMain, byVariance] = gradients(sum(vb!), [main, variance]);
  assertEquals(new Set(await byMain!.data()), new Set([0]));
  assert((await byVariance!.data()).every((g) => g !== 0));
});

eachDevice("losses have the gradients that differences show", async () => {
  using _ = scope();
  const [xStart, noise] = [random(1), random(2)];
  // without the hybrid loss, whose frozen mean is no derivative
  for (
    const options of [
      { learnSigma: false },
      { useKl: true },
      { learnSigma: false, objective: "v", minSnrGamma: 5 },
    ] as const
  ) {
    const diffusion = createDiffusion(options);
    const output = random(3, [3, diffusion.learnsVariance ? 4 : 2, 4, 4]);
    await gradcheck(
      // t > 0: at t = 0 the decoder's likelihood of an untrained model has no digits in float32
      (out, x, eps) =>
        diffusion.trainingLosses(() => out!, x!, [30, 250, 999], { noise: eps! }).loss,
      [output, xStart, noise],
      { samples: 12, absolute: 1e-5 }, // the bound does not depend on x_0, but for rounding
    );
  }
});

eachDevice("a training step leaves nothing behind but its losses", (device: Device) => {
  const diffusion = createDiffusion();
  using weight = new Parameter(random(7, [1, 4, 1, 1]));
  using xStart = random(1);
  const before = memory(device).tensors;
  {
    using _ = scope();
    const model = (x: Tensor) => mul(concat([x, x], 1), weight);
    const losses = diffusion.trainingLosses(model, xStart, T, { generator: new Generator(1) });
    backward(mean(losses.loss));
  }
  assertEquals(memory(device).tensors - before, 1); // the gradient
  weight.zeroGrad();
});

eachDevice("objects with forward() get the further inputs in order", async () => {
  using _ = scope();
  const diffusion = createDiffusion({ learnSigma: false, timestepRespacing: "10" });
  const y = tensor([1, 2, 3]);
  const seen: unknown[] = [];
  const model = {
    forward(x: Tensor, t: Tensor, ...rest: unknown[]): Tensor {
      seen.push(t.data(), ...rest);
      return x;
    },
  };
  diffusion.trainingLosses(model, random(1), [0, 5, 9], { modelKwargs: { y, scale: 2 } });
  const [t, ...rest] = seen;
  assertEquals([...await t as Int32Array], [0, 555, 999]);
  assertEquals(rest, [y, 2]);
});

eachDevice("model outputs of a wrong shape are refused by name", () => {
  using _ = scope();
  const x = random(1);
  const wrong = (options: DiffusionOptions, output: Tensor, message: string) =>
    assertThrows(
      () => createDiffusion(options).trainingLosses(() => output, x, T),
      ShapeError,
      message,
    );
  wrong({}, x, "expected a model output of shape [3, 4, 4, 4]");
  wrong({}, x, "a learned variance but got [3, 2, 4, 4]");
  wrong({ learnSigma: false }, zeros([3, 4, 4, 4]), "a fixed variance but got [3, 4, 4, 4]");
});

Deno.test("settings that do not go together are refused", () => {
  const refused = (options: DiffusionOptions, message: string) =>
    assertThrows(() => createDiffusion(options), RangeError, message);
  refused({ predictXstart: true, objective: "v" }, "predictXstart or objective but got both");
  refused({ useKl: true, minSnrGamma: 5 }, "minSnrGamma");
  refused({ minSnrGamma: 0 }, "a number above 0");
});

eachDevice("the bound of a process adds up over its timesteps", async (device: Device) => {
  using _ = scope();
  const diffusion = createDiffusion({ learnSigma: false, timestepRespacing: "5" });
  const xStart = random(1);
  const before = memory(device).tensors;
  const bound = diffusion.calcBpdLoop((x) => x, xStart, { generator: new Generator(4) });
  assertEquals(memory(device).tensors - before, 5); // what it returns
  const [vb, prior] = [await bound.vb.data(), await bound.priorBpd.data()];
  assertEquals(bound.vb.shape, [3, 5]);
  (await bound.totalBpd.data()).forEach((total, i) => {
    const sum = Array.from(vb.subarray(5 * i, 5 * i + 5)).reduce((a, b) => a + b, prior[i]!);
    assertAlmostEquals(total / sum, 1, 1e-6);
  });
});
