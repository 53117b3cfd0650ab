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
