import { type Addition, before, replace } from "./addition.ts";

/** Euler's method in y = x / alpha, as a sampler named `sigma-euler`. */
export const sampler: Addition = {
  heading: "A sampler",
  files: {
    "diffusion/samplers/registry.ts": [
      replace(`| "heun" |`, `| "heun" | "sigma-euler" |`),
      before(
        `/** The name of a sampler. */`,
        `/** A step of Euler's method in y = x / alpha and s = sigma / alpha. */
const sigmaEulerStep: Sampler["step"] = ({ x, from, to, denoise }) => {
  const xStart = denoise(x, from);
  const ratio = (to.sigma / to.alpha) / (from.sigma / from.alpha);
  const y = combine(ratio / from.alpha, x, 1 - ratio, xStart);
  return { sample: mul(y, to.alpha), predXstart: xStart };
};

`,
      ),
      before(
        `  "heun": {`,
        `  "sigma-euler": { help: "first order", usualSteps: 30, spacing: "karras", step: sigmaEulerStep },\n`,
      ),
    ],
  },
  proof: `
    await core.init({ device: "reference" });
    const diffusion = core.createDiffusion({ predictXstart: true, learnSigma: false });
    const out = await core.sample(diffusion, (x) => core.mul(x, 0), [1, 1, 2, 2], {
      sampler: "sigma-euler", steps: 4, generator: new core.Generator(0),
    });
    assert((await out.data()).every((v) => Math.abs(v) < 1e-6), "euler leads to the predicted x_0");
    for (const command of ["sample", "train"]) {
      assert((await run(command, "--help")).includes("euler"), command + " knows the sampler");
    }
  `,
};
