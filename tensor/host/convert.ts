/** From the element types of files to those of devices, and back. */
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16, f8ToF32 } from "./half.ts";
import {
  byteCount,
  elementCount,
  type HostDType,
  type HostTensor,
  type HostTypedArray,
  infoText,
  isHostFloat,
} from "./host_tensor.ts";

const ARRAYS = {
  f64: Float64Array,
  f32: Float32Array,
  f16: Float16Array,
  bf16: Uint16Array,
  f8e4m3: Uint8Array,
  f8e5m2: Uint8Array,
  i64: BigInt64Array,
  i32: Int32Array,
  i16: Int16Array,
  i8: Int8Array,
  u64: BigUint64Array,
  u32: Uint32Array,
  u16: Uint16Array,
  u8: Uint8Array,
  bool: Uint8Array,
} as const;

/** The typed array that {@linkcode typedArray} gives for each element type. */
export type TypedArrayOf = {
  f64: Float64Array<ArrayBuffer>;
  f32: Float32Array<ArrayBuffer>;
  f16: Float16Array<ArrayBuffer>;
  bf16: Uint16Array<ArrayBuffer>;
  f8e4m3: Uint8Array<ArrayBuffer>;
  f8e5m2: Uint8Array<ArrayBuffer>;
  i64: BigInt64Array<ArrayBuffer>;
  i32: Int32Array<ArrayBuffer>;
  i16: Int16Array<ArrayBuffer>;
  i8: Int8Array<ArrayBuffer>;
  u64: BigUint64Array<ArrayBuffer>;
  u32: Uint32Array<ArrayBuffer>;
  u16: Uint16Array<ArrayBuffer>;
  u8: Uint8Array<ArrayBuffer>;
  bool: Uint8Array<ArrayBuffer>;
};

/**
 * The elements as the typed array of their kind (those of `bf16` and 8-bit floats as bit patterns):
 * over the tensor's own memory, or a copy of it where that is not aligned.
 *
 * @throws {RangeError} If the tensor's bytes and shape disagree.
 */
export function typedArray<D extends HostDType>(
  tensor: HostTensor & { readonly dtype: D },
): TypedArrayOf[D] {
  const { data, dtype } = tensor;
  if (data.byteLength !== byteCount(tensor)) {
    throw new RangeError(
      `typedArray: expected ${byteCount(tensor)} bytes for ${infoText(tensor)} ` +
        `but got ${data.byteLength}`,
    );
  }
  const constructor = ARRAYS[dtype];
  const aligned = data.byteOffset % constructor.BYTES_PER_ELEMENT === 0 ? data : data.slice();
  return new constructor(
    aligned.buffer,
    aligned.byteOffset,
    elementCount(tensor.shape),
  ) as HostTypedArray as TypedArrayOf[D];
}

/**
 * Elements as float32, exact where float32 has the value, otherwise rounded to nearest. A tensor
 * that is float32 already shares its memory with the result.
 */
export function toFloat32(tensor: HostTensor): Float32Array<ArrayBuffer> {
  const { dtype } = tensor;
  const from = typedArray(tensor);
  if (from instanceof Float32Array) return from;
  const out = new Float32Array(from.length);
  if (dtype === "bf16") bf16ToF32(from as Uint16Array, out);
  else if (dtype === "f8e4m3" || dtype === "f8e5m2") f8ToF32(dtype, from as Uint8Array, out);
  else if (from instanceof Float16Array) f16ToF32(bitsOf(from), out);
  else if (isWide(from)) wideToNumbers(from, out);
  else out.set(from);
  return out;
}

/**
 * Elements as float16, exact where float16 has the value, otherwise rounded to nearest, ties to
 * even; past 65504 infinity. A tensor that is float16 already shares its memory with the result.
 */
export function toFloat16(tensor: HostTensor): Float16Array<ArrayBuffer> {
  const from = typedArray(tensor);
  if (from instanceof Float16Array) return from;
  // Through float32 a float64 would be rounded twice. Whole numbers cannot be: those that float32
  // rounds are far past 65504.
  if (from instanceof Float64Array) return new Float16Array(from);
  const out = new Float16Array(from.length);
  f32ToF16(toFloat32(tensor), bitsOf(out));
  return out;
}

/**
 * Elements as float64; whole numbers past 2^53 are rounded to nearest. A tensor that is float64
 * already shares its memory with the result.
 */
export function toFloat64(tensor: HostTensor): Float64Array<ArrayBuffer> {
  const { dtype } = tensor;
  const from = typedArray(tensor);
  if (from instanceof Float64Array) return from;
  const out = new Float64Array(from.length);
  if (isHostFloat(dtype)) out.set(toFloat32(tensor));
  else if (isWide(from)) wideToNumbers(from, out);
  else out.set(from);
  return out;
}

/**
 * Elements of an integer or bool tensor as int32: labels, timesteps, indices. A tensor that is
 * int32 already shares its memory with the result.
 *
 * @throws {RangeError} If the tensor is not of integers, or one of them does not fit.
 */
export function toInt32(tensor: HostTensor): Int32Array<ArrayBuffer> {
  const { dtype } = tensor;
  if (isHostFloat(dtype)) {
    throw new RangeError(`toInt32: expected a tensor of integers but got ${infoText(tensor)}`);
  }
  const from = typedArray(tensor);
  if (from instanceof Int32Array) return from;
  const out = new Int32Array(from.length);
  for (let i = 0; i < from.length; i++) {
    const value = from[i]!;
    out[i] = Number(value);
    if (out[i] !== Number(value)) {
      throw new RangeError(`toInt32: expected values that fit in 32 bits but got ${value} at ${i}`);
    }
  }
  return out;
}

/**
 * Float32 values as a tensor of another floating-point type, rounded to nearest, ties to even.
 * Float32 itself shares its memory with the result.
 */
export function fromFloat32(
  values: Float32Array<ArrayBuffer>,
  shape: readonly number[],
  dtype: "f32" | "f16" | "bf16",
): HostTensor {
  if (elementCount(shape) !== values.length) {
    throw new RangeError(
      `fromFloat32: expected ${elementCount(shape)} elements for shape [${shape.join(", ")}] ` +
        `but got ${values.length}`,
    );
  }
  if (dtype === "f32") {
    return {
      dtype,
      shape,
      data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    };
  }
  const bits = new Uint16Array(values.length);
  (dtype === "f16" ? f32ToF16 : f32ToBf16)(values, bits);
  return { dtype, shape, data: new Uint8Array(bits.buffer) };
}

type WideArray = BigInt64Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>;

function isWide(array: HostTypedArray): array is WideArray {
  return array instanceof BigInt64Array || array instanceof BigUint64Array;
}

/** 64-bit integers by their halves, which is much faster than through BigInt and as exact. */
function wideToNumbers(from: WideArray, out: Float32Array | Float64Array): void {
  const low = new Uint32Array(from.buffer, from.byteOffset, 2 * from.length);
  const high = from instanceof BigInt64Array
    ? new Int32Array(from.buffer, from.byteOffset, 2 * from.length)
    : low;
  for (let i = 0; i < out.length; i++) out[i] = high[2 * i + 1]! * 2 ** 32 + low[2 * i]!;
}

function bitsOf(array: Float16Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  return new Uint16Array(array.buffer, array.byteOffset, array.length);
}
