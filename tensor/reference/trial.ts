/**
 * Small calls of a kernel for the self-test of devices. They lie beside the reference
 * implementation that they are compared with.
 */
import type { Backend } from "../backend.ts";
import type { KernelArgs, KernelName } from "../kernels.ts";
import type { View } from "../view.ts";
import { type DType, DTYPE_BYTES, type HostArray, hostArray, isFloat } from "../dtype.ts";
import { contiguousStrides, type Shape, sizeOf } from "../shape.ts";

/** Makes the arrays of one trial on one device: the same numbers on each. */
export class Arrays {
  readonly outputs: View[] = [];
  readonly #backend: Backend;
  readonly #views: View[] = [];
  #state = 1;

  /** @param dtype what arrays are made of that may be f16 */
  constructor(backend: Backend, readonly dtype: "f32" | "f16") {
    this.#backend = backend;
  }

  /** An input of numbers in [low, high), f16 where the case is. */
  input(shape: Shape, low = -1, high = 1, dtype: DType = this.dtype): View {
    const view = this.#make(shape, dtype);
    const data = hostArray(dtype, sizeOf(shape));
    for (let i = 0; i < data.length; i++) {
      this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
      const value = low + (high - low) * (this.#state >>> 8) * 2 ** -24;
      data[i] = isFloat(dtype) ? value : Math.floor(value);
    }
    this.#backend.write(view.buffer, 0, data);
    return view;
  }

  /** As {@link input}, f32 whatever the case is. */
  single(shape: Shape, low?: number, high?: number): View {
    return this.input(shape, low, high, "f32");
  }

  /** An input that repeats along the first axis. */
  repeated(shape: Shape): View {
    const view = this.input(shape.slice(1));
    return { ...view, shape, strides: [0, ...view.strides] };
  }

  /** An input whose last two axes lie in memory the other way round. */
  transposed(shape: Shape): View {
    const order = [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!];
    const view = this.input(order);
    const strides = [...view.strides.slice(0, -2), view.strides.at(-1)!, view.strides.at(-2)!];
    return { ...view, shape, strides };
  }

  /** An array that the kernel fills. */
  output(shape: Shape, dtype: DType = this.dtype): View {
    const view = this.#make(shape, dtype);
    this.#backend.write(view.buffer, 0, hostArray(dtype, sizeOf(shape)).fill(77));
    this.outputs.push(view);
    return view;
  }

  /** What the kernel has written, when it has. */
  read(): Promise<HostArray[]> {
    return Promise.all(
      this.outputs.map(({ buffer, dtype, shape }) =>
        this.#backend.read(buffer, dtype, 0, sizeOf(shape))
      ),
    );
  }

  /** Gives the memory back. */
  free(): void {
    for (const { buffer } of this.#views) this.#backend.free(buffer);
  }

  #make(shape: Shape, dtype: DType): View {
    const buffer = this.#backend.alloc(Math.max(1, sizeOf(shape)) * DTYPE_BYTES[dtype], "selfTest");
    const view: View = { buffer, dtype, offset: 0, shape, strides: contiguousStrides(shape) };
    this.#views.push(view);
    return view;
  }
}

/** Small calls of a kernel: sizes fill whole vectors and leave a rest. */
export type Trials<K extends KernelName> = readonly ((arrays: Arrays) => KernelArgs[K])[];
