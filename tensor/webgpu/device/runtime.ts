/**
 * Records kernels into long compute passes and hands them to the GPU in batches. All that costs
 * more than a dispatch itself (pipelines, bind groups, buffers, submits) is cached or shared, and
 * the way through `dispatch` builds no strings.
 */
import type { WorkMemory } from "../../backend.ts";
import type { DeviceBuffer } from "../../view.ts";
import { DeviceError } from "../../errors.ts";
import type { MatrixUnit } from "./matrices.ts";
import type { MatrixTile } from "../kernels/matrix_plan.ts";
import { type KernelPlans, usualPlans } from "../plans.ts";
import type { HalfMode } from "../shader/accessors.ts";
import { Arena } from "./arena.ts";
import { Bindings } from "./bindings.ts";
import type { Block } from "./block.ts";
import type { Dispatch } from "./dispatch.ts";
import { Faults } from "./faults.ts";
import { joined } from "./join.ts";
import { type Launch, LaunchBuilder } from "./launch.ts";
import type { WebGpuOptions } from "./options.ts";
import { Pace } from "./pace.ts";
import { dispatchPacked } from "./packing.ts";
import { Pipelines } from "./pipelines.ts";
import { BufferPool, type GpuBuffer, gpuBuffer } from "./pool.ts";
import { Profiler, type ProfileRow } from "./profiler.ts";
import { type Command, Recording } from "./recording.ts";
import { StagedRing } from "./staged_ring.ts";
import type { Subgroups } from "./subgroups.ts";
import { type GpuTraits, USUAL_TRAITS } from "./traits.ts";

/** Counts since the start, for tests and benchmarks. */
export interface RuntimeStats {
  dispatches: number;
  /** Launches, of those, that were recorded before. */
  replayed: number;
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

export class WebGpuRuntime {
  readonly limits: GPUSupportedLimits;
  readonly halfMode: HalfMode;
  /** What kernels are planned by where nothing was measured. */
  readonly usualPlans: KernelPlans;
  /** What kernels are planned by. */
  plans: KernelPlans;
  #subgroups: Subgroups | null = null;
  /** How products of f16 are divided among matrix units; null where they are not used. */
  matrices: MatrixTile | null = null;
  /** Matrices that attention runs on; null where it takes the ordinary kernels. */
  attentionMatrices: MatrixUnit | null = null;
  /** Bytes of one buffer a shader can see at once. */
  readonly maxBindingBytes: number;
  /** Storage buffers a shader can see. */
  readonly maxArrays: number;
  /** What work takes, and how much of it is not done yet. */
  readonly pace: Pace;
  readonly pool: BufferPool;
  readonly faults: Faults;
  #onDispatch: ((d: Dispatch) => void) | null = null;
  /** Serial number of the batch being recorded. */
  batch = 0;
  #profiler: Profiler | null = null;
  #dispatches = 0;
  #replayed = 0;
  #submits = 0;

  readonly #pipelines: Pipelines;

  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #passPipeline: GPUComputePipeline | null = null;
  #batchDispatches = 0;
  #batchWork = 0;
  #unsubmittedBytes = 0;

  readonly #uniforms: StagedRing;
  /** Small writes to blocks that the batch already uses. */
  readonly #uploads: StagedRing;
  readonly #dynamicOffset = new Uint32Array(1);

  readonly #bindings: Bindings;
  /** The launch being made. */
  readonly #launch = new LaunchBuilder();
  /** Whether launches share a grid where they can. */
  readonly #joins: boolean;
  /** A launch that is recorded with the next, where they can share a grid, or else before it. */
  #waiting: Dispatch | null = null;
  /** What commands are noted in. */
  #recording: Recording | null = null;

  constructor(readonly device: GPUDevice, options: WebGpuOptions = {}) {
    this.limits = device.limits;
    const native = device.features.has("shader-f16");
    if (options.half === "native" && !native) {
      throw new DeviceError("init: native f16 was asked for but the GPU lacks shader-f16");
    }
    this.halfMode = options.half ?? (native ? "native" : "packed");
    this.plans = this.usualPlans = usualPlans({ ...USUAL_TRAITS, ...options.traits });
    this.maxBindingBytes = options.maxBindingBytes ?? this.limits.maxStorageBufferBindingSize;
    this.maxArrays = this.limits.maxStorageBuffersPerShaderStage;
    this.#bindings = new Bindings(
      this.limits.minStorageBufferOffsetAlignment,
      this.maxBindingBytes,
    );
    this.#joins = options.join ?? true;
    this.pace = new Pace(options.submitSeconds);
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

  /** Properties of the GPU that plans depend on. */
  get traits(): GpuTraits {
    return this.plans.traits;
  }

