/** Memory of a device, and arrays in it. */
import { type DType, DTYPE_BYTES } from "./dtype.ts";
import type { Shape } from "./shape.ts";

/** A block of device memory. Each backend has its own kind behind it. */
export interface DeviceBuffer {
  /** Size asked for; the block itself may be larger. */
  readonly bytes: number;
}

/** Elements of a buffer seen as an array. Strides count elements and are never negative. */
export interface View {
  /** Where the elements are; other views may share it. */
  readonly buffer: DeviceBuffer;
  /** Type of the elements as stored. */
  readonly dtype: DType;
  /** First element, counted in elements from the start of the buffer. */
  readonly offset: number;
  /** Dimensions, outermost first. */
  readonly shape: Shape;
  /** Elements to step for each dimension; 0 where one element repeats. */
  readonly strides: Shape;
}

/** First and one-past-last byte a view touches in its buffer. */
export function viewBytes(view: View): { start: number; end: number } {
  const size = DTYPE_BYTES[view.dtype];
  let last = view.offset;
  for (let i = 0; i < view.shape.length; i++) {
    if (view.shape[i] === 0) return { start: view.offset * size, end: view.offset * size };
    last += (view.shape[i]! - 1) * view.strides[i]!;
  }
  return { start: view.offset * size, end: (last + 1) * size };
}

/** Throws where a view reaches outside its buffer: the last guard before unchecked kernels. */
export function checkView(view: View, op: string): void {
  const { start, end } = viewBytes(view);
  if (start < 0 || end > view.buffer.bytes || view.strides.some((s) => s < 0)) {
    throw new RangeError(
      `${op}: expected a view inside its buffer of ${view.buffer.bytes} bytes but got bytes [${start}, ${end})`,
    );
  }
}
