import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { numbers } from "../tests/numbers.ts";
import { Generator, IndexError, scope, ShapeError, tensor, zeros } from "../tensor/mod.ts";
import { createDiffusion, NoiseSchedule } from "./mod.ts";

const diffusion = createDiffusion();
const random = (seed: number, shape: readonly number[]) => {
  const next = numbers(seed);
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(Array.from({ length: size }, () => 2 * next() - 1), shape);
};

eachDevice("x_0, the noise and the velocity follow from each other", async () => {
  using _ = scope();
  const shape = [3, 2, 4, 4];
  const [xStart, noise] = [random(1, shape), random(2, shape)];
  const want = [await xStart.data(), await noise.data()];
  for (const t of [500, [10, 300, 999]]) {
    const xT = diffusion.qSample(xStart, t, noise);
    const velocity = diffusion.schedule.velocity(xStart, t, noise);
    const eps = diffusion.predictEpsFromXstart(xT, t, xStart);
    assertEquals(scaledError(await eps.data(), want[1]!) < 1e-4, true);
    const fromEps = diffusion.predictXstartFromEps(xT, t, noise);
    assertEquals(scaledError(await fromEps.data(), want[0]!) < 1e-3, true);
    const fromV = diffusion.schedule.predictXstartFromV(xT, t, velocity);
    assertEquals(scaledError(await fromV.data(), want[0]!) < 1e-5, true);
  }
});

eachDevice("the posterior is what Bayes' rule makes of two steps", async () => {
  using _ = scope();
  const { betas, alphasCumprodPrev } = diffusion;
  const t = 400;
  const [xStart, xT] = [random(3, [1, 4]), random(4, [1, 4])];
  const { mean, variance } = diffusion.qPosteriorMeanVariance(xStart, xT, t);
  // q(x_t | x_{t-1}) has variance beta; q(x_{t-1} | x_0) has variance 1 - alpha-bar_{t-1}
  const [b, prior] = [betas[t]!, 1 - alphasCumprodPrev[t]!];
  const precision = (1 - b) / b + 1 / prior;
  const [x0, x] = [await xStart.data(), await xT.data()];
  (await variance.data()).forEach((v) => assertAlmostEquals(v * precision, 1, 1e-5));
  (await mean.data()).forEach((m, i) => {
    const want = Math.sqrt(1 - b) / b * x[i]! + Math.sqrt(alphasCumprodPrev[t]!) / prior * x0[i]!;
    assertAlmostEquals(m, want / precision, 1e-5);
  });
});

eachDevice("a seed decides the noise, and one a sample makes samples independent", async () => {
  using _ = scope();
  const shape = [2, 1, 3, 3];
  const x = zeros(shape);
  const noisy = async (generator: Generator | Generator[], at = x) => [
    ...await diffusion.qSample(at, 999, { generator }).data(),
  ];
  assertEquals(await noisy(new Generator(5)), await noisy(new Generator(5)));
  const both = await noisy([new Generator(6), new Generator(7)]);
  const alone = await noisy([new Generator(7)], zeros([1, 1, 3, 3]));
  assertEquals(both.slice(9), alone);
  assertThrows(
    () => diffusion.qSample(x, 0, { generator: [new Generator(1)] }),
    ShapeError,
    "expected 2 generators, one a sample, but got 1",
  );
});

eachDevice("noise and timesteps that do not fit are refused", () => {
  using _ = scope();
  const x = zeros([2, 1, 3, 3]);
  assertThrows(() => diffusion.qSample(x, 0, zeros([2, 1, 3])), ShapeError, "noise of shape");
  assertThrows(() => diffusion.qSample(x, 1000, x), IndexError, "in [0, 1000) but got 1000");
  assertThrows(() => diffusion.qSample(x, [1], x), ShapeError, "timesteps of shape [2]");
  assertThrows(() => diffusion.qSample(zeros([2]), 0), ShapeError, "a batch [N, C, ...]");
});

Deno.test("a schedule may have more timesteps than a call has arguments", () => {
  const { numTimesteps, alphasCumprod, alphasCumprodPrev, alphasCumprodNext } = new NoiseSchedule(
    new Float64Array(300_000).fill(1e-4),
  );
  assertEquals(numTimesteps, 300_000);
  assertEquals([alphasCumprodPrev[0], alphasCumprodPrev[1]], [1, alphasCumprod[0]]);
  assertEquals([alphasCumprodNext[0], alphasCumprodNext.at(-1)], [alphasCumprod[1], 0]);
});

Deno.test("betas outside (0, 1] are refused", () => {
  assertThrows(() => new NoiseSchedule([0.1, 0]), RangeError, "in (0, 1] but got 0");
  assertThrows(() => new NoiseSchedule([1.1]), RangeError, "but got 1.1");
  assertThrows(() => new NoiseSchedule([]), RangeError, "but got none");
  assertThrows(() => createDiffusion({ diffusionSteps: 10 }), RangeError, "20 steps or more");
});
