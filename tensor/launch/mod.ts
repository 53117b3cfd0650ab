/**
 * Launchers: what an op does forward, without gradients. They check devices and dtypes, arrange
 * strides as kernels want them, and make the result. Used by the differentiable ops in autograd/.
 */
export * from "./dispatch.ts";
export * from "./elementwise.ts";
export * from "./formulas.ts";
export * from "./layout.ts";
export * from "./matmul.ts";
export * from "./reduce.ts";
