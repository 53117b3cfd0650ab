/** Flags of `deno task train` that are stored in the model's configuration: those of the model itself. */
import { DIT_CHOICES, DIT_DEFAULTS } from "@dit/core/dit";
import type { ModelConfig } from "@dit/core/pipeline";
import { choice, count, type Flag, real, text, toggle, type ValueOf } from "../../shared/flags.ts";
import { defaultsText, type Preset } from "../../shared/settings.ts";

/** A flag of the model or its process, which is stored in the model's configuration. */
export interface ModelFlag<T, D = undefined> extends Flag<T> {
  /** What holds where it is left out, unless the model's name or the data say. */
  readonly defaults: Readonly<Record<Preset, D>>;
  /** Its value in a configuration. */
  valueIn(config: ModelConfig): T | null;
}

/** A flag of the model whose default is another by model or data, as `defaultText` says. */
export function modelFlag<F extends Flag<unknown>>(
  flag: F,
  valueIn: (config: ModelConfig) => ValueOf<F> | null,
  defaultText: string,
): ModelFlag<ValueOf<F>> {
  const { help, value, parse } = flag as Flag<ValueOf<F>>;
  const defaults = both(undefined);
  return { help, value, parse, valueIn, defaults, defaultText };
}

/** A flag of the model with a default of its own. */
export function modelFlagWith<F extends Flag<unknown>, const D extends ValueOf<F> | null>(
  flag: F,
  valueIn: (config: ModelConfig) => ValueOf<F> | null,
  defaults: Readonly<Record<Preset, D>>,
): ModelFlag<ValueOf<F>, D> {
  return { ...modelFlag(flag, valueIn, defaultsText(defaults)), defaults };
}

/** One default for models of all sizes. */
export function both<const D>(value: D): Readonly<Record<Preset, D>> {
  return { small: value, original: value };
}

/** What to train. */
export const MODEL_FLAGS = {
  "model": modelFlagWith(
    text("NAME", "DiT-{Mini,XS}/{2,4,8}, or DiT-{S,B,L,XL}/{2,4,8} as the paper's"),
    ({ name }) => name,
    both("DiT-Mini/4"),
  ),
  "hidden-size": modelFlag(count("width of a token"), ({ dit }) => dit.hiddenSize, "the model's"),
  "depth": modelFlag(count("number of blocks"), ({ dit }) => dit.depth, "the model's"),
  "num-heads": modelFlag(count("attention heads"), ({ dit }) => dit.numHeads, "the model's"),
  "patch-size": modelFlag(
    count("pixels (or latents) a side of a token"),
    ({ dit }) => dit.patchSize,
    "the model's",
  ),
  "mlp-ratio": modelFlagWith(
    real("width of the MLP over that of a token", 0, 1e6),
    ({ dit }) => dit.mlpRatio,
    both(4),
  ),
  "class-dropout": modelFlag(
    real("share of labels that are dropped, for guidance", 0, 1),
    ({ dit }) => dit.classDropoutProb,
    "0.1, or 0 with one class",
  ),
  "norm": modelFlagWith(
    choice(DIT_CHOICES.norm, "normalisation of tokens: layerNorm, or rmsNorm (arXiv 1910.07467)"),
    ({ dit }) => dit.norm ?? DIT_DEFAULTS.norm,
    both(DIT_DEFAULTS.norm),
  ),
  "mlp": modelFlagWith(
    choice(DIT_CHOICES.mlp, "MLP of blocks: gelu, or swiglu (arXiv 2002.05202) of as many weights"),
    ({ dit }) => dit.mlp ?? DIT_DEFAULTS.mlp,
    both(DIT_DEFAULTS.mlp),
  ),
  "rope": modelFlagWith(
    toggle("turn queries and keys by the places of their tokens (arXiv 2104.09864)"),
    ({ dit }) => dit.rope ?? DIT_DEFAULTS.rope,
    both(DIT_DEFAULTS.rope),
  ),
  "qk-norm": modelFlagWith(
    toggle("normalise queries and keys, against scores that grow (arXiv 2302.05442)"),
    ({ dit }) => dit.qkNorm ?? DIT_DEFAULTS.qkNorm,
    both(DIT_DEFAULTS.qkNorm),
  ),
  "conditioning": modelFlagWith(
    choice(DIT_CHOICES.conditioning, "how blocks are told time and class (arXiv 2212.09748, 3.2)"),
    ({ dit }) => dit.conditioning ?? DIT_DEFAULTS.conditioning,
    both(DIT_DEFAULTS.conditioning),
  ),
  "bottleneck": modelFlagWith(
    count("numbers that a patch goes through to its token, 0 for all (arXiv 2511.13720)", 0),
    ({ dit }) => dit.bottleneck ?? DIT_DEFAULTS.bottleneck,
    both(DIT_DEFAULTS.bottleneck),
  ),
  "early-head": modelFlagWith(
    count("blocks before a second head, for sample --internal-guidance (arXiv 2512.24176)", 0),
    ({ dit }) => dit.earlyHead ?? DIT_DEFAULTS.earlyHead,
    both(DIT_DEFAULTS.earlyHead),
  ),
  "learn-sigma": modelFlagWith(toggle("learn the variance too"), ({ dit }) => dit.learnSigma, {
    small: false,
    original: true,
  }),
};
