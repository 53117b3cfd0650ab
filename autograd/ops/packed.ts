/** Arrays as kernels of rows take them. */
import {
  contiguous,
  contiguousStrides,
  type Shape,
  sizeOf,
  type Tensor,
} from "../../tensor/mod.ts";

/** A contiguous handle to `x` as `shape`. */
export function packed(x: Tensor, shape: Shape, op: string): Tensor {
  using whole = contiguous(x, op);
  return whole.as(shape, contiguousStrides(shape));
}

/** Rows along the last dimension, and their length. */
export function rowsOf(shape: Shape): [number, number] {
  const n = shape.at(-1) ?? 1;
  return [n === 0 ? 0 : sizeOf(shape) / n, n];
}
