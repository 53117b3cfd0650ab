/**
 * What files can be written from. `io` does not depend on devices: it knows a device's tensor by its
 * element type, shape and `data()` alone, and reads one tensor at a time.
 */
import {
  type HostTensor,
  hostTensor,
  type HostTypedArray,
  type TensorInfo,
} from "../tensor/mod.ts";

/** A tensor whose values are read when they are wanted. */
export interface LazyTensor extends TensorInfo {
  /** The whole tensor, row-major. */
  read(): Promise<HostTensor>;
}

/** A tensor on a device. */
export interface DeviceTensor extends TensorInfo {
  /** The elements, row-major. */
  data(): Promise<HostTypedArray>;
}

/** Anything a file can be written from. */
export type SavableTensor = HostTensor | LazyTensor | DeviceTensor;

/** Brings a tensor's values to the host. */
export async function fetchTensor(tensor: SavableTensor): Promise<HostTensor> {
  if ("read" in tensor) return await tensor.read();
  if (!isOnDevice(tensor)) return tensor;
  const elements = await tensor.data();
  // A device that computes in float64 hands that out for what it calls f32 or f16.
  if (elements instanceof Float64Array && tensor.dtype !== "f64") {
    const stored = tensor.dtype === "f16" ? new Float16Array(elements) : new Float32Array(elements);
    return hostTensor(stored, tensor.shape);
  }
  return hostTensor(elements, tensor.shape);
}

function isOnDevice(tensor: HostTensor | DeviceTensor): tensor is DeviceTensor {
  return typeof tensor.data === "function";
}
