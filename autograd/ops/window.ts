/** Views of parts of tensors, that ops read and write. */
import type { Tensor } from "../../tensor/mod.ts";

/** Elements `start`, `start + step`, ... of an axis, as a view. */
export function window(
  x: Tensor,
  axis: number,
  start: number,
  length: number,
  step: number,
): Tensor {
  const shape = x.shape.map((d, i) => i === axis ? length : d);
  const strides = x.strides.map((s, i) => i === axis ? s * step : s);
  return x.as(shape, strides, x.offset + start * x.strides[axis]!);
}
