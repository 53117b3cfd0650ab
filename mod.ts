/**
 * Diffusion Transformers that train and sample on any machine: tensors and autograd on WebGPU and
 * WebAssembly, layers, models, diffusion and weight files. No Python, no CUDA, no dependencies.
 *
 * @module
 */
export * from "./tensor/mod.ts";
export * from "./autograd/mod.ts";
export * as nn from "./nn/mod.ts";
export * from "./nn/mod.ts";
export * from "./dit/mod.ts";
export * from "./diffusion/mod.ts";
export * from "./vae/mod.ts";
export * from "./io/mod.ts";
