/**
 * Runs kernels: compiles their modules once, writes their arguments where they find them, and
 * launches them on all threads.
 */
import type { RecordedWork, WorkMemory } from "../../backend.ts";
import { type DeviceBuffer, type View, viewBytes } from "../../view.ts";
import { isDebug } from "../../debug.ts";
import { DTYPE_BYTES } from "../../dtype.ts";
import { DeviceError, UseAfterFreeError } from "../../errors.ts";
import {
  ARGS,
  COUNTER,
  HEAP_START,
  LAUNCH,
  LAUNCH_FIELDS,
  MAX_ARGS,
  SCRATCH_BASE,
  STAGING,
  STAGING_BYTES,
} from "./layout.ts";
import type { Target } from "../emit/assembler.ts";
import { Arena } from "./arena.ts";
import { WasmBuffer } from "./buffer.ts";
import type { KernelId, LaunchOptions, LoadedModule, ModuleBuilder } from "./kernel.ts";
import { DeviceMemory, memoryKind } from "./memory.ts";
import { type CheckIndices, type LaunchStep, Recording } from "./recording.ts";
import { Threads } from "./threads.ts";
import { hasSimd, probeTier, type Tier } from "./tier.ts";

/** Bytes by which neighbouring threads' scratch areas are shifted, so as not to meet in one cache set. */
const SCRATCH_SHIFT = 4096 + 128;

/** Memory, threads and kernels of the WebAssembly device. */
export class WasmRuntime {
  readonly memory: DeviceMemory;
  /**
   * `fast` where V8 makes 256-bit code of pairs of 128-bit operations and leaves out bounds
   * checks; kernels may choose other unrolling by it.
   */
  readonly tier: Tier;
  readonly #target: Target;
  readonly #threads: Threads;
  readonly #modules = new Map<string, LoadedModule>();
  #words!: Int32Array;
  #args!: Float64Array;
  #scratchBase!: Float64Array;
  #scratch: WasmBuffer | undefined;
  #scratchStride = 0;
  #bytes!: Uint8Array<ArrayBufferLike>;
  #recording: Recording | null = null;
  /** Launches so far, and those of them that were replayed. */
  launched = 0;
  replayed = 0;

  /** With one thread; `setThreads` adds more. */
  constructor(
    options: { tier?: "auto" | Tier; maxBytes?: number; target?: Partial<Target> } = {},
  ) {
    this.#target = { ...memoryKind(), relaxed: hasSimd(true), ...options.target };
    this.memory = new DeviceMemory(options.maxBytes, this.#target);
    this.#threads = new Threads(this.memory.memory);
    this.#look();
    const tier = options.tier ?? "auto";
    this.tier = tier === "auto" ? probeTier() : tier;
  }

  /** Makes views of the memory: anew where it has grown, since only shared memory keeps old ones. */
  #look(): void {
    const { buffer } = this.memory.memory;
    this.#words = new Int32Array(buffer, 0, HEAP_START / 4);
    this.#args = new Float64Array(buffer, ARGS, MAX_ARGS);
    this.#scratchBase = new Float64Array(buffer, SCRATCH_BASE, 1);
    this.#bytes = new Uint8Array(buffer);
  }

  /** Threads that launches run on, the calling one included. */
  get threads(): number {
    return this.#threads.count;
  }

  /** Whether one of them is gone, so that no launch can be made. */
  get isLost(): boolean {
    return this.#threads.isLost;
  }

  /** Changes the number of threads; no result depends on it. */
  async setThreads(count: number): Promise<void> {
    try {
      await this.#threads.resize(count);
    } finally { // where it fails, too, there are fewer threads than before
      for (const module of this.#modules.values()) {
        module.knownTo = Math.min(module.knownTo, this.threads);
      }
      this.#dropScratch();
    }
  }

  /** Threads worth waking for `work` elements where one is busy for a while with `share` of them. */
  threadsFor(work: number, share = 16384): number {
    return Math.max(1, Math.min(this.threads, Math.floor(work / share)));
  }

