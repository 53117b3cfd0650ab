/**
 * The WebAssembly device: SIMD kernels emitted when they are first needed, on all cores, with
 * nothing to install. `run` does its work before it returns.
 */
import { checkArguments } from "../arguments.ts";
import type { Backend, BackendMemory, WorkRecorder } from "../backend.ts";
import type { KernelArgs, KernelName, KernelTable } from "../kernels.ts";
import { checkView, type DeviceBuffer, type View } from "../view.ts";
import { isDebug } from "../debug.ts";
import { type DType, DTYPE_BYTES, type HostArray, hostArray } from "../dtype.ts";
import { DeviceError, IndexError, ShapeError, shapeText } from "../errors.ts";
import { isContiguous, sizeOf } from "../shape.ts";
import { argReduce } from "./kernels/arg_reduce.ts";
import { attention } from "./kernels/attention.ts";
import { attentionGrad } from "./kernels/attention_grad.ts";
import { conv2d, conv2dGradWeight } from "./kernels/conv.ts";
import { cumsum } from "./kernels/cumsum.ts";
import { elementwise } from "./kernels/elementwise.ts";
import { gateGrad } from "./kernels/gate_grad.ts";
import { gather, scatterAdd } from "./kernels/gather.ts";
import { groupNorm, groupNormGrad } from "./kernels/group_norm.ts";
import { layerNorm, layerNormGrad } from "./kernels/layer_norm.ts";
import { matmul } from "./kernels/matmul.ts";
import { reduce } from "./kernels/reduce.ts";
import { MAX_THREADS } from "./device/layout.ts";
import type { Target } from "./emit/assembler.ts";
import type { WasmBuffer } from "./device/buffer.ts";
import { WasmRuntime } from "./device/runtime.ts";
import { rotary } from "./kernels/rotary.ts";
import { softmax, softmaxGrad } from "./kernels/softmax.ts";
import { cores } from "./device/host.ts";
import { FAST_TIER_FLAGS, hasHalfInstructions, hasSimd, type Tier } from "./device/tier.ts";

/** How to set the device up. */
export interface WasmOptions {
  /**
   * Threads at work, the calling one included. Unless given as many as there are cores, or one where
   * threads cannot be had: on the main thread of a page, and in pages that are not cross-origin
   * isolated.
   */
  threads?: number;
  /** Which kernels to use; `auto` takes the fast ones where V8 was started for them. */
  tier?: "auto" | Tier;
  /**
   * Bits of memory addresses: 64 unless given, or 32 where the runtime has no others, as in Safari
   * and Bun, with at most 4 GiB for tensors.
   */
  addressBits?: 32 | 64;
  /** Whether work that is captured is replayed, to spare the host its part in it; it is unless `false`. */
  replay?: boolean;
}

/** The WebAssembly device, with what only it can do. */
export interface WasmBackend extends Backend {
  readonly name: "wasm";
  readonly tier: Tier;
  readonly threads: number;
  /** The most bytes that its memory may grow to: 16 GiB, less where a system limits addresses. */
  readonly maxBytes: number;
  /** Changes the number of threads; no result depends on it. */
  setThreads(count: number): Promise<void>;
}

const LAUNCHERS: KernelTable<WasmRuntime> = {
  elementwise,
  reduce,
  argReduce,
  cumsum,
  matmul,
  softmax,
  softmaxGrad,
  rotary,
  layerNorm,
  layerNormGrad,
  gateGrad,
  groupNorm,
  groupNormGrad,
  conv2d,
  conv2dGradWeight,
  attention,
  attentionGrad,
  gather,
  scatterAdd,
};

class Wasm implements WasmBackend {
  readonly name = "wasm";
  readonly isBatchInvariant = true;
  readonly halfKernels: ReadonlySet<KernelName>;
  readonly recorder?: WorkRecorder;
  readonly #runtime: WasmRuntime;

  constructor(runtime: WasmRuntime, replays: boolean) {
    this.#runtime = runtime;
    if (replays) this.recorder = this.#recorder();
    this.halfKernels = new Set<KernelName>(["elementwise", "reduce", "matmul", "gateGrad"]);
  }

  get description(): string {
    const { threads, tier } = this;
    return `WebAssembly, ${tier === "fast" ? "256" : "128"}-bit SIMD, ` +
      `${threads} thread${threads === 1 ? "" : "s"}`;
  }
  get isLost(): boolean {
    return this.#runtime.isLost;
  }
  get tier(): Tier {
    return this.#runtime.tier;
  }
  get threads(): number {
    return this.#runtime.threads;
  }
  get maxBytes(): number {
    return this.#runtime.memory.maxBytes;
  }

  setThreads(count: number): Promise<void> {
    return this.#runtime.setThreads(count);
  }

