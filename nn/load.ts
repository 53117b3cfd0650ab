/**
 * Weights in and out of a module one tensor at a time, so that a large model and its file never
 * stand in memory side by side. The other side is any `TensorSource`, as the files of `@dit/core/io`
 * are.
 */
import {
  DTYPE_BYTES,
  hostArray,
  type HostTensor,
  IndexError,
  type Shape,
  shapeText,
  type Tensor,
  type TensorSource,
} from "../tensor/mod.ts";
import { Module } from "./module.ts";
import { assign, checkState, type StateDict, StateDictError } from "./state.ts";

/** Settings of {@link loadWeights}. */
export interface LoadOptions {
  /** False lets names be missing or unexpected; shapes must fit always. True by default. */
  strict?: boolean;
  /** Called after each tensor with the number loaded so far and in all. */
  onProgress?: (done: number, total: number) => void;
}

/**
 * Loads weights from a source, tensor by tensor. Floats of any precision are turned into the
 * parameters' own on the device; a module made with `withoutInit(..., { dtype: "f16" })` thereby
 * takes half the memory of its file. Names, shapes and types are checked before anything is
 * changed; where a read fails later on, the module is left with some of its old weights.
 *
 * @example
 * ```ts ignore
 * const model = withoutInit(() => createDiT("DiT-XL/2"), { dtype: "f16" });
 * using file = await TorchFile.open("DiT-XL-2-256x256.pt");
 * await loadWeights(model, file.stateDict());
 * ```
 * @returns Names that were missing and unexpected.
 * @throws {StateDictError} listing everything that is missing, unexpected or misshapen.
 */
export async function loadWeights(
  module: Module,
  source: Pick<TensorSource, "keys" | "info" | "read">,
  options: LoadOptions = {},
): Promise<{ missing: string[]; unexpected: string[] }> {
  const own = module.stateDict();
  const given = new Map(Array.from(source.keys(), (name) => [name, source.info(name)] as const));
  const found = checkState(own, given, options.strict ?? true);
  const wanted = [...own].filter(([name]) => given.has(name));
  for (const [i, [name, target]] of wanted.entries()) {
    assign(target, await source.read(name));
    options.onProgress?.(i + 1, wanted.length);
  }
  return found;
}

/** Weights on a device as a source for writers of files: each is read when its turn comes. */
export class ModuleWeights implements TensorSource {
  /** For messages. */
  readonly name: string;
  readonly #state: StateDict;

  /**
   * The weights as they are when each is read.
   *
   * @param of A module, or a state dict such as that of an EMA.
   */
  constructor(of: Module | ReadonlyMap<string, Tensor>, name = "(model)") {
    this.#state = of instanceof Module ? of.stateDict() : new Map(of);
    this.name = name;
  }

  /** Names of all tensors, in the order of the module. */
  keys(): string[] {
    return [...this.#state.keys()];
  }

  /** Whether there is a tensor of this name. */
  has(name: string): boolean {
    return this.#state.has(name);
  }

  /** Element type and shape. */
  info(name: string): { dtype: Tensor["dtype"]; shape: Shape } {
    const { dtype, shape } = this.#get(name);
    return { dtype, shape };
  }

  /** The whole tensor, once the device has computed it. */
  async read(name: string): Promise<HostTensor> {
    const t = this.#get(name);
    const data = new Uint8Array(t.bytes);
    await this.readInto(name, data);
    return { ...this.info(name), data };
  }

  /** Fills `target` with the tensor's bytes from byte `start` on. */
  async readInto(name: string, target: Uint8Array, start = 0): Promise<void> {
    const t = this.#get(name);
    if (!t.contiguous) {
      throw new StateDictError(
        `${name}: expected a row-major tensor but got strides ${shapeText(t.strides)}`,
      );
    }
    if (start < 0 || start + target.byteLength > t.bytes) {
      throw new IndexError(
        `${name}: expected a range inside its ${t.bytes} bytes but got bytes ${start} to ${
          start + target.byteLength
        }`,
      );
    }
    const size = DTYPE_BYTES[t.dtype];
    const first = Math.floor(start / size); // only the elements that the bytes are of
    const last = Math.ceil((start + target.byteLength) / size);
    const bytes = await bytesOf(t, first, last);
    target.set(bytes.subarray(start - first * size, start - first * size + target.byteLength));
  }

  #get(name: string): Tensor {
    const found = this.#state.get(name);
    if (!found) throw new StateDictError(`${this.name}: expected a tensor ${name} but got none`);
    return found;
  }
}

/** Elements `first` to `last` of a row-major tensor, as they are in files. */
async function bytesOf(t: Tensor, first: number, last: number): Promise<Uint8Array> {
  const { dtype } = t;
  const part = t.as([last - first], [1], t.offset + first);
  const read = part.data(); // holds what it needs
  part.dispose();
  let data = await read;
  if (data instanceof Float64Array) { // the reference device computes in float64
    const narrow = hostArray(dtype, data.length);
    narrow.set(data);
    data = narrow;
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
