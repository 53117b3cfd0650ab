/** Every differentiable op. */
export * from "./attention.ts";
export * from "./conv.ts";
export * from "./elementwise.ts";
export * from "./indexing.ts";
export * from "./matmul.ts";
export * from "./norm.ts";
export * from "./parts.ts";
export * from "./pool.ts";
export * from "./reduce.ts";
export { rotaryEmbedding, type RotaryTables } from "./rotary.ts";
export * from "./shape.ts";
export { swiglu } from "./swiglu.ts";
