import { assertEquals, assertThrows } from "@std/assert";
import {
  createDiffusion,
  FlowMatching,
  SAMPLER_NAMES,
  type SamplerName,
  SAMPLERS,
} from "@dit/core/diffusion";
import { UsageError } from "../shared/errors.ts";
import { checkHasEta, checkInterval, samplingSteps } from "./sampling_steps.ts";

const FLAGS = { sampler: "sampler", steps: "num-sampling-steps" };
const usual = createDiffusion();
/** A model of latents, and one of pixels. */
const LATENTS = { latents: { vae: "ema", scalingFactor: 0.18215, downsample: 8 } };
const PIXELS = { latents: null };

Deno.test("steps are those asked for, or the sampler's usual ones as far as there are any", () => {
  const short = createDiffusion({ diffusionSteps: 25 });
  for (const name of SAMPLER_NAMES.filter((name) => !SAMPLERS[name].isFlow)) {
    assertEquals(samplingSteps(LATENTS, usual, name, undefined, FLAGS), SAMPLERS[name].usualSteps);
    assertEquals(samplingSteps(LATENTS, usual, name, 7, FLAGS), 7);
    const most = Math.min(25, SAMPLERS[name].usualSteps);
    assertEquals(samplingSteps(LATENTS, short, name, undefined, FLAGS), most);
  }
  assertEquals(samplingSteps(LATENTS, new FlowMatching(), "heun", 5000, FLAGS), 5000);
  const steps = (name: SamplerName, asked?: number) =>
    samplingSteps(PIXELS, usual, name, asked, FLAGS);
  assertEquals(steps("dpm++"), SAMPLERS["dpm++"].usualSteps / 2);
  assertEquals(steps("ddim"), SAMPLERS["ddim"].usualSteps);
  assertEquals(steps("dpm++", 33), 33);
});

Deno.test("steps that a sampler cannot take are refused by the name of the flag", () => {
  const refused = (run: () => unknown, message: string) => assertThrows(run, UsageError, message);
  refused(
    () => samplingSteps(LATENTS, usual, "ddpm", 1, FLAGS),
    "--num-sampling-steps: expected 2 or more with --sampler ddpm but got 1",
  );
  refused(
    () => samplingSteps(LATENTS, usual, "ddim", 1001, FLAGS),
    "--num-sampling-steps: expected 1000 at most, the model's timesteps, but got 1001",
  );
  refused(
    () => samplingSteps(LATENTS, new FlowMatching(), "ddpm", 5, FLAGS),
    "--sampler: sample: ddpm needs a process that knows p(x_{t-1} | x_t) but the process is flow; " +
      "expected one of ddim, dpm++, heun, euler, euler-maruyama",
  );
  refused(
    () => samplingSteps(LATENTS, usual, "euler-maruyama", 5, FLAGS),
    "--sampler: sample: euler-maruyama needs a flow but the process is gaussian",
  );
  refused(() => checkHasEta("heun", 0), "--eta: expected --sampler ddim with it but got heun");
  checkHasEta("ddim", 1);
  checkHasEta("heun", undefined);
});

Deno.test("guidance is limited to times that the process has", () => {
  checkInterval(usual, undefined);
  checkInterval(usual, [100, 800]);
  checkInterval(usual, [0, 1000]);
  checkInterval(new FlowMatching(), [0.1, 1]);
  assertThrows(
    () => checkInterval(new FlowMatching(), [100, 800]),
    UsageError,
    "--cfg-interval: expected two times from 0 (noise) to 1, as the process is flow, but got 100,800",
  );
  assertThrows(
    () => checkInterval(usual, [0.1, 1]),
    UsageError,
    "--cfg-interval: expected two whole timesteps, as the process is gaussian, but got 0.1,1",
  );
  assertThrows(
    () => checkInterval(usual, [1000, 1000]),
    UsageError,
    "--cfg-interval: expected two timesteps below 1000, as the process is gaussian, but got 1000",
  );
});
