/** Launching elementwise formulas: broadcasting, result types, in-place updates. */
import { computeType, program, type Slot, type Ty } from "../expr.ts";
import type { View } from "../view.ts";
import { type DType, holds, isFloat } from "../dtype.ts";
import { currentDevice } from "../device.ts";
import { DeviceError, DTypeError, ShapeError, shapeText, valueText } from "../errors.ts";
import { broadcastShapes, broadcastStrides, sameShape, type Shape, sizeOf } from "../shape.ts";
import type { Device } from "../storage.ts";
import { empty, Tensor } from "../tensor.ts";
import { convertTo, type Formula, IDENTITY } from "./formulas.ts";

/** What the results of a formula are like; by default as the operands. */
export interface ResultOptions {
  /** Element types of the results; by default the float type of the operands. */
  dtype?: DType | readonly DType[];
  /** Shape to compute; by default the one the operands broadcast to. */
  shape?: Shape;
  /** Device where no operand is a tensor. */
  device?: Device;
  /** What numbers among the operands are; by default as the first tensor. */
  numbers?: DType;
}

/** Throws, naming `op`, where `t` has been freed or, from JavaScript, is no tensor at all. */
function checkTensor(op: string, t: Tensor): void {
  if (!(t instanceof Tensor)) {
    throw new TypeError(`${op}: expected a tensor but got ${valueText(t)}`);
  }
  t.checkLive(op);
}

/**
 * Refuses operands of an op before it looks at their shapes.
 *
 * @param operands All it is given, in order.
 * @param optional The numbers of those that may be null, for what was left out.
 * @throws {TypeError} where one is no tensor, which JavaScript does not rule out.
 * @throws {UseAfterFreeError} where one has been freed.
 */
export function checkOperands(
  op: string,
  operands: readonly (Tensor | null)[],
  optional: readonly number[] = [],
): void {
  for (let i = 0; i < operands.length; i++) {
    const t: unknown = operands[i];
    if (t instanceof Tensor) t.checkLive(op);
    else if (t !== null || !optional.includes(i)) {
      throw new TypeError(`${op}: expected a tensor as operand ${i} but got ${valueText(t)}`);
    }
  }
}

/** The one device of `tensors`. Throws where there are two. */
export function commonDevice(op: string, tensors: readonly Tensor[]): Device {
  for (const t of tensors) checkTensor(op, t);
  const first = tensors[0]?.device ?? currentDevice();
  for (const t of tensors) {
    if (t.device !== first) {
      throw new DeviceError(
        `${op}: expected tensors on one device but got ${first.name} and ${t.device.name}`,
      );
    }
  }
  return first;
}

/** The one float type of `tensors`. Throws on integers and on mixtures. */
export function commonFloat(op: string, tensors: readonly Tensor[]): "f32" | "f16" {
  for (const t of tensors) checkTensor(op, t);
  const first = tensors[0]!.dtype;
  for (const { dtype } of tensors) {
    if (!isFloat(dtype) || dtype !== first) {
      throw new DTypeError(
        `${op}: expected one floating-point dtype (f32 or f16) but got ${
          tensors.map((t) => t.dtype).join(" and ")
        }; cast first`,
      );
    }
  }
  return first as "f32" | "f16";
}

/** The float type of `x`. Weights beside it may have the other: kernels read them as they are. */
export function floatOf(
  op: string,
  x: Tensor,
  weights: readonly (Tensor | null | undefined)[],
): "f32" | "f16" {
  for (const w of weights) if (w) commonFloat(op, [w]);
  return commonFloat(op, [x]);
}

function viewsOf(op: string, tensors: readonly Tensor[], shape: Shape): View[] {
  return tensors.map((t) => {
    const view = t.view(op);
    if (sameShape(view.shape, shape)) return view;
    return { ...view, shape, strides: broadcastStrides(view.shape, view.strides, shape) };
  });
}

/** Throws unless `dtype` can hold `value`: nothing is cut or wrapped on its way to the device. */
export function checkNumber(op: string, value: number, dtype: DType): void {
  if (!holds(dtype, value)) {
    throw new DTypeError(
      `${op}: expected a whole number that fits ${dtype} but got ${value}; cast the tensor first`,
    );
  }
}

const DTYPE_OF_TYPE = { f32: "f32", i32: "i32", u32: "u32", bool: "u32" } as const;

function slotsOf(op: string, args: readonly (Tensor | number)[], numbers?: DType): Slot[] {
  const like = numbers ?? args.find((a) => typeof a !== "number")?.dtype ?? "f32";
  const ty: Ty = computeType(like);
  return args.map((a) => {
    if (typeof a !== "number") return { kind: "input", ty: computeType(a.dtype) };
    checkNumber(op, a, DTYPE_OF_TYPE[ty]);
    return { kind: "scalar", ty };
  });
}

