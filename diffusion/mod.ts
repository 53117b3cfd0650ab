/**
 * Gaussian diffusion: schedules, training losses, samplers, respacing and timestep samplers.
 *
 * @module
 */
export * from "./create.ts";
export * from "./forward_process.ts";
export * from "./gaussian_diffusion.ts";
export * from "./guidance.ts";
export * from "./likelihood.ts";
export * from "./losses.ts";
export type { Model, ModelFunction, ModelKwargs, ModelObject, ModelOutput } from "./model.ts";
export type { NoiseFn, NoiseOptions, NoiseSource } from "./noise.ts";
export * from "./respace.ts";
export * from "./reverse_process.ts";
export type { Spacing } from "./samplers/grid.ts";
export {
  sample,
  type SampleOptions,
  sampleProgressive,
  type SamplerName,
} from "./samplers/sample.ts";
export type { SamplingStep, StartOptions } from "./samplers/trajectory.ts";
export * from "./schedules.ts";
export * from "./timestep_samplers.ts";
export { BatchTimesteps, type Timesteps, type TimestepTable } from "./timesteps.ts";
