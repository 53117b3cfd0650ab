export { FormatError } from "./errors.ts";
export * from "./host_tensor.ts";
export * from "./convert.ts";
export * from "./source.ts";
export * from "./file.ts";
export { mapSource, readAll, type TensorSource, type WeightFile } from "./tensor_source.ts";
export { loadSafetensors, SafetensorsFile } from "./safetensors/reader.ts";
export {
  type PlannedTensor,
  SafetensorsWriter,
  saveSafetensors,
  writeSafetensors,
} from "./safetensors/writer.ts";
export { loadTorch, StoredTensor, TorchFile } from "./torch/file.ts";
export { lazyStateDict, saveTorch, writeTorch } from "./torch/writer.ts";
export {
  type LazyTensor,
  Namespace,
  type TorchKey,
  type TorchValue,
  Tuple,
} from "./torch/values.ts";
export { loadNpy, NpyFile, RowWriter, saveNpy, writeNpy } from "./numpy/npy.ts";
export { loadNpz, NpzFile, NpzWriter, saveNpz, writeNpz } from "./numpy/npz.ts";
export { ditFromDiffusers, ditToDiffusers } from "./state_dict/dit.ts";
export { convertVae, type VaeLayout } from "./state_dict/vae.ts";
export { asDiT, asVae, type DiTLayout, ditLayout, vaeLayout } from "./state_dict/layout.ts";
