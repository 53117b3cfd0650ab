/**
 * Tensors, dtypes, devices and kernels; no gradients. Most programs import from `@dit/core`.
 *
 * @module
 */

// Making tensors, and how long they live.
export {
  arange,
  full,
  type NestedNumbers,
  type NumberArray,
  ones,
  tensor,
  type TensorData,
  type TensorOptions,
  zeros,
} from "./create.ts";
export {
  defaultGenerator,
  dropoutWith,
  Generator,
  type GeneratorState,
  manualSeed,
  onDraw,
  philox,
  rand,
  randint,
  randn,
  type RandomOptions,
  type Share,
  withGenerator,
} from "./random.ts";
export {
  currentScope,
  type Keepable,
  type KeepHook,
  type Kept,
  onKeep,
  outsideScopes,
  Scope,
  scope,
} from "./scope.ts";
export { checkOptionNames, checkSetting } from "./options.ts";
export { setDebug } from "./debug.ts";
export { empty, Tensor } from "./tensor.ts";

// What tensors are made of.
export {
  checkDType,
  type DType,
  DTYPE_BYTES,
  type HostArray,
  hostArray,
  type HostArrays,
  isFloat,
  limitsOf,
} from "./dtype.ts";
export {
  broadcastAxes,
  broadcastShapes,
  broadcastStrides,
  checkArray,
  checkShape,
  contiguousStrides,
  normalizeAxis,
  sameShape,
  type Shape,
  sizeOf,
} from "./shape.ts";
export * from "./errors.ts";
export * from "./storage.ts";

// Tensors in the host's memory, as files hold them, and where they are read from.
export {
  byteCount,
  elementCount,
  HOST_DTYPE_BYTES,
  type HostDType,
  type HostTensor,
  hostTensor,
  type HostTypedArray,
  infoText,
  isHostFloat,
  type TensorInfo,
  tensorInfo,
} from "./host/host_tensor.ts";
export {
  fromFloat32,
  toFloat16,
  toFloat32,
  toFloat64,
  toInt32,
  typedArray,
  type TypedArrayOf,
} from "./host/convert.ts";
export type { TensorSource } from "./host/source.ts";

// Devices, and the contract of their kernels.
export {
  currentDevice,
  init,
  type InitOptions,
  type Memory,
  memory,
  resetPeak,
  setDevice,
  setNumThreads,
  shutdown,
} from "./device.ts";
export { selfTest } from "./check_device.ts";
export { type KernelPlans, plansOf, tune, type Tuned, usePlans } from "./plans.ts";
export type { TuneModel, TuneOptions } from "./webgpu/tune/tune.ts";
export type { TuneRow } from "./webgpu/tune/choose.ts";
export type { WasmOptions } from "./wasm/backend.ts";
export type { Tier } from "./wasm/device/tier.ts";
export type { GpuProvider, WebGpuOptions } from "./webgpu/device/options.ts";
export type { GpuTraits } from "./webgpu/device/traits.ts";
export type { Backend, BackendMemory, RecordedWork, WorkMemory, WorkRecorder } from "./backend.ts";
export type { Activation, KernelArgs, KernelName } from "./kernels.ts";
export type { DeviceBuffer, View } from "./view.ts";

// Elementwise formulas.
export {
  type BinaryOp,
  type CompareOp,
  constant,
  Expr,
  type ExprLike,
  type Node,
  type Program,
  type Ty,
  type UnaryOp,
} from "./expr.ts";
export { GATED } from "./gated.ts";
export * from "./launch/mod.ts";
