/** Every differentiable op. */
export * from "./attention.ts";
export * from "./conv.ts";
export * from "./elementwise.ts";
export { gatedResidual } from "./gated_residual.ts";
export * from "./group_norm.ts";
export * from "./indexing.ts";
export * from "./layer_norm.ts";
export { linear, type LinearOptions, matmul, type MatmulOptions } from "./matmul.ts";
export { mlp, type MlpActivation, type MlpOptions } from "./mlp.ts";
export * from "./parts.ts";
export * from "./pool.ts";
export * from "./reduce.ts";
export { rotaryEmbedding, type RotaryTables } from "./rotary.ts";
export * from "./shape.ts";
export * from "./softmax.ts";
export { swiglu } from "./swiglu.ts";