  /** Null until plans are to use them, and where the GPU has none. */
  get subgroups(): Subgroups | null {
    return this.#subgroups;
  }

  set subgroups(found: Subgroups | null) {
    this.#subgroups = found;
    this.#pipelines.subgroupDirective = found?.directive ?? "";
  }

  /** Called with every launch made while it is set; for tests. */
  get onDispatch(): ((d: Dispatch) => void) | null {
    return this.#onDispatch;
  }

  set onDispatch(call: ((d: Dispatch) => void) | null) {
    this.settle();
    this.#onDispatch = call;
  }

  get stats(): RuntimeStats {
    this.settle();
    return {
      dispatches: this.#dispatches,
      replayed: this.#replayed,
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
    if (this.#waiting?.views.some(({ view }) => view.buffer === buffer)) this.settle();
    this.pool.free(buffer);
  }

  /** Records one launch. Nothing runs before the batch is flushed. */
  dispatch(d: Dispatch): void {
    this.faults.checkLost(d.op);
    const waiting = this.#waiting;
    this.#waiting = null;
    const both = waiting && this.#join(waiting, d);
    if (both) return this.#dispatch(both);
    if (waiting) this.#dispatch(waiting);
    if (this.#joins && d.tiled) this.#waiting = d;
    else this.#dispatch(d);
  }

  /** Records the launch that waits for another, before anything that has to come after it. */
  settle(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    // Where the device is gone, memory can be given back all the same.
    if (waiting && !this.faults.isLost) this.#dispatch(waiting);
  }

  /** Both in one launch; null where they cannot share one. */
  #join(first: Dispatch, second: Dispatch): Dispatch | null {
    const both = joined(first, second, {
      maxBindingBytes: this.maxBindingBytes,
      workgroupBytes: this.limits.maxComputeWorkgroupStorageSize,
    });
    if (!both) return null;
    this.#bindings.assign(both);
    return this.#bindings.count <= this.maxArrays ? both : null;
  }

  #dispatch(d: Dispatch): void {
    this.#announce(d);
    const bindings = this.#bindings;
    bindings.assign(d);
    if (bindings.count > this.maxArrays) return dispatchPacked(this, d, bindings);
    const pipeline = this.#pipelines.get(d, bindings.slots);
    const launch = this.#launch.assign(d, pipeline, bindings, this.pace.workOf(d));
    this.#recording?.add({ launch: launch.copy() });
    this.#recordGrid(launch);
  }

  #announce(d: Dispatch): void {
    this.faults.recall(d.op);
    this.#onDispatch?.(d);
  }

