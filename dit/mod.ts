/**
 * Diffusion Transformers (arXiv 2212.09748): the model, its twelve configurations, guidance.
 *
 * @module
 */
export * from "./configs.ts";
export {
  AdaptiveNorm,
  type Block,
  type BlockOptions,
  Conditioned,
  DiTBlock,
  FinalLayer,
  PlainBlock,
} from "./blocks.ts";
export * from "./dit.ts";
export * from "./embedders.ts";
export * from "./infer.ts";
export {
  checkedOptions as checkedDiTOptions,
  DIT_CHOICES,
  DIT_DEFAULTS,
  DIT_SWITCHES,
  type DiTOptions,
  type DiTShape,
  type DiTSwitches,
  switchesOf,
} from "./options.ts";
export * from "./positions.ts";
