/**
 * What a device must be able to do. Everything above this file is the same for every device;
 * everything below it knows nothing of tensors, gradients or lifetimes.
 */
import type { DType, HostArray } from "./dtype.ts";
import type { KernelArgs, KernelName } from "./kernels.ts";
import type { DeviceBuffer, View } from "./view.ts";

/** What a device has allocated. */
export interface BackendMemory {
  /** Bytes taken from the system, free lists and pools included. */
  reservedBytes: number;
  /** Number of allocations made from the system since the start. */
  allocations: number;
}

/**
 * Memory that recorded work has to itself, until others need it: then work that was recorded in it is
 * not valid any more.
 */
export interface WorkMemory {
  /** Whether no buffer of it is in use. */
  readonly isIdle: boolean;
  /** Keeps it from others: what was replayed there is still needed. */
  lock(): void;
  /** Ends what `lock` began. */
  unlock(): void;
  /** Gives it back. */
  dispose(): void;
}

/** Work that was done once, as the device was told to do it. */
export interface RecordedWork {
  /** Whether other work is the same, with the same numbers, wherever its arrays lie. */
  matches(other: RecordedWork): boolean;
  /**
   * Makes it ready to be replayed, and says whether it can be: nothing was read back meanwhile.
   *
   * @param buffers Those that are others when it is replayed, each once: inputs and results.
   */
  bind(buffers: readonly DeviceBuffer[]): boolean;
  /** Whether it still has its memory, and the buffers that it is not bound to are what they were. */
  readonly isValid: boolean;
  /**
   * Does the work again.
   *
   * @param buffers Instead of those that it was bound to, of the same sizes, each once.
   */
  replay(buffers: readonly DeviceBuffer[]): void;
}

/** Records work, to do it again without the host's part in it. */
export interface WorkRecorder {
  /** Whether it can be used now: not while it is recording, nor in debug mode. */
  readonly isReady: boolean;
  /** Launches since the device began, and those of them that were replayed. */
  readonly launches: { readonly all: number; readonly replayed: number };
  /** Memory for recordings that are not replayed at the same time. */
  newMemory(): WorkMemory;
  /**
   * Runs `run`, whose work is done and recorded.
   *
   * @param memory What all that is made meanwhile lies in, so that the work can be replayed; without
   * it the record can be compared with others only.
   */
  record(run: () => void, memory?: WorkMemory): RecordedWork;
}

/** A device. */
export interface Backend {
  /** What `init({ device })` calls it. */
  readonly name: "wasm" | "webgpu" | "reference";
  /** One line for people: adapter, threads, tier. */
  readonly description: string;
  /** Set where what passes for a GPU is this machine's CPU: slow, to compile for it too. */
  readonly isSoftware?: boolean;
  /**
   * Whether it stopped working, as a GPU does whose driver starts anew or whose machine sleeps: all that
   * is asked of it throws DeviceLostError, and another has to be opened.
   */
  readonly isLost?: boolean;
  /**
   * Set where rows of a forward pass have the same bits whatever stands beside them: no sum is cut
   * by the number of rows.
   */
  readonly isBatchInvariant?: boolean;
  /**
   * Set where a product of f32 that reads an operand through an activation takes about as long as one
   * that does not, so that what the activation gives need not be stored for the gradient.
   */
  readonly activatesOperands?: boolean;
  /**
   * Set where products and attention of f16 take a fraction of the time of f32, on matrix units, so
   * that a model whose weights are f16 had better compute in it too.
   */
  readonly favoursHalf?: boolean;
  /** Kernels that read and write f16 themselves; others are given f32 copies. */
  readonly halfKernels: ReadonlySet<KernelName>;
  /** Missing where the host's part in work is none to speak of, or replaying is switched off. */
  readonly recorder?: WorkRecorder;

  /** `bytes` of memory, contents undefined. Throws OutOfMemoryError naming `op` and the bytes. */
  alloc(bytes: number, op: string): DeviceBuffer;
  /** Gives `buffer` back, to be used again once the work that reads it is done. */
  free(buffer: DeviceBuffer): void;
  /** Copies `data` (of the buffer's dtype) to elements from `offset` on, after all work so far. */
  write(buffer: DeviceBuffer, offset: number, data: HostArray): void;
  /**
   * Waits for all work so far, then copies out `length` elements from `offset` on. Rejects where
   * that work failed. The reference device gives floats as float64.
   */
  read(buffer: DeviceBuffer, dtype: DType, offset: number, length: number): Promise<HostArray>;
  /**
   * `length` f32 elements from `offset` on, in place, as they are after all work so far; missing
   * where the host cannot reach the device's memory. Valid until the buffer is freed.
   */
  hostView?(buffer: DeviceBuffer, offset: number, length: number): Float32Array;
  /** Starts (or does) the work. `op` names the public op for errors. */
  run<K extends KernelName>(kernel: K, args: KernelArgs[K], op: string): void;
  /** Checks that every index lies in [0, limit): at once where the device can, else at the next read. */
  checkIndices(index: View, limit: number, op: string): void;
  /** Hands pending work to the device without waiting. */
  flush(): void;
  /** Waits until the device is idle. */
  sync(): Promise<void>;
  /**
   * Resolves when the device is not far behind (at once in most calls): to be awaited by loops
   * that launch work and read nothing, so that the work queued stays about a second's. Rejects
   * where the device is lost.
   */
  ready(): Promise<void>;
  /** The system memory that it holds. */
  memory(): BackendMemory;
  /** Frees all its memory and stops its threads; nothing may be called afterwards. */
  dispose(): Promise<void>;
}
