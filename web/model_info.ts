/** What the page is told of a model, by its configuration. */
import { type Process, SAMPLER_NAMES, SAMPLERS, stepRange } from "@dit/core/diffusion";
import {
  buildProcess,
  type ModelConfig,
  processOf,
  usualGuidance,
  usualSteps,
} from "@dit/core/pipeline";
import type { ModelInfo, SamplerInfo } from "./protocol.ts";

/** Most steps that are offered, where a process has no end of them. */
const MOST_STEPS = 1000;

/** The sampler that the page starts with, as `deno task sample` does. */
const USUAL_SAMPLER = "dpm++";

/** What a configuration does not say. */
export interface ModelFacts {
  /** See {@linkcode ModelInfo.id}. */
  readonly id: string;
  /** See {@linkcode ModelInfo.title}. */
  readonly title: string;
  /** See {@linkcode ModelInfo.version}. */
  readonly version?: string;
  /** See {@linkcode ModelInfo.parameters}. */
  readonly parameters: number;
  /** See {@linkcode ModelInfo.bytes}. */
  readonly bytes: number;
  /** What classes are called, where that is known; otherwise as the configuration says. */
  readonly classNames?: readonly string[];
  /** Guidance that its samples were drawn with in training, where that is known. */
  readonly guidance?: number | undefined;
}

/**
 * What the page is told of a model.
 *
 * @throws {ConfigError | RangeError} where there is no such process.
 */
export function describeModel(config: ModelConfig, facts: ModelFacts): ModelInfo {
  const { dit, latents, nullClass } = config;
  const process = buildProcess(config);
  const isFlow = process.velocity !== undefined;
  const names = facts.classNames ?? config.classNames;
  const guidance = facts.guidance ?? usualGuidance(config);
  return {
    id: facts.id,
    title: facts.title,
    ...(facts.version === undefined ? {} : { version: facts.version }),
    classNames: Array.from({ length: dit.numClasses }, (_, i) => names[i] ?? `class ${i}`),
    imageSize: dit.inputSize * (latents?.downsample ?? 1),
    channels: latents !== null || dit.inChannels > 1 ? 3 : 1,
    parameters: facts.parameters,
    bytes: facts.bytes,
    isLatent: latents !== null,
    process: processOf(config.diffusion),
    canGuide: nullClass !== null,
    times: isFlow
      ? { least: 0, most: 1, grain: 0.01 }
      : { least: 0, most: config.diffusion.diffusionSteps - 1, grain: 1 },
    samplers: SAMPLER_NAMES.flatMap((name) => samplerInfo(config, process, name)),
    usual: {
      sampler: USUAL_SAMPLER,
      steps: usualSteps(config, process, USUAL_SAMPLER),
      guidance: nullClass === null ? 1 : guidance,
      interval: null,
    },
  };
}

/** The sampler of a name; nothing where it cannot sample that process. */
function samplerInfo(
  config: ModelConfig,
  process: Process,
  name: typeof SAMPLER_NAMES[number],
): SamplerInfo[] {
  const { help, hasEta = false } = SAMPLERS[name];
  try {
    const { least, most } = stepRange(process, name);
    const usual = usualSteps(config, process, name);
    return [{ name, help, least, most: Math.min(most, MOST_STEPS), usual, hasEta }];
  } catch (error) {
    if (error instanceof RangeError) return [];
    throw error;
  }
}
