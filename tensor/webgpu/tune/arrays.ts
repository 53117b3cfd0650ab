/** Arrays to measure kernels on, filled with numbers of which every kernel can be held to float64. */
import { type DType, DTYPE_BYTES } from "../../dtype.ts";
import type { DeviceBuffer, View } from "../../view.ts";
import type { WebGpuBackend } from "../backend.ts";

/** Types of arrays that are measured. */
export type FloatType = "f32" | "f16";

/** Numbers in [-1, 1), the same every time. */
export function fillUniform<T extends Float32Array | Float16Array>(array: T, seed: number): T {
  let state = seed;
  for (let i = 0; i < array.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    array[i] = (state >>> 8) / 2 ** 23 - 1;
  }
  return array;
}

/** Numbers after which an array begins again: twice a prime, so that no two rows are alike. */
const PERIOD = 2 * 131071;

/** An array on the device whose elements the host knows. */
export class FilledArray implements Disposable {
  readonly buffer: DeviceBuffer;
  readonly #numbers: Float32Array<ArrayBuffer> | Float16Array<ArrayBuffer>;

  constructor(
    readonly backend: WebGpuBackend,
    readonly dtype: FloatType,
    readonly length: number,
    seed: number,
  ) {
    const numbers = dtype === "f16" ? new Float16Array(PERIOD) : new Float32Array(PERIOD);
    this.#numbers = fillUniform(numbers, seed);
    this.buffer = backend.alloc(length * DTYPE_BYTES[dtype], "tune");
    for (let at = 0; at < length; at += PERIOD) {
      backend.write(this.buffer, at, this.#numbers.subarray(0, Math.min(PERIOD, length - at)));
    }
  }

  /** An element. */
  at(index: number): number {
    return this.#numbers[index % PERIOD]!;
  }

  [Symbol.dispose](): void {
    this.backend.free(this.buffer);
  }
}

/** A view of a buffer, by shape and strides. */
export function viewOf(
  buffer: DeviceBuffer,
  dtype: DType,
  shape: readonly number[],
  strides: readonly number[],
  offset = 0,
): View {
  return { buffer, dtype, offset, shape, strides };
}

/** Sets the first elements of a buffer to NaN, in f32 and in f16, so that what a kernel leaves out is seen. */
export function poison(backend: WebGpuBackend, buffer: DeviceBuffer, bytes: number): void {
  backend.write(buffer, 0, new Uint32Array(bytes >> 2).fill(0x7fc07e00));
}
