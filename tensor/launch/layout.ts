/** Views of a tensor as another shape, and the canonical layouts kernels ask for. */
import { ShapeError, shapeText } from "../errors.ts";
import { checkShape, collapse, contiguousStrides, type Shape, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { contiguous, copy } from "./elementwise.ts";

/** The shape that `shape`, with at most one -1, means for `size` elements. */
export function inferShape(op: string, shape: Shape, size: number): number[] {
  if (!Array.isArray(shape)) checkShape(op, shape);
  const unknown = shape.indexOf(-1);
  const known = shape.filter((_, i) => i !== unknown);
  if (known.includes(-1)) {
    throw new ShapeError(`${op}: expected one -1 at most but got ${shapeText(shape)}`);
  }
  checkShape(op, known);
  const out = [...shape];
  if (unknown >= 0 && sizeOf(known) === 0) {
    throw new ShapeError(
      `${op}: expected -1 beside sizes other than 0, which say what it stands for, but got ${
        shapeText(shape)
      }`,
    );
  }
  if (unknown >= 0) out[unknown] = size / sizeOf(known);
  if (sizeOf(out) !== size || out.some((d) => !Number.isInteger(d))) {
    throw new ShapeError(
      `${op}: expected a shape with ${size} elements but got ${shapeText(shape)}`,
    );
  }
  return out;
}

/** Strides that read a strided array as another shape of the same size, or null where none do. */
export function restride(shape: Shape, strides: Shape, to: Shape): number[] | null {
  if (sizeOf(to) === 0) return contiguousStrides(to);
  const from = collapse(shape, [strides]);
  const steps = from.strides[0]!;
  const out = new Array<number>(to.length);
  let group = from.shape.length - 1;
  let left = from.shape[group]!;
  let step = steps[group]!;
  for (let i = to.length - 1; i >= 0; i--) {
    const d = to[i]!;
    if (d === 1) {
      out[i] = step;
      continue;
    }
    if (left === 1 && group > 0) {
      group--;
      left = from.shape[group]!;
      step = steps[group]!;
    }
    if (left % d !== 0) return null;
    out[i] = step;
    step *= d;
    left /= d;
  }
  return out;
}

/** `x` as `shape` (one -1 allowed): the same elements where strides allow, else a copy. */
export function reshaped(x: Tensor, shape: Shape, op = "reshape"): Tensor {
  const to = inferShape(op, shape, x.size);
  const strides = restride(x.shape, x.strides, to);
  if (strides) return x.as(to, strides);
  using packed = copy(x, x.dtype, op);
  return packed.as(to, contiguousStrides(to));
}

/** `x` with dimensions in the order of `axes`. */
export function permuted(x: Tensor, axes: readonly number[]): Tensor {
  return x.as(axes.map((a) => x.shape[a]!), axes.map((a) => x.strides[a]!));
}

/**
 * `x` as [O, R, I] with the axes from `start` to `end` (exclusive) in the middle; a copy where
 * the strides do not merge.
 */
export function threeDimensional(x: Tensor, start: number, end: number, op: string): Tensor {
  const to = [
    sizeOf(x.shape.slice(0, start)),
    sizeOf(x.shape.slice(start, end)),
    sizeOf(x.shape.slice(end)),
  ];
  return reshaped(x, to, op);
}

/** `x` with unit stride in its last dimension; a copy where it has another. */
export function unitInner(x: Tensor, op: string): Tensor {
  const last = x.rank - 1;
  const unit = x.shape[last] === 1 || x.strides[last] === 1;
  return unit && x.shape[last] !== 1
    ? x.as(x.shape, x.strides)
    : unit
    ? x.as(x.shape, [...x.strides.slice(0, last), 1])
    : contiguous(x, op);
}
