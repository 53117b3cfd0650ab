import { ShapeError, shapeText, valueText } from "./errors.ts";

/** Dimensions, outermost first. */
export type Shape = readonly number[];

/** Elements in a shape; 1 for a scalar `[]`. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const d of shape) size *= d;
  return size;
}

/** Row-major strides in elements. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i]!;
  }
  return strides;
}

/** Whether elements lie row-major without gaps (dimensions of size 1 may have any stride). */
export function isContiguous(shape: Shape, strides: Shape): boolean {
  if (shape.includes(0)) return true;
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== step) return false;
    step *= shape[i]!;
  }
  return true;
}

/** Whether both have the same dimensions; `[2]` and `[1, 2]` do not. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}

/** Throws unless every dimension is a whole number, 0 or more. */
export function checkShape(op: string, shape: Shape): void {
  const isShape = Array.isArray(shape) &&
    Array.from(shape).every((d) => Number.isSafeInteger(d) && d >= 0);
  if (!isShape) {
    throw new ShapeError(
      `${op}: expected a shape of whole numbers, 0 or more, but got ${
        Array.isArray(shape) ? shapeText(shape) : valueText(shape)
      }`,
    );
  }
}

/** Throws, from JavaScript, where what should be an array is none. */
export function checkArray(op: string, what: string, given: unknown): void {
  if (Array.isArray(given)) return;
  throw new TypeError(`${op}: expected ${what}, an array, but got ${valueText(given)}`);
}

/** The shape that all of `shapes` broadcast to, by NumPy's rule. */
export function broadcastShapes(op: string, ...shapes: Shape[]): number[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    for (let i = 0; i < shape.length; i++) {
      const d = shape[i]!;
      const j = rank - shape.length + i;
      if (d === 1 || d === out[j]) continue;
      if (out[j] !== 1) {
        throw new ShapeError(
          `${op}: expected shapes that broadcast together but got ${
            shapes.map(shapeText).join(" and ")
          }`,
        );
      }
      out[j] = d;
    }
  }
  return out;
}

/** Strides that read a tensor of `shape` and `strides` as `to`: 0 where a dimension repeats. */
export function broadcastStrides(shape: Shape, strides: Shape, to: Shape): number[] {
  const lead = to.length - shape.length;
  return to.map((d, i) => i < lead || (shape[i - lead] === 1 && d !== 1) ? 0 : strides[i - lead]!);
}

/** The axes of `to` along which a tensor of `shape` repeats when it is broadcast. */
export function broadcastAxes(shape: Shape, to: Shape): number[] {
  const lead = to.length - shape.length;
  return to.flatMap((d, i) => i < lead || (shape[i - lead] === 1 && d !== 1) ? [i] : []);
}

/** `axis` counted from the front; negative ones count from the end. */
export function normalizeAxis(op: string, axis: number, rank: number): number {
  if (rank === 0) {
    throw new ShapeError(`${op}: expected a tensor with at least one axis but got shape []`);
  }
  const at = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || at < 0 || at >= rank) {
    throw new ShapeError(
      `${op}: expected an axis in [${-rank}, ${rank}) but got ${
        typeof axis === "number" ? axis : valueText(axis)
      }`,
    );
  }
  return at;
}

/**
 * Merges neighbouring dimensions that all operands step through evenly, and drops dimensions of
 * size 1, so that kernels see as few loops as there really are. Returns at least one dimension.
 */
export function collapse(
  shape: Shape,
  strides: readonly Shape[],
): { shape: number[]; strides: number[][] } {
  const outShape: number[] = [];
  const outStrides: number[][] = strides.map(() => []);
  for (let i = 0; i < shape.length; i++) {
    const d = shape[i]!;
    if (d === 1) continue;
    const last = outShape.length - 1;
    const merges = last >= 0 &&
      strides.every((s, k) => outStrides[k]![last] === s[i]! * d);
    if (merges) {
      outShape[last]! *= d;
      strides.forEach((s, k) => outStrides[k]![last] = s[i]!);
    } else {
      outShape.push(d);
      strides.forEach((s, k) => outStrides[k]!.push(s[i]!));
    }
  }
  if (outShape.length === 0) {
    outShape.push(1);
    outStrides.forEach((s) => s.push(1));
  }
  return { shape: outShape, strides: outStrides };
}
