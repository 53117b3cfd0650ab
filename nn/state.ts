/** Weights by name: what is wrong with them, and putting them in place. */
import {
  copyInto,
  type DType,
  type HostTensor,
  isFloat,
  isHostFloat,
  sameShape,
  type Shape,
  shapeText,
  sizeOf,
  Tensor,
  tensor,
  type TensorData,
  toFloat32,
  toFloat64,
  typedArray,
} from "../tensor/mod.ts";

/** Weights that do not fit a module: all that is wrong, by name. */
export class StateDictError extends Error {
  static {
    this.prototype.name = "StateDictError";
  }
}

/** Weights by name. */
export type StateDict = Map<string, Tensor>;

/** Elements in a plain array, with their shape. */
export interface HostElements {
  /** Absent: a `HostTensor`, whose data are bytes, has one. */
  readonly dtype?: undefined;
  /** Dimensions, outermost first. */
  readonly shape: Shape;
  /** The elements, row-major. */
  readonly data: TensorData;
}

/** A weight on its way in. */
export type StateValue = Tensor | HostElements | HostTensor;

/** What is known of a weight before it is read. */
interface Described {
  readonly shape: Shape;
  /** Of a device, or of a file. */
  readonly dtype?: string | undefined;
  /** Absent where it is read later. */
  readonly data?: unknown;
}

/** What is known of the place of a weight. */
interface Wanted {
  readonly shape: Shape;
  /** Integers go where there are some: into buffers. */
  readonly dtype?: DType;
}

/** The mismatch of one weight, or null. */
function faultOf(name: string, { shape, dtype }: Wanted, given: Described): string | null {
  if (!sameShape(given.shape, shape)) {
    return `${name}: expected ${shapeText(shape)} but got ${shapeText(given.shape)}`;
  }
  if (given instanceof Tensor) return null;
  const takesIntegers = dtype !== undefined && !isFloat(dtype);
  if (given.dtype !== undefined && !isHostFloat(given.dtype) && !takesIntegers) {
    return `${name}: expected floats but got ${given.dtype}`;
  }
  const { data } = given as Partial<HostElements>;
  if (given.dtype === undefined && data && data.length !== sizeOf(shape)) {
    return `${name}: expected ${sizeOf(shape)} elements but got ${data.length}`;
  }
  return null;
}

/**
 * Compares the names, shapes and element types of weights with those wanted.
 *
 * @throws {StateDictError} listing all that does not fit.
 */
export function checkState(
  own: ReadonlyMap<string, Wanted>,
  given: ReadonlyMap<string, Described>,
  strict: boolean,
): { missing: string[]; unexpected: string[] } {
  const missing = [...own.keys()].filter((name) => !given.has(name));
  const unexpected = [...given.keys()].filter((name) => !own.has(name));
  const shapeOf = (of: ReadonlyMap<string, Described>, name: string) =>
    shapeText(of.get(name)!.shape);
  const strictFaults = [
    ...missing.map((name) => `${name}: expected ${shapeOf(own, name)} but it is missing`),
    ...unexpected.map((name) => `${name}: unexpected, of shape ${shapeOf(given, name)}`),
  ];
  const faults = strict ? strictFaults : [];
  for (const [name, wanted] of own) {
    const value = given.get(name);
    const fault = value ? faultOf(name, wanted, value) : null;
    if (fault) faults.push(fault);
  }
  if (faults.length > 0) {
    throw new StateDictError(
      `weights that do not fit (${faults.length}):\n  ${faults.join("\n  ")}`,
    );
  }
  return { missing, unexpected };
}

/** The elements of a weight on the host. */
function elementsOf(value: HostElements | HostTensor): TensorData {
  if (value.dtype === undefined) return value.data;
  const { dtype } = value;
  if (dtype === "f64") return typedArray({ ...value, dtype });
  if (!isHostFloat(dtype)) return toFloat64(value);
  return dtype === "f16" ? typedArray({ ...value, dtype }) : toFloat32(value);
}

/** Copies a weight over `target`, in place. Floats are rounded to its type on the device. */
export function assign(target: Tensor, value: StateValue): void {
  if (value instanceof Tensor) copyInto(value, target, "loadStateDict");
  else {
    const data = elementsOf(value);
    const { device } = target;
    const halves = data instanceof Float16Array;
    const dtype = !isFloat(target.dtype) ? target.dtype : halves ? "f16" : "f32";
    using source = tensor(data, value.shape, { dtype, device });
    copyInto(source, target, "loadStateDict");
  }
  target.storage.version++;
}

/**
 * Copies weights over those of the same name. Nothing is changed unless everything fits.
 *
 * @param strict Whether every name must be in both.
 * @returns Names that were missing and unexpected.
 * @throws {StateDictError} listing all that does not fit.
 */
export function assignState(
  own: ReadonlyMap<string, Tensor>,
  given: ReadonlyMap<string, StateValue>,
  strict = true,
): { missing: string[]; unexpected: string[] } {
  const found = checkState(own, given, strict);
  for (const [name, target] of own) {
    const value = given.get(name);
    if (value) assign(target, value);
  }
  return found;
}
