/**
 * Tensors, dtypes, devices and kernels; no gradients. Most programs import from `@dit/core`.
 *
 * @module
 */
export * from "./backend.ts";
export * from "./create.ts";
export * from "./device.ts";
export * from "./dtype.ts";
export * from "./errors.ts";
export * from "./expr.ts";
export * from "./random.ts";
export * from "./scope.ts";
export * from "./shape.ts";
export * from "./storage.ts";
export * from "./tensor.ts";
export * from "./launch/mod.ts";
