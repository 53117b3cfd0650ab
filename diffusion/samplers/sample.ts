/** Sampling from any process with any sampler. */
import { checkOptionNames, type Shape, type Tensor } from "../../tensor/mod.ts";
import { type ClassifierFreeOptions, guided } from "../guidance.ts";
import type { Model, ModelKwargs } from "../model.ts";
import { drawNoise } from "../noise.ts";
import type { Process, Spacing, StepOptions } from "../process.ts";
import { checkEta } from "./ddim.ts";
import { type SamplerName, samplerOf, type StepRange, stepRange } from "./registry.ts";
import {
  lastSample,
  type SamplingStep,
  startNoise,
  type StartOptions,
  trajectory,
} from "./trajectory.ts";

/** Settings of {@link sample}. */
export interface SampleOptions<K extends object = ModelKwargs>
  extends StepOptions<K>, StartOptions {
  /** A row of {@link SAMPLERS}; `ddpm` by default. */
  sampler?: SamplerName;
  /** Number of steps; by default one a timestep, or the sampler's usual number where time is continuous. */
  steps?: number;
  /** Randomness of samplers that can be so or not, 0 (the default) to 1. */
  eta?: number;
  /** Where the sampler stops; by default as in its paper, or evenly in time of a flow. */
  spacing?: Spacing;
  /** Guides the model by itself without its condition. */
  guidance?: ClassifierFreeOptions<K>;
}

const OPTIONS: Readonly<Record<keyof SampleOptions, true>> = {
  sampler: true,
  steps: true,
  eta: true,
  spacing: true,
  guidance: true,
  modelKwargs: true,
  clipDenoised: true,
  denoisedFn: true,
  condFn: true,
  noise: true,
  noiseFn: true,
  generator: true,
};

/**
 * Samples with the sampler of that name, without gradients and without reading anything back.
 *
 * @example
 * ```ts
 * import { createDiffusion, DiT, Generator, init, sample, tensor } from "@dit/core";
 *
 * await init({ device: "wasm" });
 * const model = new DiT({ inputSize: 8, hiddenSize: 32, depth: 1, numHeads: 2, numClasses: 10 });
 * const dtype = "i32";
 * const latents = await sample(createDiffusion(), model.eval(), [2, 4, 8, 8], {
 *   sampler: "dpm++",
 *   steps: 5,
 *   clipDenoised: false,
 *   generator: [new Generator(1), new Generator(2)],
 *   modelKwargs: { y: tensor([3, 7], [2], { dtype }) },
 *   guidance: { scale: 4, nullKwargs: { y: tensor([10, 10], [2], { dtype }) } },
 * });
 * ```
 *
 * @param shape [N, C, ...]
 * @returns x_0, [N, C, ...]
 * @throws {RangeError} where there is no such sampler, or it cannot take that many steps.
 */
export async function sample<K extends object>(
  process: Process,
  model: Model<K>,
  shape: Shape,
  options: SampleOptions<K> = {},
): Promise<Tensor> {
  return await lastSample(sampleProgressive(process, model, shape, options));
}

/** As {@link sample}, step by step. */
export function sampleProgressive<K extends object>(
  process: Process,
  model: Model<K>,
  shape: Shape,
  options: SampleOptions<K> = {},
): AsyncGenerator<SamplingStep, void> {
  checkOptionNames("sample", options, OPTIONS);
  const { sampler: name = "ddpm", steps: wanted, spacing: spread, eta = 0, guidance, ...rest } =
    options;
  const { noise: _, ...each } = rest; // of the first x, not of each step
  const sampler = samplerOf(name);
  const range = stepRange(process, name);
  const usual = Number.isFinite(range.most) ? range.most : range.usual;
  const usualSpacing = process.velocity && !sampler.isFlow ? "time" : sampler.spacing;
  const [steps, spacing] = [wanted ?? usual, spread ?? usualSpacing];
  checkSteps(name, steps, range);
  checkEta("sample", eta);
  if (eta > 0 && !sampler.hasEta) {
    throw new RangeError(`sample: expected no eta with ${name}, which has none, but got ${eta}`);
  }
  const guidedModel = guidance ? guided(model, guidance) : model;
  const stops = process.stops(steps, spacing);
  const levels = [...stops, -1].map((t) => process.levelAt(t));
  const ancestral = sampler.isAncestral ? process.ancestral!<K>(stops) : undefined;
  return trajectory(
    () => startNoise("sample", shape, options),
    levels.slice(0, -1).map(({ modelTime }) => modelTime),
    ({ x, lastXstart, step }) =>
      sampler.step({
        x,
        from: levels[step]!,
        to: levels[step + 1]!,
        before: lastXstart && { level: levels[step - 1]!, xStart: lastXstart },
        eta,
        denoise: (x, { t }) => process.predictXstart(guidedModel, x, t, options),
        velocity: process.velocity &&
          ((x, { t }) => process.velocity!(guidedModel, x, t, options)),
        noise: () => drawNoise("sample", x.shape, x.device, { ...each, step }),
        ancestral: () => ancestral!(guidedModel, x, step, { ...each, step }),
      }),
  );
}

/** Refuses a number of steps that a sampler cannot take. */
function checkSteps(name: SamplerName, steps: number, { least, most }: StepRange): void {
  if (Number.isInteger(steps) && steps >= least && steps <= most) return;
  const range = most < Infinity ? `${least} to ${most}` : `${least} or more`;
  throw new RangeError(`sample: expected ${range} steps of ${name} but got ${steps}`);
}
