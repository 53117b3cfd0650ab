import { toFloat32, toInt32, typedArray } from "./convert.ts";
import type { HostTensor } from "./host_tensor.ts";
import { asSource, type TensorSource } from "./tensor_source.ts";

/** Elements of a type that devices have. */
export type DeviceArray =
  | Float32Array<ArrayBuffer>
  | Float16Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>;

/** A weight as modules load it: its elements, not its bytes. */
export interface StateElements {
  /** Dimensions, outermost first. */
  readonly shape: readonly number[];
  /** The elements, row-major. */
  readonly data: DeviceArray;
}

/**
 * The elements in the nearest type that devices have: `bf16` and `f64` as float32, signed integers
 * as int32, `bool` as 0 and 1. Where the type is the same, so is the memory.
 *
 * @throws {RangeError} If an integer does not fit in 32 bits.
 */
export function toDeviceArray(tensor: HostTensor): DeviceArray {
  switch (tensor.dtype) {
    case "f16":
    case "u32":
    case "u8":
    case "bool":
      return typedArray(tensor) as DeviceArray;
    case "f32":
    case "f64":
    case "bf16":
      return toFloat32(tensor);
    case "i64":
    case "i32":
    case "i16":
    case "i8":
    case "u64":
    case "u16":
      return toInt32(tensor);
  }
}

/**
 * Tensors of a file as `loadStateDict()` takes them.
 *
 * @example
 * ```ts ignore
 * model.loadStateDict(await stateValues(await loadSafetensors("model.safetensors")));
 * ```
 */
export async function stateValues(
  tensors: ReadonlyMap<string, HostTensor> | TensorSource,
): Promise<Map<string, StateElements>> {
  const source = asSource(tensors);
  const values = new Map<string, StateElements>();
  for (const key of source.keys()) {
    const tensor = await source.read(key);
    values.set(key, { shape: tensor.shape, data: toDeviceArray(tensor) });
  }
  return values;
}
