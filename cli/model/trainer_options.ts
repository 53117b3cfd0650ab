/** What the options of the program that trained some weights say of the model. */
import type { NoiseScheduleName, Objective } from "@dit/core/diffusion";
import type { DiffusionConfig } from "@dit/core/pipeline";
import { CommandError } from "../shared/errors.ts";
import type { Hints } from "./infer_config.ts";
import { ORIGINAL_LATENTS } from "./latent_shape.ts";

/** What the options of SiT's trainer say of the flows that there are here, every word. */
const SIT_FLOW = { path_type: "Linear", prediction: "velocity" } as const;

/** Options that only trainers of flows have. */
const FLOW_OPTIONS = ["path_type", "interpolant", "transport", "flow_matching", "flow"] as const;
/** Options that name what is predicted. */
const PREDICTION_OPTIONS = [
  "prediction",
  "prediction_type",
  "objective",
  "parameterization",
] as const;

/** What is predicted, by the names that trainers give it. */
const PREDICTIONS: Readonly<Record<string, Objective>> = {
  epsilon: "epsilon",
  eps: "epsilon",
  noise: "epsilon",
  sample: "xstart",
  x0: "xstart",
  xstart: "xstart",
  x_start: "xstart",
  start_x: "xstart",
  pred_noise: "epsilon",
  pred_x0: "xstart",
  pred_v: "v",
  v: "v",
  v_prediction: "v",
};

/**
 * What the options say, as far as it is known here.
 *
 * @param options By names with `_`, such as `num_classes` of the original's train.py.
 * @param path For messages.
 * @throws {CommandError} where they say that the model is of another process than those here: its
 * names and shapes can be those of a DiT all the same.
 */
export function trainerHints(options: ReadonlyMap<string, unknown>, path: string): Hints {
  if (options.size === 0) return {};
  const flow = flowText(options);
  const isSiT = Object.entries(SIT_FLOW).every(([name, value]) => options.get(name) === value);
  const known = Object.entries(SIT_FLOW).map(([name, value]) => `${name}=${value}`).join(", ");
  if (flow !== null && !isSiT) {
    throw new CommandError(
      `${path}: expected a model of Gaussian diffusion, or of SiT's flow (${known}), but its ` +
        `options say ${flow}: its samples would be wrong`,
    );
  }
  const vae = options.get("vae");
  const numClasses = options.get("num_classes");
  const numHeads = headsOf(options);
  const diffusion: Partial<DiffusionConfig> = isSiT
    ? { process: "flow", objective: "v" }
    : processOf(options, path);
  return {
    ...(options.has("vae") || options.has("feature_path")
      ? { latents: { ...ORIGINAL_LATENTS, ...(typeof vae === "string" ? { vae } : {}) } }
      : {}),
    numClasses: typeof numClasses === "number" ? numClasses : undefined,
    ...(numHeads === undefined ? {} : { numHeads }),
    ...(Object.keys(diffusion).length > 0 ? { diffusion } : {}),
    ...(isSiT ? { note: `a flow, as its options say: ${known}` } : {}),
  };
}

/** Names that trainers give to the number of attention heads. */
const HEADS_OPTIONS = ["num_heads", "num_attention_heads", "n_heads", "heads"] as const;

/** The attention heads that the options say. */
function headsOf(options: ReadonlyMap<string, unknown>): number | undefined {
  for (const name of HEADS_OPTIONS) {
    const heads = options.get(name);
    if (typeof heads === "number" && Number.isSafeInteger(heads) && heads >= 1) return heads;
  }
  return undefined;
}

/** The options that say that a model is a flow, or null. */
function flowText(options: ReadonlyMap<string, unknown>): string | null {
  const given = (names: readonly string[]): string[] =>
    names.flatMap((name) => {
      const value = options.get(name);
      return typeof value === "string" || value === true ? [`${name}=${value}`] : [];
    });
  const flows = given(FLOW_OPTIONS);
  const predictions = given(PREDICTION_OPTIONS);
  const models = given(["model"]).filter((text) => /=SiT\b|flow/i.test(text));
  const isVelocity = predictions.some((text) => /velocity|score|flow/i.test(text));
  if (flows.length === 0 && models.length === 0 && !isVelocity) return null;
  return [...models, ...flows, ...predictions].join(", ");
}

/** Noise schedules by the names that trainers give them; OpenAI's `cosine` is squaredcos_cap_v2. */
const SCHEDULES: Readonly<Record<string, NoiseScheduleName>> = {
  linear: "linear",
  cosine: "squaredcos_cap_v2",
  squaredcos_cap_v2: "squaredcos_cap_v2",
};

/** The schedule of that name; undefined where the options name none. */
function scheduleOf(name: unknown, path: string): NoiseScheduleName | undefined {
  if (typeof name !== "string" || name === "") return undefined;
  if (Object.hasOwn(SCHEDULES, name)) return SCHEDULES[name]!;
  throw new CommandError(
    `${path}: expected noise_schedule in its options to be ${Object.keys(SCHEDULES).join(", ")} ` +
      `but got ${JSON.stringify(name)}, which is not here`,
  );
}

/** What they say of the process. */
function processOf(
  options: ReadonlyMap<string, unknown>,
  path: string,
): Partial<DiffusionConfig> {
  const named = PREDICTION_OPTIONS.map((name) => PREDICTIONS[String(options.get(name))])
    .find((objective) => objective !== undefined);
  const objective: Objective | undefined = options.get("predict_xstart") === true
    ? "xstart"
    : options.get("predict_v") === true
    ? "v"
    : named;
  const noiseSchedule = scheduleOf(options.get("noise_schedule"), path);
  const diffusionSteps = options.get("diffusion_steps");
  return {
    ...(objective === undefined ? {} : { objective }),
    ...(noiseSchedule === undefined ? {} : { noiseSchedule }),
    ...(typeof diffusionSteps === "number" ? { diffusionSteps } : {}),
  };
}
