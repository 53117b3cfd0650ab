/**
 * Gaussian diffusion and flow matching: schedules, training losses, samplers, respacing and timestep
 * samplers.
 *
 * @module
 */
export type { BoundOptions, BpdResult } from "./bound.ts";
export * from "./create.ts";
export { FLOW_OBJECTIVES, FlowMatching, type FlowOptions } from "./flow.ts";
export * from "./gaussian_diffusion.ts";
export * from "./guidance.ts";
export * from "./likelihood.ts";
export type { BoundTerm, LossParts, LossType } from "./losses.ts";
export type { Model, ModelFunction, ModelKwargs, ModelObject, ModelOutput } from "./model.ts";
export type { NoiseFn, NoiseOptions, NoiseSource } from "./noise.ts";
export { type GaussianMoments, NoiseSchedule } from "./noise_schedule.ts";
export { type AnyObjective, type Objective, OBJECTIVES } from "./predictions.ts";
export * from "./process.ts";
export * from "./processes.ts";
export * from "./respace.ts";
export type { ModelPrediction, ReverseParts, VarType } from "./reverse.ts";
export {
  ETA_SAMPLERS,
  type Sampler,
  SAMPLER_NAMES,
  type SamplerName,
  SAMPLERS,
  type SamplerStep,
  type StepRange,
  stepRange,
} from "./samplers/registry.ts";
export { sample, type SampleOptions, sampleProgressive } from "./samplers/sample.ts";
export type { SamplingStep, StartOptions } from "./samplers/trajectory.ts";
export * from "./schedules.ts";
export type { DdimOptions } from "./steps.ts";
export {
  createTimestepSampler,
  type LossSecondMomentOptions,
  LossSecondMomentSampler,
  type TimeOptions,
  TIMESTEP_SAMPLER_NAMES,
  type TimestepDraw,
  type TimestepSampler,
  type TimestepSamplerName,
  type TimestepSamplerState,
  UniformSampler,
  type UniformSource,
} from "./timestep_samplers.ts";
export { BatchTimesteps, type Timesteps, type TimestepTable } from "./timesteps.ts";