  #recorder(): WorkRecorder {
    const runtime = this.#runtime;
    return {
      get isReady() {
        return !runtime.recording && !isDebug();
      },
      get launches() {
        const { launched, replayed } = runtime;
        return { all: launched, replayed };
      },
      newMemory: () => runtime.newArena(),
      record: (run, memory) =>
        runtime.record(run, memory, (view, limit, op) => this.checkIndices(view, limit, op)),
    };
  }

  alloc(bytes: number, op: string): WasmBuffer {
    return this.#runtime.alloc(bytes, op);
  }

  free(buffer: DeviceBuffer): void {
    this.#runtime.free(buffer);
  }

  write(buffer: DeviceBuffer, offset: number, data: HostArray): void {
    // Where float64 comes in, the device's floats are f32.
    const source = data instanceof Float64Array ? Float32Array.from(data) : data;
    const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    const start = offset * source.BYTES_PER_ELEMENT;
    checkRange(buffer, start, bytes.length, "write");
    this.#runtime.write(buffer, start, bytes, "write");
  }

  read(
    buffer: DeviceBuffer,
    dtype: DType,
    offset: number,
    length: number,
  ): Promise<HostArray> {
    this.#runtime.recording?.spoil();
    const size = DTYPE_BYTES[dtype];
    const data = hostArray(dtype, length);
    new Uint8Array(data.buffer).set(this.#bytes(buffer, offset * size, length * size, "read"));
    return Promise.resolve(data);
  }

  hostView(buffer: DeviceBuffer, offset: number, length: number): Float32Array {
    this.#runtime.recording?.spoil();
    const bytes = this.#bytes(buffer, offset * 4, length * 4, "hostView");
    return new Float32Array(bytes.buffer, bytes.byteOffset, length);
  }

  #bytes(buffer: DeviceBuffer, start: number, bytes: number, op: string): Uint8Array {
    checkRange(buffer, start, bytes, op);
    const address = this.#runtime.addressOf(buffer, op) + start;
    return this.#runtime.bytesAt(address, bytes);
  }

  run<K extends KernelName>(kernel: K, args: KernelArgs[K], op: string): void {
    // In the fast tier a bad address reaches the whole process: this is the only guard.
    checkArguments(kernel, args, op);
    this.#runtime.recording?.begin();
    LAUNCHERS[kernel](this.#runtime, args, op);
  }

  checkIndices(index: View, limit: number, op: string): void {
    checkView(index, op);
    const { shape, strides, offset } = index;
    if (!isContiguous(shape, strides)) {
      throw new ShapeError(
        `${op}: expected contiguous indices but got strides ${shapeText(strides)}`,
      );
    }
    this.#runtime.recording?.check(index, limit, op);
    const count = sizeOf(shape);
    const bytes = this.#bytes(index.buffer, offset * 4, count * 4, op);
    const values = index.dtype === "u32"
      ? new Uint32Array(bytes.buffer, bytes.byteOffset, count)
      : new Int32Array(bytes.buffer, bytes.byteOffset, count);
    for (const value of values) {
      if (value < 0 || value >= limit) {
        throw new IndexError(`${op}: expected indices in [0, ${limit}) but got ${value}`);
      }
    }
  }

  flush(): void {}

  ready(): Promise<void> {
    return Promise.resolve();
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  memory(): BackendMemory {
    const { reservedBytes, growths } = this.#runtime.memory;
    return { reservedBytes, allocations: growths };
  }

  dispose(): Promise<void> {
    return this.#runtime.dispose();
  }
}

function checkRange(buffer: DeviceBuffer, start: number, bytes: number, op: string): void {
  if (start < 0 || start + bytes > buffer.bytes) {
    throw new RangeError(
      `${op}: bytes [${start}, ${start + bytes}) leave the buffer of ${buffer.bytes} bytes`,
    );
  }
}

/**
 * Starts the WebAssembly device.
 *
 * @param target For tests: what code is made for, where it is not to be what the runtime offers.
 * @throws {DeviceError} where threads are asked for that cannot start, or a tier that is not there
 */
export async function createWasmBackend(
  options: WasmOptions = {},
  target: Partial<Target> = {},
): Promise<WasmBackend> {
  const { tier = "auto", addressBits, replay = true } = options;
  if (!hasSimd(false)) {
    throw new DeviceError(
      "wasm: expected a runtime with WebAssembly's SIMD instructions, such as any browser of the " +
        "last years, but this one has none",
    );
  }
  if (tier === "fast" && !hasHalfInstructions()) {
    throw new DeviceError(
      `wasm: the fast tier needs Deno started with DENO_V8_FLAGS=${FAST_TIER_FLAGS}`,
    );
  }
  const bits = addressBits === undefined ? {} : { bits: addressBits };
  const runtime = new WasmRuntime({ tier, target: { ...bits, ...target } });
  if (options.threads !== undefined) await runtime.setThreads(options.threads);
  else if (runtime.memory.kind.shared) await startThreads(runtime);
  return new Wasm(runtime, replay);
}

/** A thread for each core; where they cannot start, though they should, one does all the work. */
async function startThreads(runtime: WasmRuntime): Promise<void> {
  try {
    await runtime.setThreads(Math.min(cores(), MAX_THREADS));
  } catch (error) {
    console.warn(`${error instanceof Error ? error.message : error}; computing on one thread`);
  }
}
