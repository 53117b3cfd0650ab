import { DTypeError } from "./errors.ts";

/** Element types of a tensor. Booleans are `u8` holding 0 or 1. */
export type DType = "f32" | "f16" | "i32" | "u32" | "u8";

/** The host's array for each element type. */
export interface HostArrays {
  /** 24 bits of precision; the type of weights, and of every sum. */
  f32: Float32Array<ArrayBuffer>;
  /** 11 bits of precision, 65504 at most; stored so, computed with as f32. */
  f16: Float16Array<ArrayBuffer>;
  /** Two's complement; indices. */
  i32: Int32Array<ArrayBuffer>;
  /** 0 to 2^32 - 1; random bits. */
  u32: Uint32Array<ArrayBuffer>;
  /** 0 to 255; booleans as 0 and 1, pixels. */
  u8: Uint8Array<ArrayBuffer>;
}

/** Any array a tensor's elements can be read into; float64 only from the reference device. */
export type HostArray = HostArrays[DType] | Float64Array<ArrayBuffer>;

/** Bytes of one element. */
export const DTYPE_BYTES = { f32: 4, f16: 2, i32: 4, u32: 4, u8: 1 } as const satisfies Record<
  DType,
  number
>;

const CONSTRUCTORS = {
  f32: Float32Array,
  f16: Float16Array,
  i32: Int32Array,
  u32: Uint32Array,
  u8: Uint8Array,
} as const;

/** A zeroed host array of `length` elements of `dtype`. */
export function hostArray<D extends DType>(dtype: D, length: number): HostArrays[D] {
  return new CONSTRUCTORS[dtype](length) as HostArrays[D];
}

/** `bytes` seen as elements of `dtype`, without a copy. */
export function hostArrayOf<D extends DType>(dtype: D, bytes: Uint8Array): HostArrays[D] {
  const constructor = CONSTRUCTORS[dtype];
  return new constructor(
    bytes.buffer as ArrayBuffer,
    bytes.byteOffset,
    bytes.byteLength / DTYPE_BYTES[dtype],
  ) as HostArrays[D];
}

/** The dtype a typed array holds, or undefined for a kind tensors do not have. */
export function dtypeOf(data: ArrayLike<number>): DType | undefined {
  if (data instanceof Float32Array || data instanceof Float64Array) return "f32";
  if (data instanceof Float16Array) return "f16";
  if (data instanceof Int32Array) return "i32";
  if (data instanceof Uint32Array) return "u32";
  if (data instanceof Uint8Array || data instanceof Uint8ClampedArray) return "u8";
  return undefined;
}

/** Whether `dtype` is a floating-point type, the only ones with gradients. */
export function isFloat(dtype: DType): dtype is "f32" | "f16" {
  return dtype === "f32" || dtype === "f16";
}

const INTEGER_RANGES = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  u8: [0, 255],
} as const;

/** Smallest and largest number of an integer type; infinite for floats. */
export function limitsOf(dtype: DType): readonly [number, number] {
  return isFloat(dtype) ? [-Infinity, Infinity] : INTEGER_RANGES[dtype];
}

/** Whether `dtype` can hold `value`: floats any number, integers whole ones in their range. */
export function holds(dtype: DType, value: number): boolean {
  if (isFloat(dtype)) return true;
  const [low, high] = INTEGER_RANGES[dtype];
  return Number.isInteger(value) && value >= low && value <= high;
}

/** Throws where `dtype`, which JavaScript may give as anything, is none. */
export function checkDType(op: string, dtype: DType): void {
  if (Object.hasOwn(DTYPE_BYTES, dtype)) return;
  const known = Object.keys(DTYPE_BYTES).join(", ");
  throw new DTypeError(`${op}: expected a dtype ${known} but got ${dtype}`);
}
