/**
 * The JSON files of diffusers' `DiTPipeline`, both ways. Settings are those of the published
 * folders (`facebook/DiT-XL-2-256`).
 */
import type { NoiseScheduleName, Objective } from "@dit/core/diffusion";
import type { DiffusionConfig, ModelConfig } from "@dit/core/pipeline";
import type { ClassLabels } from "../shared/class_names.ts";
import { CommandError } from "../shared/errors.ts";

/** The version that reads all of this, as every later one does. */
const VERSION = { _diffusers_version: "0.12.0" } as const;

/** `prediction_type` of each objective. */
const PREDICTIONS = { epsilon: "epsilon", xstart: "sample", v: "v_prediction" } as const;
const SCHEDULES: readonly NoiseScheduleName[] = ["linear", "squaredcos_cap_v2"];

/** Schedulers of flows and other processes than Gaussian diffusion. */
const OTHER_SCHEDULERS = /Flow|EDM|CMStochastic|Consistency|ScoreSde|VQ/;

/** Noise of the first and last step where there are 1000; more steps add less each. */
const BETAS = { first: 0.0001, last: 0.02, steps: 1000 } as const;

/** `model_index.json`. */
export function indexConfig(
  { dit }: ModelConfig,
  classLabels: ClassLabels,
): Record<string, unknown> {
  const labels = Array.from(
    { length: dit.numClasses },
    (_, id) => [String(id), classLabels[id]?.join(", ") ?? String(id)] as const,
  );
  return {
    _class_name: "DiTPipeline",
    ...VERSION,
    id2label: Object.fromEntries(labels),
    scheduler: ["diffusers", "DDIMScheduler"],
    transformer: ["diffusers", "Transformer2DModel"],
    vae: ["diffusers", "AutoencoderKL"],
  };
}

/** The names of `id2label`, by class: each class has as many as there are between commas. */
export function classLabelsOf(labels: unknown): ClassLabels {
  if (typeof labels !== "object" || labels === null) return [];
  const found: string[][] = [];
  for (const [id, label] of Object.entries(labels)) {
    if (!/^\d{1,6}$/.test(id)) continue;
    const names = String(label).split(",").map((name) => name.trim()).filter((name) => name !== "");
    found[Number(id)] = names.length > 0 ? names : [id];
  }
  return Array.from(found, (names, id) => names ?? [String(id)]);
}

/** What `transformer/config.json` says of a model that its weights do not. */
export interface TransformerHints {
  readonly numHeads: number | undefined;
  readonly numClasses: number | undefined;
  readonly inputSize: number | undefined;
}

/**
 * What a `transformer/config.json` says.
 *
 * @param path For messages.
 * @throws {CommandError} where it is of another model than a DiT, or makes no sense.
 */
export function transformerHints(
  config: Readonly<Record<string, unknown>>,
  path: string,
): TransformerHints {
  const refuse = (name: string, expected: string): CommandError =>
    new CommandError(
      `${path}: expected ${name} to be ${expected} but got ${JSON.stringify(config[name])}`,
    );
  const className = config["_class_name"];
  if (typeof className === "string" && !className.includes("Transformer")) {
    throw refuse("_class_name", "DiTTransformer2DModel");
  }
  for (const [name, value] of Object.entries(DIT_MARKS)) {
    if ((config[name] ?? value) !== value) throw refuse(name, JSON.stringify(value));
  }
  const size = (name: string): number | undefined => {
    const value = config[name] ?? undefined;
    if (value === undefined || (Number.isSafeInteger(value) && value as number >= 1)) {
      return value as number | undefined;
    }
    throw refuse(name, "a whole number of 1 or more");
  };
  return {
    numHeads: size("num_attention_heads"),
    numClasses: size("num_embeds_ada_norm"),
    inputSize: size("sample_size"),
  };
}

/** What distinguishes a DiT from other models of the same names. */
const DIT_MARKS = {
  activation_fn: "gelu-approximate",
  norm_type: "ada_norm_zero",
  norm_elementwise_affine: false,
} as const;

/** `transformer/config.json`. */
export function transformerConfig({ dit }: ModelConfig): Record<string, unknown> {
  return {
    _class_name: "Transformer2DModel",
    ...VERSION,
    activation_fn: "gelu-approximate",
    attention_bias: true,
    attention_head_dim: dit.hiddenSize / dit.numHeads,
    cross_attention_dim: null,
    dropout: 0,
    in_channels: dit.inChannels,
    norm_elementwise_affine: false,
    norm_num_groups: 32,
    norm_type: "ada_norm_zero",
    num_attention_heads: dit.numHeads,
    num_embeds_ada_norm: dit.numClasses,
    num_layers: dit.depth,
    num_vector_embeds: null,
    only_cross_attention: false,
    out_channels: dit.learnSigma ? 2 * dit.inChannels : dit.inChannels,
    patch_size: dit.patchSize,
    sample_size: dit.inputSize,
    upcast_attention: false,
    use_linear_projection: false,
  };
}

/** `scheduler/scheduler_config.json`. */
export function schedulerConfig(process: DiffusionConfig): Record<string, unknown> {
  const scale = BETAS.steps / process.diffusionSteps;
  return {
    _class_name: "DDIMScheduler",
    ...VERSION,
    beta_end: scale * BETAS.last,
    beta_schedule: process.noiseSchedule,
    beta_start: scale * BETAS.first,
    clip_sample: false,
    num_train_timesteps: process.diffusionSteps,
    prediction_type: PREDICTIONS[process.objective],
    set_alpha_to_one: true,
    steps_offset: 0,
    trained_betas: null,
  };
}

/**
 * The process of a `scheduler_config.json`.
 *
 * @param path For messages.
 * @throws {CommandError} where there is no such process here.
 */
export function processOf(
  config: Readonly<Record<string, unknown>>,
  path: string,
): Partial<DiffusionConfig> {
  const refuse = (name: string, expected: string): CommandError =>
    new CommandError(
      `${path}: expected ${name} to be ${expected} but got ${JSON.stringify(config[name])}`,
    );
  if (OTHER_SCHEDULERS.test(String(config["_class_name"] ?? ""))) {
    throw refuse("_class_name", "a scheduler of Gaussian diffusion, such as DDIMScheduler");
  }
  if (config["rescale_betas_zero_snr"] === true) throw refuse("rescale_betas_zero_snr", "false");
  const { num_train_timesteps: diffusionSteps = BETAS.steps, prediction_type = "epsilon" } = config;
  if (typeof diffusionSteps !== "number" || !(diffusionSteps >= 1 && diffusionSteps % 1 === 0)) {
    throw refuse("num_train_timesteps", "a whole number of 1 or more");
  }
  const noiseSchedule = SCHEDULES.find((name) => name === (config["beta_schedule"] ?? "linear"));
  if (!noiseSchedule) throw refuse("beta_schedule", SCHEDULES.join(" or "));
  if ((config["trained_betas"] ?? null) !== null) throw refuse("trained_betas", "null");
  const wanted = schedulerConfig({
    noiseSchedule,
    diffusionSteps,
    objective: "epsilon",
    minSnrGamma: null,
  });
  for (const name of noiseSchedule === "linear" ? ["beta_start", "beta_end"] : []) {
    if ((config[name] ?? wanted[name]) !== wanted[name]) throw refuse(name, String(wanted[name]));
  }
  const objectives = Object.keys(PREDICTIONS) as Objective[];
  const objective = objectives.find((name) => PREDICTIONS[name] === prediction_type);
  if (!objective) throw refuse("prediction_type", Object.values(PREDICTIONS).join(" or "));
  return { noiseSchedule, diffusionSteps, objective };
}
