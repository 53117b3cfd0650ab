import { currentDevice } from "./device.ts";
import { type DType, dtypeOf, type HostArray, hostArray, isFloat } from "./dtype.ts";
import { DTypeError, ShapeError, shapeText, valueText } from "./errors.ts";
import { computeType, elementIndex, type Expr, program } from "./expr.ts";
import { checkNumber, fillInto } from "./launch/elementwise.ts";
import { checkOptionNames } from "./options.ts";
import { checkShape, sameShape, type Shape, sizeOf } from "./shape.ts";
import type { Device, IndexRange } from "./storage.ts";
import { empty, type Tensor } from "./tensor.ts";

/** Where a tensor is made, and of what type. */
export interface TensorOptions {
  /** Element type; f32 by default, for typed arrays their own. */
  dtype?: DType;
  /** Device, by default the current one. */
  device?: Device;
}

const TENSOR_OPTIONS: Readonly<Record<keyof TensorOptions, true>> = { dtype: true, device: true };

/** Arrays that tensors can be made from; arrays of arrays are read row by row. */
export type TensorData = readonly number[] | NumberArray | NestedNumbers;

/** Typed arrays that tensors can be made from. */
export type NumberArray =
  | Float32Array
  | Float64Array
  | Float16Array
  | Int32Array
  | Uint32Array
  | Uint8Array
  | Uint8ClampedArray;

/** Arrays of arrays of numbers, all of one length at each depth. */
export type NestedNumbers = readonly (readonly number[] | NumberArray | NestedNumbers)[];

/**
 * A tensor with these elements, row-major.
 *
 * @param data Elements; a typed array keeps its type unless `dtype` says otherwise (float64
 * becomes f32).
 * @param shape By default `[data.length]`, of nested arrays the lengths at each depth.
 * @throws {ShapeError} where the shape has another number of elements, or nested arrays have
 * another shape or lengths that differ.
 * @throws {TypeError} where there is something else than numbers.
 * @throws {DTypeError} where an integer dtype cannot hold an element.
 */
export function tensor(data: TensorData, shape?: Shape, options: TensorOptions = {}): Tensor {
  checkOptionNames("tensor", options, TENSOR_OPTIONS);
  const { device = currentDevice() } = options;
  const elements = elementsOf(data, shape);
  const dims = shape ?? elements.shape;
  const dtype = options.dtype ?? dtypeOf(elements.data) ?? "f32";
  const out = empty(device, dtype, dims, "tensor");
  const host = toHost(elements.data, dtype, device);
  if (host.length > 0) device.backend.write(out.storage.buffer, 0, host);
  if (!isFloat(dtype)) out.storage.range = rangeOf(host);
  return out;
}

/** A list of numbers, and the shape it says that it has. */
interface Elements {
  readonly data: readonly number[] | NumberArray;
  readonly shape: Shape;
}

/** The elements of `data`, which may be of any type where the caller is plain JavaScript. */
function elementsOf(data: TensorData, shape: Shape | undefined): Elements {
  const nested = Array.isArray(data) && data.some(isList);
  const elements = nested ? flatten(data) : { data: checkNumbers(data), shape: [data.length] };
  if (shape === undefined) return elements;
  checkShape("tensor", shape);
  if (nested && !sameShape(shape, elements.shape)) {
    throw new ShapeError(
      `tensor: expected nested arrays of shape ${shapeText(shape)} but got ${
        shapeText(elements.shape)
      }`,
    );
  }
  if (sizeOf(shape) !== elements.data.length) {
    throw new ShapeError(
      `tensor: expected ${sizeOf(shape)} elements for shape ${
        shapeText(shape)
      } but got ${elements.data.length}`,
    );
  }
  return elements;
}

/** Whether an element is a list of elements itself. */
function isList(value: unknown): boolean {
  return Array.isArray(value) || ArrayBuffer.isView(value);
}

/** Nested arrays as one list, row by row, with the lengths at each depth. */
function flatten(data: readonly unknown[]): Elements {
  const shape: number[] = [];
  for (let first: unknown = data; isList(first); first = (first as unknown[])[0]) {
    shape.push((first as unknown[]).length);
  }
  const flat: number[] = [];
  const read = (list: readonly unknown[], depth: number): void => {
    if (list.length !== shape[depth]) {
      throw new ShapeError(
        `tensor: expected nested arrays of shape ${
          shapeText(shape)
        } but got one of length ${list.length} at depth ${depth}`,
      );
    }
    if (depth === shape.length - 1) {
      for (const value of checkNumbers(list)) flat.push(value);
      return;
    }
    for (const part of list) {
      if (!isList(part)) {
        throw new TypeError(`tensor: expected nested arrays but got ${valueText(part)}`);
      }
      read(part as unknown[], depth + 1);
    }
  };
  read(data, 0);
  return { data: flat, shape };
}

/** `data` where it is a list of numbers. */
function checkNumbers(data: unknown): readonly number[] | NumberArray {
  if (ArrayBuffer.isView(data) && !(data instanceof DataView)) {
    if (!(data instanceof BigInt64Array || data instanceof BigUint64Array)) {
      return data as unknown as NumberArray;
    }
  } else if (Array.isArray(data)) {
    for (let i = 0; i < data.length; i++) {
      if (typeof data[i] !== "number") {
        throw new TypeError(`tensor: expected numbers but got ${valueText(data[i])} at ${i}`);
      }
    }
    return data;
  }
  throw new TypeError(`tensor: expected an array of numbers but got ${valueText(data)}`);
}

function toHost(data: Elements["data"], dtype: DType, device: Device): HostArray {
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
  return filled("full", shape, value, options);
}

function filled(op: string, shape: Shape, value: number, options: TensorOptions): Tensor {
  checkOptionNames(op, options, TENSOR_OPTIONS);
  const { device = currentDevice(), dtype = "f32" } = options;
  checkShape(op, shape);
  if (typeof value !== "number") {
    throw new TypeError(`${op}: expected a number but got ${valueText(value)}`);
  }
  const out = empty(device, dtype, shape, op);
  fillInto(out, value, op);
  if (!isFloat(dtype)) out.storage.range = { min: value, max: value };
  return out;
}

/** A tensor of zeros. */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return filled("zeros", shape, 0, options);
}

/** A tensor of ones. */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return filled("ones", shape, 1, options);
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
  checkOptionNames("arange", options, TENSOR_OPTIONS);
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
