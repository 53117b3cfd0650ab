/**
 * Diffusion Transformers that train and sample on any machine: tensors and autograd on WebGPU and
 * WebAssembly, layers, models, diffusion and weight files. No Python, no CUDA, no dependencies.
 *
 * @module
 */
export {
  arange,
  currentDevice,
  defaultGenerator,
  type Device,
  DeviceError,
  DeviceLostError,
  type DType,
  DTypeError,
  full,
  Generator,
  type GeneratorState,
  GradientError,
  type HostArray,
  IndexError,
  init,
  type InitOptions,
  manualSeed,
  type Memory,
  memory,
  type NestedNumbers,
  type NumberArray,
  ones,
  OutOfMemoryError,
  rand,
  randint,
  randn,
  type RandomOptions,
  resetPeak,
  Scope,
  scope,
  ScopeError,
  setDebug,
  setDevice,
  setNumThreads,
  type Shape,
  ShapeError,
  shutdown,
  Tensor,
  tensor,
  type TensorData,
  type TensorOptions,
  UseAfterFreeError,
  zeros,
} from "./tensor/mod.ts";
export * from "./autograd/mod.ts";
export {
  AdamW,
  type AdamWOptions,
  clipGradNorm,
  constantSchedule,
  cosineSchedule,
  Ema,
  type EmaOptions,
  GradScaler,
  type GradScalerOptions,
  Module,
  type Schedule,
  type StateDict,
  StateDictError,
  warmupSchedule,
} from "./nn/mod.ts";
export * as nn from "./nn/mod.ts";
export * from "./dit/mod.ts";
export * from "./diffusion/mod.ts";
export * from "./vae/mod.ts";
export * from "./io/mod.ts";
