import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { gradcheck } from "../autograd/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { numbers } from "../tests/numbers.ts";
import { scope, tensor } from "../tensor/mod.ts";
import {
  approxStandardNormalCdf,
  continuousGaussianLogLikelihood,
  discretizedGaussianLogLikelihood,
  normalKl,
} from "./mod.ts";

const random = (seed: number, count: number, low: number, high: number) => {
  const next = numbers(seed);
  return Array.from({ length: count }, () => low + (high - low) * next());
};

eachDevice("normalKl() is 0 of equal Gaussians and positive of others", async () => {
  using _ = scope();
  const mean = tensor(random(1, 20, -1, 1));
  const logvar = tensor(random(2, 20, -8, 1));
  const other = tensor(random(3, 20, -1, 1));
  assertEquals([...await normalKl(mean, logvar, mean, logvar).data()], new Array(20).fill(0));
  assert((await normalKl(mean, logvar, other, logvar).data()).every((kl) => kl > 0));
});

eachDevice("probabilities of all 256 pixel values add up to one", async () => {
  using _ = scope();
  const pixels = tensor(Array.from({ length: 256 }, (_, i) => i / 127.5 - 1));
  for (const [mean, logScale] of [[0.2, -2], [-0.9, -1], [0.97, -4]] as const) {
    const logs = discretizedGaussianLogLikelihood(pixels, {
      means: tensor([mean]),
      logScales: tensor([logScale]),
    });
    const total = Array.from(await logs.data(), Math.exp).reduce((a, b) => a + b);
    assertAlmostEquals(total, 1, 1e-4);
  }
});

eachDevice("the approximate normal distribution function is close to the true one", async () => {
  using _ = scope();
  const cdf = await approxStandardNormalCdf(tensor([-1.96, -1, 0, 1, 1.96])).data();
  [0.025, 0.158655, 0.5, 0.841345, 0.975].forEach((p, i) => assertAlmostEquals(cdf[i]!, p, 3e-4));
});

eachDevice("likelihoods have the gradients that differences show", async () => {
  using _ = scope();
  const x = tensor(random(4, 12, -0.9, 0.9), [3, 4]);
  const means = tensor(random(5, 12, -0.9, 0.9), [3, 4]);
  const logScales = tensor(random(6, 12, -0.5, 0.5), [3, 4]);
  const both = [means, logScales];
  await gradcheck((m, l) => normalKl(m!, l!, x, 0.3), both);
  await gradcheck((m, l) => normalKl(x, x, m!, l!), both);
  await gradcheck((m, l) => continuousGaussianLogLikelihood(x, { means: m!, logScales: l! }), both);
  await gradcheck(
    (m, l) => discretizedGaussianLogLikelihood(x, { means: m!, logScales: l! }),
    both,
    { tolerance: 1e-2 }, // a difference of two nearly equal probabilities, in float32
  );
});