/** Evaluates `formula` over operands that broadcast together: a tensor for each of its outputs. */
export function evaluate(
  op: string,
  formula: Formula,
  args: readonly (Tensor | number)[],
  options: ResultOptions = {},
): Tensor[] {
  const tensors = args.filter((a) => typeof a !== "number");
  const scalars = args.filter((a) => typeof a === "number");
  const device = tensors.length > 0 ? commonDevice(op, tensors) : options.device ?? currentDevice();
  const shape = options.shape ?? broadcastShapes(op, ...tensors.map((t) => t.shape));
  const made = program(formula.name, slotsOf(op, args, options.numbers), formula.build);
  const floats = tensors.filter((t) => isFloat(t.dtype));
  const outs = made.outs.map((out, k) => {
    const asked = typeof options.dtype === "string" ? options.dtype : options.dtype?.[k];
    const natural = (): DType => {
      if (out.ty === "i32" || out.ty === "u32") return out.ty;
      return floats.length > 0 ? commonFloat(op, floats) : "f32";
    };
    return empty(device, asked ?? natural(), shape, op);
  });
  if (sizeOf(shape) > 0) {
    device.backend.run("elementwise", {
      program: made,
      ins: viewsOf(op, tensors, shape),
      outs: outs.map((t) => t.view(op)),
      scalars,
    }, op);
  }
  return outs;
}

/** As {@link evaluate}, of a formula with one output. */
export function evaluateOne(
  op: string,
  formula: Formula,
  args: readonly (Tensor | number)[],
  options: ResultOptions = {},
): Tensor {
  return evaluate(op, formula, args, options)[0]!;
}

/**
 * Evaluates `formula` into tensors that exist: windows of a larger one, or state that is updated
 * in place (an output may be one of the operands). Only the owner of a storage may write to it:
 * tensors are immutable to all other code.
 */
export function evaluateInto(
  op: string,
  formula: Formula,
  args: readonly (Tensor | number)[],
  outs: readonly Tensor[],
): void {
  const tensors = args.filter((a) => typeof a !== "number");
  const device = commonDevice(op, [...outs, ...tensors]);
  const shape = outs[0]!.shape;
  for (const out of outs) {
    if (!sameShape(out.shape, shape)) {
      throw new ShapeError(
        `${op}: expected outputs of one shape but got ${shapeText(shape)} and ${
          shapeText(out.shape)
        }`,
      );
    }
  }
  const wanted = broadcastShapes(op, shape, ...tensors.map((t) => t.shape));
  if (!sameShape(wanted, shape)) {
    throw new ShapeError(`${op}: expected operands that broadcast to ${shapeText(shape)}`);
  }
  for (const out of outs) out.storage.range = null; // what was known of its elements is over
  if (sizeOf(shape) === 0) return;
  device.backend.run("elementwise", {
    program: program(formula.name, slotsOf(op, args), formula.build),
    ins: viewsOf(op, tensors, shape),
    outs: outs.map((t) => t.view(op)),
    scalars: args.filter((a) => typeof a === "number"),
  }, op);
}

/**
 * A contiguous copy, as `dtype` where given. Floats to integers cut towards zero.
 */
export function copy(x: Tensor, dtype: DType = x.dtype, op = "copy"): Tensor {
  const out = evaluateOne(op, convertTo(computeType(dtype)), [x], { dtype });
  // that of the whole says nothing of a part: an index out of range may be elsewhere
  const isWhole = sizeOf(x.shape.filter((_, i) => x.strides[i] !== 0)) === x.storage.length;
  if (!isFloat(dtype) && isWhole) out.storage.range = x.storage.range;
  return out;
}

/** Writes `x`, broadcast and converted, into `out`. */
export function copyInto(x: Tensor, out: Tensor, op = "copy"): void {
  evaluateInto(op, convertTo(computeType(out.dtype)), [x], [out]);
}

/** Sets every element of `out` to `value`. */
export function fillInto(out: Tensor, value: number, op = "fill"): void {
  checkNumber(op, value, out.dtype);
  out.storage.range = null;
  if (out.size === 0) return;
  const ty = computeType(out.dtype);
  out.device.backend.run("elementwise", {
    program: program("fill", [{ kind: "scalar", ty }], IDENTITY.build),
    ins: [],
    outs: [out.view(op)],
    scalars: [value],
  }, op);
}

/** `x` itself where it is contiguous (as a new handle), else a contiguous copy. */
export function contiguous(x: Tensor, op = "contiguous"): Tensor {
  return x.contiguous ? x.as(x.shape, x.strides) : copy(x, x.dtype, op);
}
