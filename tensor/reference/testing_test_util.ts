import type { Backend } from "../backend.ts";
import type { View } from "../view.ts";
import { type DType, DTYPE_BYTES, type HostArray, hostArray } from "../dtype.ts";
import { contiguousStrides, type Shape, sizeOf } from "../shape.ts";

/** A contiguous array on the reference device holding `values`. */
export function upload(
  backend: Backend,
  shape: Shape,
  values: ArrayLike<number>,
  dtype: DType = "f32",
): View {
  const view = empty(backend, shape, dtype);
  const data = hostArray(dtype, values.length);
  data.set(values);
  backend.write(view.buffer, 0, data);
  return view;
}

/** A contiguous array on the reference device that nothing was written to. */
export function empty(backend: Backend, shape: Shape, dtype: DType = "f32"): View {
  const buffer = backend.alloc(sizeOf(shape) * DTYPE_BYTES[dtype], "test");
  return { buffer, dtype, offset: 0, shape, strides: contiguousStrides(shape) };
}

/** The elements of a contiguous array. */
export async function download(backend: Backend, view: View): Promise<number[]> {
  const data: HostArray = await backend.read(
    view.buffer,
    view.dtype,
    view.offset,
    sizeOf(view.shape),
  );
  return Array.from(data);
}
