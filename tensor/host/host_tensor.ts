/**
 * Tensors in the host's memory, as files hold them: an element type, a shape and little-endian bytes. Files know more
 * types than devices do (bf16, 64-bit integers); `convert.ts` turns one into the other.
 *
 * Typed arrays are little-endian on every platform JavaScript engines support today, so bytes are
 * viewed as numbers without swapping.
 */

/**
 * Element types of tensors in files. `bool` is one byte, 0 or 1; `f8e4m3` (without infinities) and
 * `f8e5m2` are the 8-bit floats of "FP8 Formats for Deep Learning" (Micikevicius et al. 2022).
 */
export type HostDType =
  | "f64"
  | "f32"
  | "f16"
  | "bf16"
  | "f8e4m3"
  | "f8e5m2"
  | "i64"
  | "i32"
  | "i16"
  | "i8"
  | "u64"
  | "u32"
  | "u16"
  | "u8"
  | "bool";

/** Bytes of one element. */
export const HOST_DTYPE_BYTES = {
  f64: 8,
  f32: 4,
  f16: 2,
  bf16: 2,
  f8e4m3: 1,
  f8e5m2: 1,
  i64: 8,
  i32: 4,
  i16: 2,
  i8: 1,
  u64: 8,
  u32: 4,
  u16: 2,
  u8: 1,
  bool: 1,
} as const satisfies Record<HostDType, number>;

/** What is known of a tensor before its values are read. */
export interface TensorInfo {
  /** Type of the elements. */
  readonly dtype: HostDType;
  /** Dimensions, outermost first; `[]` for a scalar. */
  readonly shape: readonly number[];
}

/** A tensor in host memory. */
export interface HostTensor extends TensorInfo {
  /** The elements, row-major without gaps, little-endian. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Element type and shape alone, of something that has more. */
export function tensorInfo({ dtype, shape }: TensorInfo): TensorInfo {
  return { dtype, shape };
}

/** Whether elements are floating-point numbers, of any precision. */
export function isHostFloat(dtype: string): boolean {
  return /^b?f\d/.test(dtype);
}

/** Elements in a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const d of shape) count *= d;
  return count;
}

/** Bytes of a tensor's elements. */
export function byteCount(info: TensorInfo): number {
  return elementCount(info.shape) * HOST_DTYPE_BYTES[info.dtype];
}

/** `f32 [2, 3]`, for messages. */
export function infoText(info: TensorInfo): string {
  return `${info.dtype} [${info.shape.join(", ")}]`;
}

/** Typed arrays that hold one element type of files each. */
export type HostTypedArray =
  | Float64Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float16Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>;

/**
 * A tensor over `array`'s memory, without a copy.
 *
 * @param array The elements, row-major. Its kind gives the element type.
 * @param shape Dimensions; one dimension of all elements when left out.
 * @param dtype Given for the two types that have no array of their own: `bf16` over a Uint16Array,
 * `bool` over a Uint8Array.
 * @throws {RangeError} If shape or dtype do not fit the array.
 */
export function hostTensor(
  array: HostTypedArray,
  shape: readonly number[] = [array.length],
  dtype?: "bf16" | "bool",
): HostTensor {
  const own = dtypeOfArray(array);
  if ((dtype === "bf16" && own !== "u16") || (dtype === "bool" && own !== "u8")) {
    throw new RangeError(`hostTensor: expected elements of ${dtype} but got an array of ${own}`);
  }
  if (elementCount(shape) !== array.length) {
    throw new RangeError(
      `hostTensor: expected ${elementCount(shape)} elements for shape [${shape.join(", ")}] ` +
        `but got ${array.length}`,
    );
  }
  const data = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return { dtype: dtype ?? own, shape: [...shape], data };
}

function dtypeOfArray(array: HostTypedArray): HostDType {
  if (array instanceof Float64Array) return "f64";
  if (array instanceof Float32Array) return "f32";
  if (array instanceof Float16Array) return "f16";
  if (array instanceof BigInt64Array) return "i64";
  if (array instanceof Int32Array) return "i32";
  if (array instanceof Int16Array) return "i16";
  if (array instanceof Int8Array) return "i8";
  if (array instanceof BigUint64Array) return "u64";
  if (array instanceof Uint32Array) return "u32";
  if (array instanceof Uint16Array) return "u16";
  return "u8";
}
