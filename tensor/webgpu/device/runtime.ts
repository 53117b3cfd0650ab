/**
 * Records kernels into long compute passes and hands them to the GPU in batches. All that costs
 * more than a dispatch itself (pipelines, bind groups, buffers, submits) is cached or shared, and
 * the way through `dispatch` builds no strings.
 */
import type { DeviceBuffer, View } from "../../backend.ts";
import { viewBytes } from "../../backend.ts";
import { DTYPE_BYTES } from "../../dtype.ts";
import { DeviceError } from "../../errors.ts";
import type { HalfMode, ViewBinding } from "../shader/accessors.ts";
import { Faults } from "./faults.ts";
import type { WebGpuOptions } from "./options.ts";
import { MAX_VIEWS, Pipelines } from "./pipelines.ts";
import { type Block, BufferPool, type GpuBuffer, gpuBuffer } from "./pool.ts";
import { Profiler, type ProfileRow } from "./profiler.ts";
import { StagedRing } from "./staged_ring.ts";

/** One launch of a kernel. */
export interface Dispatch {
  /** The public op, for errors. */
  readonly op: string;
  /** Unique for the text `source` returns and for the names of uniforms. */
  readonly key: string;
  /**
   * The kernel without its head (see accessors.ts), entry point `main`; called once a key and
   * layout. Uniforms are read as `params.name`.
   */
  readonly source: () => string;
  readonly views: readonly ViewBinding[];
  readonly u32?: Readonly<Record<string, number>>;
  readonly i32?: Readonly<Record<string, number>>;
  readonly f32?: Readonly<Record<string, number>>;
  /**
   * Workgroups along x, y and z; or their number, folded into rows where it exceeds the limit of
   * a dimension: the kernel then finds its own by `linear_group(workgroup_id)` and leaves where
   * that is not below `params.grid_count`.
   */
  readonly workgroups: number | readonly [number, number, number];
  /** Floating-point operations, where they are many: long batches are submitted earlier. */
  readonly flops?: number;
}

/** Counts since the start, for tests and benchmarks. */
export interface RuntimeStats {
  dispatches: number;
  submits: number;
  pipelines: number;
  bindGroups: number;
  buffers: number;
}

const RING_BYTES = 1 << 20;
/** Writes up to this size go with the batch; for larger ones the batch is submitted first. */
const STAGED_BYTES = 1 << 16;
/** The system holds a copy of each write until the next submit. */
const UNSUBMITTED_BYTES = 1 << 27;
/** Submits cost 0.3 ms; more dispatches than this save nothing and leave the GPU idle at first. */
const BATCH_DISPATCHES = 1024;
/** Work after which a batch is submitted: systems kill GPU programs that run for seconds. */
const BATCH_FLOPS = 5e10;

export class WebGpuRuntime {
  readonly limits: GPUSupportedLimits;
  readonly halfMode: HalfMode;
  /** Bytes of one buffer a shader can see at once. */
  readonly maxBindingBytes: number;
  readonly pool: BufferPool;
  readonly faults: Faults;
  /** Serial number of the batch being recorded. */
  batch = 0;
  #profiler: Profiler | null = null;
  #dispatches = 0;
  #submits = 0;

  readonly #pipelines: Pipelines;

  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #passPipeline: GPUComputePipeline | null = null;
  #batchDispatches = 0;
  #batchFlops = 0;
  #unsubmittedBytes = 0;

  readonly #uniforms: StagedRing;
  /** Small writes to blocks that the batch already uses. */
  readonly #uploads: StagedRing;
  readonly #dynamicOffset = new Uint32Array(1);

  // Scratch of one dispatch.
  #serial = 0;
  readonly #blocks: Block[] = [];
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #slots: number[] = [];

