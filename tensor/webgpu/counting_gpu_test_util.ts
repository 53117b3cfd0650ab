/**
 * A GPU that computes nothing and has no memory, and counts what it is asked for: the whole
 * backend runs on it unchanged, at any size, in the time that the host takes.
 */

/** What was asked of it. */
export interface GpuCounts {
  /** Launches. */
  dispatches: number;
  /** Batches of commands. */
  submits: number;
  /** Compute passes. */
  passes: number;
  /** Bind groups made. */
  bindGroups: number;
  /** Shaders compiled. */
  pipelines: number;
  /** Buffers made. */
  buffers: number;
  /** Copies between buffers. */
  copies: number;
  /** Writes from the host. */
  writes: number;
  /** Bytes of those writes. */
  writtenBytes: number;
  /** Waits for results. */
  waits: number;
}

/** What it offers unless told otherwise: as much as a large GPU. */
const LIMITS: Readonly<Record<string, number>> = {
  maxBufferSize: 2 ** 40,
  maxStorageBufferBindingSize: 2 ** 31 - 1,
  maxStorageBuffersPerShaderStage: 32,
  maxComputeWorkgroupsPerDimension: 65535,
  maxComputeWorkgroupStorageSize: 49152,
  maxComputeInvocationsPerWorkgroup: 1024,
  minUniformBufferOffsetAlignment: 64,
  minStorageBufferOffsetAlignment: 32,
};

/** A GPU as `init({ gpu })` takes it. */
export class CountingGpu implements Pick<GPU, "requestAdapter"> {
  readonly counts: GpuCounts = noCounts();
  readonly device: GPUDevice;
  readonly #adapter: GPUAdapter;

  /** @param limits Those that are not as usual. */
  constructor(limits: Readonly<Record<string, number>> = {}) {
    const offered = { limits: { ...LIMITS, ...limits }, features: new Set(["shader-f16"]) };
    this.device = { ...offered, ...deviceThatCounts(this.counts) } as unknown as GPUDevice;
    this.#adapter = {
      ...offered,
      info: { description: "a GPU that only counts" },
      requestDevice: () => Promise.resolve(this.device),
    } as unknown as GPUAdapter;
  }

  requestAdapter(): Promise<GPUAdapter> {
    return Promise.resolve(this.#adapter);
  }

  /** Counts from here on. */
  reset(): void {
    Object.assign(this.counts, noCounts());
  }
}

function noCounts(): GpuCounts {
  return {
    dispatches: 0,
    submits: 0,
    passes: 0,
    bindGroups: 0,
    pipelines: 0,
    buffers: 0,
    copies: 0,
    writes: 0,
    writtenBytes: 0,
    waits: 0,
  };
}

/** The part of a GPUDevice that the backend uses, profiling apart. */
function deviceThatCounts(counts: GpuCounts): object {
  const nothing = () => {};
  const pass = {
    setPipeline: nothing,
    setBindGroup: nothing,
    dispatchWorkgroups: () => void counts.dispatches++,
    end: nothing,
  };
  const encoder = {
    beginComputePass() {
      counts.passes++;
      return pass;
    },
    copyBufferToBuffer: () => void counts.copies++,
    clearBuffer: nothing,
    finish: () => ({}),
  };
  return {
    lost: new Promise(nothing),
    addEventListener: nothing,
    removeEventListener: nothing,
    pushErrorScope: nothing,
    popErrorScope: () => Promise.resolve(null),
    createBuffer({ size }: GPUBufferDescriptor) {
      counts.buffers++;
      return {
        size,
        mapAsync: () => Promise.resolve(void counts.waits++),
        getMappedRange: () => new ArrayBuffer(size),
        unmap: nothing,
        destroy: nothing,
      };
    },
    createShaderModule: () => ({}),
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    createComputePipeline() {
      counts.pipelines++;
      return {};
    },
    createBindGroup() {
      counts.bindGroups++;
      return {};
    },
    createCommandEncoder: () => encoder,
    destroy: nothing,
    queue: {
      submit: () => void counts.submits++,
      onSubmittedWorkDone: () => Promise.resolve(void counts.waits++),
      writeBuffer(
        _buffer: GPUBuffer,
        _at: number,
        data: Uint8Array,
        _from?: number,
        length: number = data.byteLength,
      ) {
        counts.writes++;
        counts.writtenBytes += length;
      },
    },
  };
}