  /**
   * Compiles the module that `build` makes, unless `key` has been loaded before, and returns its
   * kernels by their export names. Debug mode makes sure that the key stands for one code.
   *
   * @param key names the module's code uniquely, everything `build` depends on included but the tier
   */
  load(key: string, build: ModuleBuilder): (name: string) => KernelId {
    let module = this.#modules.get(key);
    if (!module) {
      module = this.#compile(build);
      this.#modules.set(key, module);
    } else if (isDebug() && !this.#isOf(module, build)) {
      throw new DeviceError(`wasm: expected one code for the key "${key}" but got two`);
    }
    const { kernels } = module;
    return (name) => {
      const kernel = kernels.get(name);
      if (!kernel) throw new DeviceError(`wasm module ${key} has no kernel ${name}`);
      return kernel;
    };
  }

  /** Whether `build` makes the code of `module`. */
  #isOf(module: LoadedModule, build: ModuleBuilder): boolean {
    return module.build === build || sameBytes(module.bytes, this.#code(build));
  }

  #code(build: ModuleBuilder): Uint8Array<ArrayBuffer> {
    return build(this.tier).bytes(this.#target);
  }

  #compile(build: ModuleBuilder): LoadedModule {
    const bytes = this.#code(build);
    if (bytes.length > STAGING_BYTES) {
      throw new DeviceError(
        `wasm: expected a module of at most ${STAGING_BYTES} bytes but got ${bytes.length}`,
      );
    }
    const env = { memory: this.memory.memory };
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env });
    const kernels = new Map<string, KernelId>();
    const module: LoadedModule = { id: this.#modules.size, build, bytes, kernels, knownTo: 1 };
    Object.entries(exports).forEach(([name, run], index) => {
      kernels.set(name, { name, module, index, run: run as KernelId["run"] });
    });
    return module;
  }

  /**
   * Runs a kernel with `slots` as its arguments and waits until all its threads are done. The
   * shared counter is zero when it starts.
   */
  launch(kernel: KernelId, slots: readonly number[], options: LaunchOptions = {}): void {
    if (slots.length > MAX_ARGS) {
      throw new DeviceError(
        `kernel ${kernel.name}: expected at most ${MAX_ARGS} arguments but got ${slots.length}`,
      );
    }
    if (this.#words.length === 0) this.#look();
    for (let i = 0; i < slots.length; i++) this.#args[i] = slots[i]!;
    this.#recording?.launch(kernel, slots, options);
    this.#launch(kernel, options);
  }

  /** Does a recorded launch again, of the arguments that it has now. */
  repeat({ kernel, slots, options }: LaunchStep): void {
    if (this.#words.length === 0) this.#look();
    this.#args.set(slots);
    this.replayed++;
    this.#launch(kernel, options);
  }

  #launch(kernel: KernelId, options: LaunchOptions): void {
    this.launched++;
    this.#words[COUNTER / 4] = 0;
    const threads = Math.min(this.threads, options.threads ?? this.threads);
    const scratch = options.scratchBytes ? this.#scratchFor(options.scratchBytes) : 0;
    if (threads === 1) kernel.run(ARGS, 0, 1, scratch);
    else this.#launchOnAll(kernel, threads, scratch);
  }

  #launchOnAll(kernel: KernelId, threads: number, scratch: number): void {
    const { module } = kernel;
    const words = this.#words;
    const launch = LAUNCH / 4;
    if (module.knownTo < threads) this.#bytes.set(module.bytes, STAGING);
    words[launch + LAUNCH_FIELDS.module] = module.id;
    words[launch + LAUNCH_FIELDS.export] = kernel.index;
    words[launch + LAUNCH_FIELDS.moduleBytes] = module.bytes.length;
    words[launch + LAUNCH_FIELDS.threads] = threads;
    words[launch + LAUNCH_FIELDS.scratchStride] = this.#scratchStride;
    this.#scratchBase[0] = scratch;
    this.#threads.start(threads);
    let failure: string | undefined;
    try {
      kernel.run(ARGS, 0, threads, scratch);
    } finally {
      failure = this.#threads.join(threads);
    }
    if (failure !== undefined) throw new DeviceError(`kernel ${kernel.name} failed ${failure}`);
    module.knownTo = Math.max(module.knownTo, threads);
  }

  /** Address of thread 0's scratch area of at least `bytes`; the others' follow at the stride. */
  #scratchFor(bytes: number): number {
    if (!this.#scratch || this.#scratchStride - SCRATCH_SHIFT < bytes) {
      this.#dropScratch();
      const stride = Math.ceil(bytes / 8192) * 8192 + SCRATCH_SHIFT;
      const all = stride * this.threads; // never in an arena, since all launches use it
      this.#scratch = new WasmBuffer(all, this.memory.alloc(all, "scratch memory"));
      this.#scratchStride = stride;
    }
    return this.#scratch.address;
  }

  #dropScratch(): void {
    if (this.#scratch) this.free(this.#scratch);
    this.#scratch = undefined;
    this.#scratchStride = 0;
  }

  /** `bytes` of memory, contents undefined; `op` is named where there is not enough. */
  alloc(bytes: number, op: string): WasmBuffer {
    const arena = this.#recording?.arena ?? null;
    return new WasmBuffer(bytes, (arena ?? this.memory).alloc(bytes, op), arena);
  }

  free(buffer: DeviceBuffer): void {
    const block = blockOf(buffer, "free");
    (block.arena ?? this.memory).free(block.address);
    block.address = NaN;
  }

  /**
   * Address of `bytes` that all threads share, 128-byte aligned, for use between launches of one
   * kernel call; give it back with `freeTemp`.
   */
  allocTemp(bytes: number, op: string): number {
    const address = (this.#recording?.arena ?? this.memory).alloc(bytes, op);
    return this.#recording?.mark(address, { address, bytes }) ?? address;
  }

  freeTemp(address: number): void {
    (this.#recording?.arena ?? this.memory).free(Math.floor(address));
  }

  /**
   * Address of a view's first element. Throws a RangeError where the view leaves its buffer: in
   * the fast tier nothing else would notice.
   */
  address(view: View): number {
    const { start, end } = viewBytes(view);
    if (start < 0 || end > view.buffer.bytes) {
      throw new RangeError(
        `a view of bytes [${start}, ${end}) leaves its buffer of ${view.buffer.bytes} bytes`,
      );
    }
    const block = blockOf(view.buffer, "a kernel");
    const address = block.address + view.offset * DTYPE_BYTES[view.dtype];
    return this.#recording?.mark(address, block) ?? address;
  }

  /** Address of a buffer's first byte; throws where it has been freed. */
  addressOf(buffer: DeviceBuffer, op: string): number {
    return blockOf(buffer, op).address;
  }

  /** `bytes` of memory from `address` on, as seen by the host, which may write to them at once. */
  bytesAt(address: number, bytes: number): Uint8Array<ArrayBufferLike> {
    if (address + bytes > this.#bytes.length) this.#look();
    return this.#bytes.subarray(address, address + bytes);
  }

  /** Copies bytes into a buffer. */
  write(buffer: DeviceBuffer, start: number, bytes: Uint8Array, op: string): void {
    const block = blockOf(buffer, op);
    this.#recording?.begin();
    const address = block.address + start;
    this.writeAt(this.#recording?.mark(address, block) ?? address, bytes);
  }

  /** Copies bytes to where `address` or `allocTemp` said. */
  writeAt(address: number, bytes: Uint8Array): void {
    this.#recording?.write(address, bytes);
    this.bytesAt(Math.floor(address), bytes.length).set(bytes);
  }

  /** Memory for recordings. */
  newArena(): Arena {
    return new Arena(this.memory);
  }

  /** What is recorded now, if anything is. */
  get recording(): Recording | null {
    return this.#recording;
  }

  /**
   * Runs `run`, whose work is done and recorded.
   *
   * @param memory An arena of this runtime's.
   * @param checkIndices As the backend does it.
   */
  record(
    run: () => void,
    memory: WorkMemory | undefined,
    checkIndices: CheckIndices,
  ): RecordedWork {
    if (this.#recording) throw new DeviceError("wasm: expected no recording in another");
    const recording = new Recording(memory as Arena | undefined ?? null, this, checkIndices);
    this.#recording = recording;
    try {
      run();
    } finally {
      this.#recording = null;
    }
    return recording;
  }

  /** Ends the workers. Buffers must not be used afterwards. */
  async dispose(): Promise<void> {
    await this.#threads.dispose();
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function blockOf(buffer: DeviceBuffer, op: string): WasmBuffer {
  if (!(buffer instanceof WasmBuffer)) {
    throw new DeviceError(`${op}: expected a buffer of the wasm device`);
  }
  if (Number.isNaN(buffer.address)) {
    throw new UseAfterFreeError(`${op}: the buffer of ${buffer.bytes} bytes has been freed`);
  }
  return buffer;
}
