import { checkView, type View, viewBytes } from "./view.ts";
import { checkDType, type DType, DTYPE_BYTES, type HostArray } from "./dtype.ts";
import { DeviceError, OutOfMemoryError, shapeText, UseAfterFreeError } from "./errors.ts";
import { isDebug } from "./debug.ts";
import { currentScope, type Keepable, type Scope } from "./scope.ts";
import { contiguousStrides, isContiguous, type Shape, sizeOf } from "./shape.ts";
import { type Device, Storage } from "./storage.ts";

/** In debug mode, reports tensors that were garbage-collected without being freed. */
const leaks = new FinalizationRegistry<string>((made) => {
  console.warn(`a tensor was never freed; it was made at\n${made}`);
});

/**
 * An immutable array of numbers on a device: a shape, strides and an offset into a storage it may
 * share with others. It belongs to the scope that was open when it was made.
 */
export class Tensor implements Keepable {
  /** Dimensions, outermost first; `[]` for a single number. */
  readonly shape: Shape;
  /** Elements to step for each dimension; 0 where one element repeats. */
  readonly strides: Shape;
  /** The scope that frees this tensor; null where its holder disposes of it. */
  scope: Scope | null = null;
  #storage: Storage | null;
  #offset: number;
  #freedBy: string | null = null;

  /** Takes over one hold on `storage`. Made by ops; users call `tensor`, `zeros` and the like. */
  constructor(storage: Storage, shape: Shape, strides: Shape, offset: number) {
    this.#storage = storage;
    this.shape = [...shape]; // the caller's array may change
    this.strides = strides;
    this.#offset = shape.includes(0) ? 0 : offset; // an empty part lies nowhere
    storage.device.ledger.tensors++;
    currentScope()?.adopt(this);
    if (isDebug()) leaks.register(this, new Error().stack ?? "", this);
  }

  /** Elements on the device. Throws {@link UseAfterFreeError} once freed. */
  get storage(): Storage {
    if (!this.#storage) throw new UseAfterFreeError(this.#freedText());
    return this.#storage;
  }
  /** First element in the storage. */
  get offset(): number {
    return this.#offset;
  }
  /** Element type. */
  get dtype(): DType {
    return this.storage.dtype;
  }
  /** Where the elements are. */
  get device(): Device {
    return this.storage.device;
  }
  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }
  /** Number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }
  /** Bytes of its elements, whether or not they are stored once. */
  get bytes(): number {
    return this.size * DTYPE_BYTES[this.dtype];
  }
  /** Whether the elements lie row-major without gaps. */
  get contiguous(): boolean {
    return isContiguous(this.shape, this.strides);
  }
  /** Whether the tensor has been freed. */
  get disposed(): boolean {
    return this.#storage === null;
  }

  /** Throws {@link UseAfterFreeError}, naming `op`, where the tensor has been freed. */
  checkLive(op: string): void {
    if (!this.#storage) throw new UseAfterFreeError(`${op}: ${this.#freedText()}`);
  }

  /** This tensor for a kernel. */
  view(op: string): View {
    this.checkLive(op);
    const { buffer, dtype } = this.storage;
    const view = { buffer, dtype, offset: this.#offset, shape: this.shape, strides: this.strides };
    checkView(view, op);
    return view;
  }

  /** Another tensor over the same storage. */
  as(shape: Shape, strides: Shape, offset: number = this.offset): Tensor {
    return new Tensor(this.storage.retain(), shape, strides, offset);
  }

  /** Moves the handle to elements elsewhere, taking over one hold (optimisers gather parameters). */
  protected rebind(storage: Storage, offset: number): void {
    if (!this.contiguous) throw new Error("rebind: expected row-major elements");
    this.storage.release();
    this.#storage = storage;
    this.#offset = offset;
  }

  /**
   * Copies the elements to the host, row-major, when all work so far is done.
   *
   * @returns An array of the tensor's dtype; on the reference device floats come as float64.
   */
  async data(): Promise<HostArray> {
    const view = this.view("data");
    const { storage, shape, strides, offset } = this;
    const { start, end } = viewBytes(view);
    const span = (end - start) / DTYPE_BYTES[view.dtype];
    storage.retain(); // the scope may close while the device works
    try {
      const raw = await storage.device.backend.read(storage.buffer, storage.dtype, offset, span);
      return isContiguous(shape, strides) ? raw : gather(raw, shape, strides);
    } finally {
      storage.release();
    }
  }

  /** The single element of a tensor of size 1. */
  async item(): Promise<number> {
    this.checkLive("item");
    if (this.size !== 1) {
      throw new RangeError(`item: expected one element but got shape ${shapeText(this.shape)}`);
    }
    return (await this.data())[0]!;
  }

  /** Lets go of the elements now rather than when the scope closes. */
  dispose(): void {
    if (!this.#storage) return;
    const storage = this.#storage;
    this.#freedBy = this.scope ? "by dispose()" : "when its scope closed or by dispose()";
    this.scope?.disown(this);
    this.#storage = null;
    storage.device.ledger.tensors--;
    if (isDebug()) leaks.unregister(this);
    storage.release();
  }
  /** `using t = ...` frees at the end of the block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** `Tensor(f32[2, 3] on wasm)` */
  toString(): string {
    if (!this.#storage) return `Tensor(freed ${shapeText(this.shape)})`;
    return `Tensor(${this.dtype}${shapeText(this.shape)} on ${this.device.name})`;
  }

  #freedText(): string {
    return `a tensor of shape ${shapeText(this.shape)} was used after it was freed ` +
      `${this.#freedBy}; expected a live one: keep it with s.keep(t), or use it before`;
  }
}

/** A fresh, uninitialised tensor. */
export function empty(device: Device, dtype: DType, shape: Shape, op: string): Tensor {
  // what types rule out may come from JavaScript
  if (!device?.backend) {
    throw new DeviceError(`${op}: expected a device that init() gave but got ${device}`);
  }
  checkDType(op, dtype);
  const storage = new Storage(device, dtype, sizeOf(shape), op);
  return new Tensor(storage, shape, contiguousStrides(shape), 0);
}

/** An array for the elements of `shape` on the host; views that repeat elements can be vast there. */
function hostCopy(kind: new (n: number) => HostArray, shape: Shape): HostArray {
  try {
    return new kind(sizeOf(shape));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new OutOfMemoryError(
      `data: expected memory for the elements of ${shapeText(shape)} on the host but found none`,
      { cause: error },
    );
  }
}

/** Elements of `raw` in row-major order of the strided shape. */
function gather(raw: HostArray, shape: Shape, strides: Shape): HostArray {
  const out = hostCopy(raw.constructor as new (n: number) => HostArray, shape);
  const at = new Array<number>(shape.length).fill(0);
  let from = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = raw[from]!;
    for (let d = shape.length - 1; d >= 0; d--) {
      from += strides[d]!;
      if (++at[d]! < shape[d]!) break;
      from -= strides[d]! * shape[d]!;
      at[d] = 0;
    }
  }
  return out;
}
