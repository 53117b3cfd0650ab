/**
 * Files of tensors: safetensors, PyTorch's `.pt` (read without executing anything), `.npy` and
 * `.npz`; and the names of weights that DiT and its VAE have in them.
 *
 * @module
 */
export { FormatError } from "./errors.ts";
export { foreignKindOf } from "./foreign.ts";
export {
  byteCount,
  elementCount,
  fromFloat32,
  HOST_DTYPE_BYTES,
  type HostDType,
  type HostTensor,
  hostTensor,
  type HostTypedArray,
  type TensorInfo,
  type TensorSource,
  toFloat16,
  toFloat32,
  toFloat64,
  toInt32,
  typedArray,
  type TypedArrayOf,
} from "../tensor/mod.ts";
export { type ByteSink, BytesSink, bytesSource, type RandomAccess } from "./source.ts";
export { AtomicFile, openFile, sha256, writeAtomically } from "./file.ts";
export { type FileLike, openBytes } from "./open.ts";
export { type HttpOptions, openHttp } from "./http.ts";
export type { DeviceTensor, LazyTensor, SavableTensor } from "./savable.ts";
export { mapSource, readAll, type WeightFile } from "./tensor_source.ts";
export { loadSafetensors, SafetensorsFile } from "./safetensors/reader.ts";
export {
  type PlannedTensor,
  SafetensorsWriter,
  saveSafetensors,
  writeSafetensors,
} from "./safetensors/writer.ts";
export { isTorch } from "./torch/detect.ts";
export { ShardedFile } from "./sharded.ts";
export { loadTorch, StoredTensor, TorchFile } from "./torch/file.ts";
export { lazyStateDict, saveTorch, writeTorch } from "./torch/writer.ts";
export { Namespace, Opaque, type TorchKey, type TorchValue, Tuple } from "./torch/values.ts";
export { loadNpy, NpyFile, RowWriter, saveNpy, writeNpy } from "./numpy/npy.ts";
export { loadNpz, NpzFile, NpzWriter, saveNpz, writeNpz } from "./numpy/npz.ts";
export { ditFromDiffusers, ditToDiffusers } from "./state_dict/dit.ts";
export { crc32 } from "./zip/crc32.ts";
export { type ZipEntryOptions, ZipEntryWriter, ZipWriter } from "./zip/writer.ts";
export { convertVae, type VaeLayout } from "./state_dict/vae.ts";
export { holdsModel, type ModelKind, unwrapNames, type Unwrapped } from "./state_dict/wrapping.ts";
export { asDiT, asVae, type DiTLayout, ditLayout, vaeLayout } from "./state_dict/layout.ts";
