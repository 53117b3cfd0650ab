import { OutOfMemoryError } from "../errors.ts";
import type { DeviceBuffer, View } from "../view.ts";
import { type DType, DTYPE_BYTES, isFloat } from "../dtype.ts";
import type { Shape } from "../shape.ts";

/** How the reference keeps elements: floats of any width as float64, integers as they are. */
export type Elements =
  | Float64Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>;

function newElements(dtype: DType, length: number): Elements {
  // NaN shows a read of something never written.
  if (isFloat(dtype)) return new Float64Array(length).fill(NaN);
  if (dtype === "i32") return new Int32Array(length);
  if (dtype === "u32") return new Uint32Array(length);
  return new Uint8Array(length);
}

/**
 * A block of the reference device. It takes its element type from its first use and keeps it:
 * float64 values have no bytes that another type could read.
 */
export class ReferenceBuffer implements DeviceBuffer {
  readonly bytes: number;
  /** What it was allocated for. */
  readonly #op: string;
  #dtype: DType | undefined;
  #elements: Elements | undefined;
  #freed = false;

  constructor(bytes: number, op = "reference") {
    [this.bytes, this.#op] = [bytes, op];
  }

  /** What the buffer holds, once it has been used. */
  get dtype(): DType | undefined {
    return this.#dtype;
  }

  get freed(): boolean {
    return this.#freed;
  }

  /** Lets the elements go; a later use throws. */
  release(): void {
    this.#freed = true;
    this.#elements = undefined;
  }

  /**
   * The elements, of the one dtype this buffer is used with. Throws on another, after free, and where
   * there is no memory for them.
   */
  elements(dtype: DType): Elements {
    if (this.#freed) throw new Error("reference: a buffer was used after it was freed");
    this.#dtype ??= dtype;
    if (this.#dtype !== dtype) {
      throw new TypeError(`reference: a buffer of ${this.#dtype} was used as ${dtype}`);
    }
    return this.#elements ??= this.#allocate(dtype);
  }

  #allocate(dtype: DType): Elements {
    try {
      return newElements(dtype, Math.floor(this.bytes / DTYPE_BYTES[dtype]));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new OutOfMemoryError(
        `${this.#op}: expected ${this.bytes} bytes of memory but found none`,
        { cause: error },
      );
    }
  }
}

/** The elements behind a view (all of its buffer's; the view's begin at `view.offset`). */
export function elementsOf(view: View): Elements {
  return (view.buffer as ReferenceBuffer).elements(view.dtype);
}

/** The elements behind a view of f32 or f16. */
export function floatsOf(view: View): Float64Array<ArrayBuffer> {
  if (!isFloat(view.dtype)) {
    throw new TypeError(`reference: expected a view of f32 or f16 but got ${view.dtype}`);
  }
  return elementsOf(view) as Float64Array<ArrayBuffer>;
}

/** Fills `into` with the places in its buffer of a view's elements [first, first + count). */
export function elementPlaces(
  view: { readonly offset: number; readonly shape: Shape; readonly strides: Shape },
  first: number,
  count: number,
  into: Float64Array,
): void {
  const { shape, strides } = view;
  const rank = shape.length;
  const at = new Array<number>(rank).fill(0);
  let place = view.offset;
  let rest = first;
  for (let d = rank - 1; d >= 0; d--) {
    at[d] = rest % shape[d]!;
    rest = Math.floor(rest / shape[d]!);
    place += at[d]! * strides[d]!;
  }
  for (let i = 0; i < count; i++) {
    into[i] = place;
    // One step of the odometer: the innermost dimension that does not wrap moves on.
    for (let d = rank - 1; d >= 0; d--) {
      place += strides[d]!;
      if (++at[d]! < shape[d]!) break;
      place -= shape[d]! * strides[d]!;
      at[d] = 0;
    }
  }
}
