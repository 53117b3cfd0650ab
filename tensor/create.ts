import { currentDevice } from "./device.ts";
import { type DType, dtypeOf, type HostArray, hostArray, isFloat } from "./dtype.ts";
import { DTypeError, ShapeError, shapeText } from "./errors.ts";
import { computeType, elementIndex, type Expr, program } from "./expr.ts";
import { checkNumber, fillInto } from "./launch/elementwise.ts";
import { checkShape, type Shape, sizeOf } from "./shape.ts";
import type { Device, IndexRange } from "./storage.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Where a tensor is made, and of what type. */
export interface TensorOptions {
  /** Element type; f32 by default, for typed arrays their own. */
  dtype?: DType;
  /** Device, by default the current one. */
  device?: Device;
}

/** Arrays that tensors can be made from. */
export type TensorData =
  | readonly number[]
  | Float32Array
  | Float64Array
  | Float16Array
  | Int32Array
  | Uint32Array
  | Uint8Array
  | Uint8ClampedArray;

/**
 * A tensor with these elements, row-major.
 *
 * @param data Elements; a typed array keeps its type unless `dtype` says otherwise (float64
 * becomes f32).
 * @param shape By default `[data.length]`.
 * @throws {ShapeError} where the shape has another number of elements.
 * @throws {DTypeError} where an integer dtype cannot hold an element.
 */
export function tensor(data: TensorData, shape?: Shape, options: TensorOptions = {}): Tensor {
  const { device = currentDevice() } = options;
  const dims = shape ?? [data.length];
  checkShape("tensor", dims);
  if (sizeOf(dims) !== data.length) {
    throw new ShapeError(
      `tensor: expected ${sizeOf(dims)} elements for shape ${
        shapeText(dims)
      } but got ${data.length}`,
    );
  }
  const dtype = options.dtype ?? dtypeOf(data) ?? "f32";
  const out = empty(device, dtype, dims, "tensor");
  const host = toHost(data, dtype, device);
  if (host.length > 0) device.backend.write(out.storage.buffer, 0, host);
  if (!isFloat(dtype)) out.storage.range = rangeOf(host);
  return out;
}

function toHost(data: TensorData, dtype: DType, device: Device): HostArray {
  if (device.name === "reference" && dtype === "f32") return Float64Array.from(data);
  if (dtypeOf(data) === dtype && !(data instanceof Float64Array)) {
    return data instanceof Uint8ClampedArray ? new Uint8Array(data) : data as HostArray;
  }
  const host = hostArray(dtype, data.length);
  host.set(data);
  if (!isFloat(dtype)) {
    const wrong = host.findIndex((v, i) => v !== data[i]);
    if (wrong >= 0) {
      throw new DTypeError(
        `tensor: expected whole numbers that fit ${dtype} but got ${data[wrong]} at ${wrong}`,
      );
    }
  }
  return host;
}

function rangeOf(host: HostArray): IndexRange | null {
  if (host.length === 0) return null;
  let [min, max] = [Infinity, -Infinity];
  for (const v of host) {
    if (v < min) min = v;
    if (v > max) max = v;
  }
  return { min, max };
}

/** A tensor of `shape` whose elements are all `value`. */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  const { device = currentDevice(), dtype = "f32" } = options;
  checkShape("full", shape);
  const out = empty(device, dtype, shape, "full");
  fillInto(out, value, "full");
  if (!isFloat(dtype)) out.storage.range = { min: value, max: value };
  return out;
}

/** A tensor of zeros. */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 0, options);
}

/** A tensor of ones. */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, options);
}

const way = (a: Expr, step: Expr) => elementIndex().to(a.ty).mul(step);
const COUNT_UP = (a?: Expr, step?: Expr) => a!.add(way(a!, step!));
const COUNT_DOWN = (a?: Expr, step?: Expr) => a!.sub(way(a!, step!));

/**
 * `start`, `start + step`, ... below `end`; `arange(n)` counts from 0 to n - 1. f32 by default.
 *
 * @throws {DTypeError} where an integer dtype cannot hold an element.
 */
export function arange(
  start: number,
  end?: number,
  step = 1,
  options: TensorOptions = {},
): Tensor {
  const { device = currentDevice(), dtype = "f32" } = options;
  const [from, to] = end === undefined ? [0, start] : [start, end];
  const length = Math.ceil((to - from) / step);
  if (!Number.isFinite(length) || step === 0) {
    throw new RangeError(
      `arange: expected finite bounds and a step but got ${from}, ${to}, ${step}`,
    );
  }
  const last = from + (length - 1) * step;
  if (length > 0) {
    [from, from + step * Math.sign(length - 1), last].forEach((v) =>
      checkNumber("arange", v, dtype)
    );
  }
  const out = empty(device, dtype, [Math.max(0, length)], "arange");
  if (length > 0) {
    const ty = computeType(dtype);
    const scalar = { kind: "scalar", ty } as const;
    // a step back is no number of unsigned types
    const made = program("arange", [scalar, scalar], step < 0 ? COUNT_DOWN : COUNT_UP);
    device.backend.run("elementwise", {
      program: made,
      ins: [],
      outs: [out.view("arange")],
      scalars: [from, length === 1 ? 0 : Math.abs(step)],
    }, "arange");
    if (!isFloat(dtype)) {
      out.storage.range = { min: Math.min(from, last), max: Math.max(from, last) };
    }
  }
  return out;
}