  constructor(readonly device: GPUDevice, options: WebGpuOptions = {}) {
    this.limits = device.limits;
    const native = device.features.has("shader-f16");
    if (options.half === "native" && !native) {
      throw new DeviceError("init: native f16 was asked for but the GPU lacks shader-f16");
    }
    this.halfMode = options.half ?? (native ? "native" : "packed");
    this.maxBindingBytes = options.maxBindingBytes ?? this.limits.maxStorageBufferBindingSize;
    this.faults = new Faults(device);
    this.pool = new BufferPool(device, this.faults, options.freeBytesCap ?? 2 ** 28);
    this.#uniforms = new StagedRing(
      device,
      "uniforms",
      RING_BYTES,
      GPUBufferUsage.UNIFORM,
      this.limits.minUniformBufferOffsetAlignment,
    );
    this.#pipelines = new Pipelines(device, this.halfMode, this.#uniforms.gpu);
    this.#uploads = new StagedRing(device, "uploads", RING_BYTES, GPUBufferUsage.COPY_SRC, 4);
  }

  get stats(): RuntimeStats {
    return {
      dispatches: this.#dispatches,
      submits: this.#submits,
      pipelines: this.#pipelines.made,
      bindGroups: this.#pipelines.bindGroupsMade,
      buffers: this.pool.allocations,
    };
  }

  alloc(bytes: number, op: string): GpuBuffer {
    this.faults.checkLost(op);
    return this.pool.alloc(bytes, op);
  }

  free(buffer: DeviceBuffer): void {
    this.pool.free(buffer);
  }

  /** Records one launch. Nothing runs before the batch is flushed. */
  dispatch(d: Dispatch): void {
    this.faults.checkLost(d.op);
    this.faults.recall(d.op);
    const slots = this.#assignSlots(d);
    const pipeline = this.#pipelines.get(d, this.#slots);
    if (!this.#uniforms.fits(pipeline.uniformBytes)) this.flush();

    const width = typeof d.workgroups === "number"
      ? this.#foldedWidth(d.workgroups)
      : d.workgroups[0];
    const uniformsAt = this.#uniforms.take(pipeline.uniformBytes);
    this.#writeUniforms(d, uniformsAt >> 2, width);

    const blocks = this.#blocks;
    for (let i = 0; i < slots; i++) blocks[i]!.batch = this.batch;
    // The ends have served: from here on the array holds sizes.
    for (let i = 0; i < slots; i++) this.#ends[i]! -= this.#starts[i]!;
    const group = pipeline.groups.get(slots, blocks, this.#starts, this.#ends);

    const pass = this.#openPass(d);
    if (this.#passPipeline !== pipeline.gpu) {
      pass.setPipeline(pipeline.gpu);
      this.#passPipeline = pipeline.gpu;
    }
    this.#dynamicOffset[0] = uniformsAt;
    pass.setBindGroup(0, group, this.#dynamicOffset, 0, 1);
    if (typeof d.workgroups === "number") {
      pass.dispatchWorkgroups(width, Math.ceil(d.workgroups / width), 1);
    } else {
      this.#checkGrid(d.op, d.workgroups);
      pass.dispatchWorkgroups(d.workgroups[0], d.workgroups[1], d.workgroups[2]);
    }
    this.#dispatches++;
    this.#batchFlops += d.flops ?? 0;
    if (++this.#batchDispatches >= BATCH_DISPATCHES || this.#batchFlops >= BATCH_FLOPS) {
      this.flush();
    }
  }

  /** Width of the most even folding of `count` workgroups into rows within the limit. */
  #foldedWidth(count: number): number {
    const limit = this.limits.maxComputeWorkgroupsPerDimension;
    return count <= limit ? count : Math.ceil(count / Math.ceil(count / limit));
  }

  #checkGrid(op: string, grid: readonly [number, number, number]): void {
    const limit = this.limits.maxComputeWorkgroupsPerDimension;
    if (grid[0] > limit || grid[1] > limit || grid[2] > limit) {
      throw new DeviceError(
        `${op}: expected at most ${limit} workgroups a dimension but got ${grid.join(" x ")}`,
      );
    }
  }

  /**
   * Gives each view a storage binding: its own, or a shared one where the dispatch writes the
   * view's block (a block may not be bound twice when one binding writes). Leaves the blocks and
   * the windows of them to bind in the scratch arrays; returns the number of bindings.
   */
  #assignSlots(d: Dispatch): number {
    const serial = ++this.#serial;
    const { views } = d;
    if (views.length > MAX_VIEWS) {
      throw new DeviceError(
        `${d.op}: expected at most ${MAX_VIEWS} views a kernel but got ${views.length}`,
      );
    }
    for (let i = 0; i < views.length; i++) {
      if (views[i]!.access !== "read") gpuBuffer(views[i]!.view.buffer).block.writtenBy = serial;
    }
    let count = 0;
    for (let i = 0; i < views.length; i++) {
      const { view } = views[i]!;
      const { block } = gpuBuffer(view.buffer);
      const shared = block.writtenBy === serial && block.slotOf === serial;
      const slot = shared ? block.slot : count++;
      if (!shared) {
        block.slotOf = serial;
        block.slot = slot;
        this.#blocks[slot] = block;
        this.#starts[slot] = 0;
        this.#ends[slot] = block.size;
      }
      this.#slots[i] = slot;
      if (block.size > this.maxBindingBytes) this.#window(d.op, view, slot, !shared);
    }
    return count;
  }

  /** Narrows (or, for a shared binding, widens) the window of a block too large to bind whole. */
  #window(op: string, view: View, slot: number, fresh: boolean): void {
    const align = this.limits.minStorageBufferOffsetAlignment;
    const bytes = viewBytes(view);
    const start = Math.floor(bytes.start / align) * align;
    // Accesses by four may touch the 16 bytes that the last element is part of.
    const end = Math.ceil(bytes.end / 16) * 16;
    this.#starts[slot] = fresh ? start : Math.min(start, this.#starts[slot]!);
    this.#ends[slot] = fresh ? end : Math.max(end, this.#ends[slot]!);
    const size = this.#ends[slot]! - this.#starts[slot]!;
    if (size > this.maxBindingBytes) {
      throw new DeviceError(
        `${op}: expected arrays within ${this.maxBindingBytes} bytes, ` +
          `the most this GPU binds at once, but got one that spans ${size} bytes`,
      );
    }
  }

  /** Writes the uniform block at word `at` of the ring, in the order of `shaderHead`. */
  #writeUniforms(d: Dispatch, at: number, width: number): void {
    const { u32, i32, f32 } = this.#uniforms;
    u32[at++] = width;
    u32[at++] = typeof d.workgroups === "number" ? d.workgroups : 0;
    for (let i = 0; i < d.views.length; i++) {
      const { view } = d.views[i]!;
      u32[at++] = view.offset - this.#starts[this.#slots[i]!]! / DTYPE_BYTES[view.dtype];
    }
    for (const name in d.u32) u32[at++] = d.u32[name]!;
    for (const name in d.i32) i32[at++] = d.i32[name]!;
    for (const name in d.f32) f32[at++] = d.f32[name]!;
  }

  #openEncoder(): GPUCommandEncoder {
    return this.#encoder ??= this.device.createCommandEncoder();
  }

  #openPass({ op, key }: Dispatch): GPUComputePassEncoder {
    if (this.#profiler === null) return this.#pass ??= this.#openEncoder().beginComputePass();
    return this.#pass = this.copyEncoder().beginComputePass(this.#profiler.pass(op, key));
  }

  /**
   * GPU time of every kernel that `run` launches, the longest first.
   *
   * @throws {DeviceError} where the GPU keeps no time.
   */
  async profile(run: () => void | Promise<void>): Promise<ProfileRow[]> {
    if (!this.device.features.has("timestamp-query")) {
      throw new DeviceError("profile: this GPU has no timestamps");
    }
    const profiler = new Profiler(this.device);
    this.#profiler = profiler;
    try {
      await run();
    } finally {
      this.#profiler = null;
    }
    return await profiler.finish(this);
  }

  /** The encoder with no pass open, to record copies between dispatches. */
  copyEncoder(): GPUCommandEncoder {
    this.#pass?.end();
    this.#pass = null;
    this.#passPipeline = null;
    return this.#openEncoder();
  }

  /**
   * Writes whole words to a block, after all commands recorded so far. `start` and the length are
   * multiples of 4 bytes.
   */
  upload(block: Block, start: number, bytes: Uint8Array<ArrayBuffer>): void {
    if (block.batch === this.batch) {
      if (bytes.length <= STAGED_BYTES) {
        if (!this.#uploads.fits(bytes.length)) this.flush();
        const at = this.#uploads.take(bytes.length);
        this.#uploads.u8.set(bytes, at);
        this.copyEncoder().copyBufferToBuffer(
          this.#uploads.gpu,
          at,
          block.gpu,
          start,
          bytes.length,
        );
        block.batch = this.batch;
        return;
      }
      this.flush();
    }
    const { queue } = this.device;
    queue.writeBuffer(block.gpu, start, bytes);
    this.#unsubmittedBytes += bytes.length;
    if (this.#unsubmittedBytes > UNSUBMITTED_BYTES) {
      queue.submit([]);
      this.#unsubmittedBytes = 0;
    }
  }

  /** Hands everything recorded to the GPU. */
  flush(): void {
    this.faults.checkLost("flush");
    if (this.#encoder !== null) {
      const commands = this.copyEncoder().finish();
      const { queue } = this.device;
      this.#uniforms.upload(queue);
      this.#uploads.upload(queue);
      queue.submit([commands]);
      this.#encoder = null;
      this.#unsubmittedBytes = 0;
      this.#batchDispatches = 0;
      this.#batchFlops = 0;
      this.#submits++;
      this.batch++;
    }
    this.pool.trim();
  }

  /** Destroys everything; later calls throw DeviceLostError. */
  dispose(): void {
    this.faults.lose("the device was disposed");
    this.#encoder = null;
    this.#pass = null;
    this.#pipelines.clear();
    this.pool.dispose();
    this.#uniforms.gpu.destroy();
    this.#uploads.gpu.destroy();
    this.device.destroy();
  }
}
