/** Launching reductions over any axes. */
import { computeType, program } from "../expr.ts";
import { type DType, isFloat } from "../dtype.ts";
import { DTypeError, ShapeError } from "../errors.ts";
import {
  broadcastAxes,
  broadcastShapes,
  broadcastStrides,
  checkArray,
  contiguousStrides,
  normalizeAxis,
  type Shape,
  sizeOf,
} from "../shape.ts";
import { empty, type Tensor } from "../tensor.ts";
import { dispatch } from "./dispatch.ts";
import { commonDevice, commonFloat, copy, evaluateOne, fillInto } from "./elementwise.ts";
import { type Formula, IDENTITY, SCALE } from "./formulas.ts";
import { reshaped, threeDimensional } from "./layout.ts";

/** Axes as given by a user: one, several, or all of them. */
export type Axes = number | readonly number[] | null;

/** `axes` counted from the front, ascending, without repetition. */
export function normalizeAxes(op: string, axes: Axes | undefined, rank: number): number[] {
  if (axes === null || axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  if (typeof axes !== "number") checkArray(op, "an axis, or several", axes);
  const list = (typeof axes === "number" ? [axes] : axes).map((a) => normalizeAxis(op, a, rank));
  if (new Set(list).size !== list.length) {
    throw new ShapeError(`${op}: expected axes named once each but got [${list.join(", ")}]`);
  }
  return list.sort((a, b) => a - b);
}

/** `shape` with `axes` reduced to 1. */
export function keptShape(shape: Shape, axes: readonly number[]): number[] {
  return shape.map((d, i) => axes.includes(i) ? 1 : d);
}

const EMPTY_RESULT = { sum: 0, max: NaN, min: NaN } as const;

/** Settings of {@link reduceKeep}. */
export interface ReduceOptions {
  /** What the result is multiplied by; 1 by default. */
  readonly factor?: number;
  /** Type of the result; that of the operands by default, which are of one type then. */
  readonly dtype?: DType;
  /** Where it goes, f32 and row-major, with as many elements; a new tensor by default. */
  readonly into?: Tensor | null;
}

/**
 * Reduces `formula` of the operands over `axes`; the result keeps the reduced axes as 1. It is
 * computed in f32 throughout.
 */
export function reduceKeep(
  op: string,
  kind: "sum" | "max" | "min",
  formula: Formula | null,
  args: readonly Tensor[],
  axes: readonly number[],
  options: ReduceOptions = {},
): Tensor {
  const { factor = 1, into = null } = options;
  const allFloat = args.every((a) => isFloat(a.dtype));
  const dtype = allFloat ? options.dtype ?? commonFloat(op, args) : null;
  if (!dtype) {
    throw new DTypeError(
      `${op}: expected f32 or f16 but got ${args.map((a) => a.dtype).join(" and ")}; cast first`,
    );
  }
  const device = commonDevice(op, args);
  const shape = broadcastShapes(op, ...args.map((a) => a.shape));
  const kept = keptShape(shape, axes);
  if (sizeOf(shape) === 0) {
    if (kind !== "sum" && sizeOf(kept) > 0) {
      throw new ShapeError(`${op}: expected at least one element to reduce but got none`);
    }
    const out = empty(device, dtype, kept, op);
    fillInto(out, EMPTY_RESULT[kind] * factor, op);
    return out;
  }
  let operands = args.map((a) => a.as(shape, broadcastStrides(a.shape, a.strides, shape)));
  let map = formula ?? IDENTITY;
  let current: number[] = shape;
  const groups = adjacent(axes, current);
  if (groups.length === 0) groups.push([shape.length, shape.length]); // only the formula is left
  for (const [i, [start, end]] of groups.entries()) {
    const views = operands.map((t) => threeDimensional(t, start, end, op));
    current = current.map((d, axis) => axis >= start && axis < end ? 1 : d);
    const isLast = i === groups.length - 1;
    const out = isLast && into && factor === 1
      ? into.as(current, contiguousStrides(current))
      : empty(device, "f32", current, op);
    const [o, , inner] = views[0]!.shape as [number, number, number];
    using flat = out.as([o, inner], contiguousStrides([o, inner]));
    dispatch(op, "reduce", device, {
      op: kind,
      program: program(
        map.name,
        views.map((v) => ({ kind: "input", ty: computeType(v.dtype) } as const)),
        map.build,
      ),
      ins: views,
      scalars: [],
      out: flat,
    });
    for (const t of [...views, ...operands]) t.dispose();
    operands = [out];
    map = IDENTITY;
  }
  const total = operands[0]!;
  if ((dtype === "f32" || into) && factor === 1) return total;
  using wide = total; // scaled before it is narrowed: a sum may be more than f16 holds
  return factor === 1 ? copy(wide, dtype, op) : evaluateOne(op, SCALE, [wide, factor], { dtype });
}

/** Runs of neighbouring axes as [start, end), last first; axes of size 1 join either side. */
function adjacent(axes: readonly number[], shape: Shape): [number, number][] {
  const groups: [number, number][] = [];
  for (let i = shape.length - 1; i >= 0; i--) {
    if (!axes.includes(i)) continue;
    const last = groups.at(-1);
    if (last && last[0] === i + 1) last[0] = i;
    else groups.push([i, i + 1]);
  }
  return groups;
}

/** `x`, whose `axes` are 1, without them unless `keepdim`. */
export function dropAxes(x: Tensor, axes: readonly number[], keepdim: boolean): Tensor {
  if (keepdim) return x;
  using whole = x;
  return reshaped(whole, whole.shape.filter((_, i) => !axes.includes(i)));
}

/** Sums `g` down to `shape`, undoing a broadcast. A new handle even where nothing is summed. */
export function sumTo(g: Tensor, shape: Shape, op: string): Tensor {
  const axes = broadcastAxes(shape, g.shape);
  if (axes.length === 0) return g.as(g.shape, g.strides);
  using summed = reduceKeep(op, "sum", null, [g], axes);
  return reshaped(summed, shape, op);
}

/** Index (i32) of the first largest or smallest element along `axis`, which becomes 1. */
export function argReduceKeep(op: string, kind: "max" | "min", x: Tensor, axis: number): Tensor {
  commonFloat(op, [x]);
  const at = normalizeAxis(op, axis, x.rank);
  if (x.shape[at] === 0) {
    throw new ShapeError(`${op}: expected at least one element along axis ${axis} but got none`);
  }
  const shape = keptShape(x.shape, [at]);
  const out = empty(x.device, "i32", shape, op);
  if (out.size === 0) return out;
  using view = threeDimensional(x, at, at + 1, op);
  const [o, , inner] = view.shape as [number, number, number];
  using flat = out.as([o, inner], contiguousStrides([o, inner]));
  dispatch(op, "argReduce", x.device, { op: kind, x: view, out: flat });
  out.storage.range = { min: 0, max: x.shape[at]! - 1 };
  return out;
}

/** Running sum along `axis`. */
export function cumulate(op: string, x: Tensor, axis: number, reverse: boolean): Tensor {
  const dtype = commonFloat(op, [x]);
  const at = normalizeAxis(op, axis, x.rank);
  const out = empty(x.device, dtype, x.shape, op);
  if (out.size === 0) return out;
  using view = threeDimensional(x, at, at + 1, op);
  using flat = out.as(view.shape, contiguousStrides(view.shape));
  dispatch(op, "cumsum", x.device, { x: view, out: flat, reverse });
  return out;
}