  /**
   * Records all workgroups of a launch, in several launches where they take longer than may be
   * submitted at once. Which of them a workgroup is in makes no difference to it.
   */
  #recordGrid(launch: Launch): void {
    const { d: { workgroups }, pipeline, work } = launch;
    const limit = this.limits.maxComputeWorkgroupsPerDimension;
    const most = this.pace.submitWork;
    let part = this.pace.partOf(workgroups, work);
    // Only whole rows may be followed by more: the last row may overshoot into what follows.
    if (part < workgroups && part > limit) part = Math.floor(part / limit) * limit;
    for (let first = 0; first < workgroups; first += part) {
      const length = Math.min(part, workgroups - first);
      const share = work * length / workgroups;
      if (this.#batchWork > 0 && this.#batchWork + share > most) this.flush();
      if (!this.#uniforms.fits(pipeline.uniformBytes)) this.flush();
      const rows = Math.ceil(length / limit);
      // The most even folding, except where no row may overshoot.
      const width = first + length < workgroups ? length / rows : Math.ceil(length / rows);
      this.#record(launch, first, width, rows);
      this.#batchWork += share;
      if (++this.#batchDispatches >= BATCH_DISPATCHES) this.flush();
    }
  }

  /** Records `width` times `rows` workgroups of a launch, from number `first` on. */
  #record(launch: Launch, first: number, width: number, rows: number): void {
    const { d, pipeline, group, words, length, blocks, count } = launch;
    const uniformsAt = this.#uniforms.take(pipeline.uniformBytes);
    const { u32 } = this.#uniforms;
    let at = uniformsAt >> 2; // in the order of `shaderHead`
    u32[at++] = first;
    u32[at++] = width;
    for (let i = 0; i < length; i++) u32[at++] = words[i]!;
    for (let i = 0; i < count; i++) blocks[i]!.batch = this.batch;
    const pass = this.#openPass(d);
    if (this.#passPipeline !== pipeline.gpu) {
      pass.setPipeline(pipeline.gpu);
      this.#passPipeline = pipeline.gpu;
    }
    this.#dynamicOffset[0] = uniformsAt;
    pass.setBindGroup(0, group, this.#dynamicOffset, 0, 1);
    pass.dispatchWorkgroups(width, rows, 1);
    this.#dispatches++;
  }

  /** Whether commands are being recorded to be replayed. */
  get isRecording(): boolean {
    return this.#recording !== null;
  }

  /** See `WorkRecorder`. */
  record(run: () => void, memory?: WorkMemory): Recording {
    this.settle();
    const arena = memory instanceof Arena ? memory : null;
    const recording = this.#recording = new Recording(arena, this);
    // What waits at the end may need memory of its own, which has to be the arena's too.
    const whole = () => {
      run();
      this.settle();
    };
    try {
      if (arena) this.pool.within(arena, whole);
      else whole();
    } finally {
      this.#recording = null;
    }
    return recording;
  }

  /** Notes that something is done that cannot be replayed. */
  spoilRecording(): void {
    this.#recording?.spoil();
  }

  /** Records a command again. */
  repeat(command: Command): void {
    this.settle();
    if ("launch" in command) {
      this.#replayed++;
      this.#announce(command.launch.d);
      this.#recordGrid(command.launch);
    } else if ("bytes" in command) this.upload(command.to, command.start, command.bytes);
    else {
      const { from, at, to, start, length } = command;
      this.#copy(from, at, to, start, length);
    }
  }

  #openEncoder(): GPUCommandEncoder {
    return this.#encoder ??= this.device.createCommandEncoder();
  }

  #openPass({ op, key }: Dispatch): GPUComputePassEncoder {
    if (this.#profiler === null) return this.#pass ??= this.#openEncoder().beginComputePass();
    return this.#pass = this.#encoderAfterPass().beginComputePass(this.#profiler.pass(op, key));
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
    this.settle();
    this.#profiler = profiler;
    try {
      await run();
      this.settle();
    } finally {
      this.#profiler = null;
    }
    this.flush();
    const mark = this.pace.mark();
    const rows = await profiler.finish(this);
    this.pace.done(mark);
    return rows;
  }

  /** The encoder with no pass open, to record copies between dispatches. */
  copyEncoder(): GPUCommandEncoder {
    this.settle();
    return this.#encoderAfterPass();
  }

  #encoderAfterPass(): GPUCommandEncoder {
    this.#pass?.end();
    this.#pass = null;
    this.#passPipeline = null;
    return this.#openEncoder();
  }

  /** Copies whole words between two buffers, after all commands recorded so far. */
  copy(from: DeviceBuffer, at: number, to: DeviceBuffer, start: number, bytes: number): void {
    this.settle();
    const [source, target] = [gpuBuffer(from).block, gpuBuffer(to).block];
    this.#recording?.add({ from: source, at, to: target, start, length: bytes });
    this.#copy(source, at, target, start, bytes);
  }

  #copy(from: Block, at: number, to: Block, start: number, bytes: number): void {
    this.copyEncoder().copyBufferToBuffer(from.gpu, at, to.gpu, start, bytes);
    from.batch = to.batch = this.batch;
  }

  /**
   * Writes whole words to a block, after all commands recorded so far. `start` and the length are
   * multiples of 4 bytes.
   */
  upload(block: Block, start: number, bytes: Uint8Array<ArrayBuffer>): void {
    this.settle();
    this.#recording?.add({ to: block, start, bytes: bytes.slice() });
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
    this.settle();
    if (this.#encoder !== null) {
      const commands = this.copyEncoder().finish();
      const { queue } = this.device;
      this.#uniforms.upload(queue);
      this.#uploads.upload(queue);
      queue.submit([commands]);
      this.#encoder = null;
      this.#unsubmittedBytes = 0;
      this.#batchDispatches = 0;
      this.pace.submit(this.#batchWork);
      this.#batchWork = 0;
      this.#submits++;
      this.batch++;
    }
    this.pool.trim();
  }

  /**
   * Resolves at once where the GPU is at most about a second behind, and else when it has done all
   * that was submitted: to be awaited in loops, which could fill the queue with minutes of work.
   */
  async ready(): Promise<void> {
    this.faults.checkLost("ready");
    if (!this.pace.ahead) return;
    this.flush();
    const mark = this.pace.mark();
    await this.device.queue.onSubmittedWorkDone();
    this.pace.done(mark);
  }

  /** Destroys everything; later calls throw DeviceLostError. */
  dispose(): void {
    this.faults.lose("the device was disposed");
    this.#waiting = null;
    this.#encoder = null;
    this.#pass = null;
    this.#pipelines.clear();
    this.pool.dispose();
    this.#uniforms.gpu.destroy();
    this.#uploads.gpu.destroy();
    this.device.destroy();
  }
}
