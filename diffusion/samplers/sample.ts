/** Every sampler behind one interface. */
import type { Shape, Tensor } from "../../tensor/mod.ts";
import type { GaussianDiffusion } from "../gaussian_diffusion.ts";
import { type ClassifierFreeOptions, guided } from "../guidance.ts";
import type { Model, ModelKwargs } from "../model.ts";
import type { StepOptions } from "../reverse_process.ts";
import { dpmSolverStep } from "./dpm_solver.ts";
import { spacedTimesteps, type Spacing } from "./grid.ts";
import { heunStep } from "./heun.ts";
import { type Solver, stopAt } from "./solver.ts";
import {
  lastSample,
  type SamplingStep,
  startNoise,
  type StartOptions,
  trajectory,
} from "./trajectory.ts";

/**
 * How to sample: `ddpm` (arXiv 2006.11239) and `ddim` (arXiv 2010.02502) as in the original; `dpm++`
 * (DPM-Solver++(2M), arXiv 2211.01095) and `heun` (arXiv 2206.00364) need 10 to 30 steps. `heun`
 * calls the model twice a step.
 */
export type SamplerName = "ddpm" | "ddim" | "dpm++" | "heun";

/** Settings of {@link sample}. */
export interface SampleOptions<K extends object = ModelKwargs>
  extends StepOptions<K>, StartOptions {
  /** `ddpm` by default. */
  sampler?: SamplerName;
  /** Number of steps; one a timestep by default. */
  steps?: number;
  /** Randomness of `ddim`, 0 (the default) to 1. */
  eta?: number;
  /** Where `dpm++` (by default `logSnr`) and `heun` (by default `karras`) stop. */
  spacing?: Spacing;
  /** Guides the model by itself without its condition. */
  guidance?: ClassifierFreeOptions<K>;
}

/** The spacing of each is that of its paper. */
const SOLVERS: Record<"dpm++" | "heun", { step: Solver; spacing: Spacing }> = {
  "dpm++": { step: dpmSolverStep, spacing: "logSnr" },
  heun: { step: heunStep, spacing: "karras" },
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
  diffusion: GaussianDiffusion,
  model: Model<K>,
  shape: Shape,
  options: SampleOptions<K> = {},
): Promise<Tensor> {
  return await lastSample(sampleProgressive(diffusion, model, shape, options));
}

/** As {@link sample}, step by step. */
export function sampleProgressive<K extends object>(
  diffusion: GaussianDiffusion,
  model: Model<K>,
  shape: Shape,
  options: SampleOptions<K> = {},
): AsyncGenerator<SamplingStep, void> {
  const { sampler = "ddpm", steps = diffusion.numTimesteps, guidance, ...rest } = options;
  const steered = guidance ? guided(model, guidance) : model;
  switch (sampler) {
    case "ddpm":
      return diffusion.respaced([steps]).pSampleLoopProgressive(steered, shape, rest);
    case "ddim":
      return diffusion.respaced([steps]).ddimSampleLoopProgressive(steered, shape, rest);
    case "dpm++":
    case "heun": {
      const { step, spacing } = SOLVERS[sampler];
      const timesteps = spacedTimesteps(diffusion, steps, options.spacing ?? spacing);
      return solve(diffusion, step, timesteps, steered, shape, rest);
    }
    default:
      sampler satisfies never;
      throw new RangeError(
        `sample: expected sampler ddpm, ddim, dpm++ or heun but got ${sampler}`,
      );
  }
}

/** Follows the probability flow from stop to stop, and from the last one to the data. */
function solve<K extends object>(
  diffusion: GaussianDiffusion,
  takeStep: Solver,
  timesteps: readonly number[],
  model: Model<K>,
  shape: Shape,
  options: StepOptions<K> & StartOptions,
): AsyncGenerator<SamplingStep, void> {
  const stops = [...timesteps, -1].map((t) => stopAt(diffusion, t));
  return trajectory(
    diffusion.timestepMap,
    () => startNoise("sample", shape, options),
    timesteps,
    ({ x, lastXstart, step }) =>
      takeStep({
        x,
        from: stops[step]!,
        to: stops[step + 1]!,
        before: lastXstart && { stop: stops[step - 1]!, xStart: lastXstart },
        denoise: (at, { t }) => diffusion.predictXstart(model, at, t, options),
      }),
  );
}
