/**
 * Diffusion Transformers (arXiv 2212.09748): the model, its twelve configurations, guidance.
 *
 * @module
 */
export * from "./configs.ts";
export * from "./dit.ts";
export * from "./infer.ts";
export type { DiTOptions } from "./options.ts";
export * from "./positions.ts";
