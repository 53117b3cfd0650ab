/** Kernels without the engine: what shaders of other kinds than its own would reach. */
export { fillUniform } from "../../tensor/webgpu/tune/arrays.ts";

/** A kernel with its buffers, ready to be launched. */
export interface Launch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly workgroups: number;
}

/** Buffers, shaders and times of one device. */
export class RawGpu {
  readonly #clock: { readonly set: GPUQuerySet; readonly out: GPUBuffer } | null;
  #fault: string | null = null;

  constructor(readonly device: GPUDevice) {
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#fault ??= (event as GPUUncapturedErrorEvent).error.message.slice(0, 300);
    });
    this.#clock = device.features.has("timestamp-query")
      ? {
        set: device.createQuerySet({ type: "timestamp", count: 2 }),
        out: this.buffer(16, GPUBufferUsage.QUERY_RESOLVE),
      }
      : null;
  }

  /** A buffer of so many bytes. */
  buffer(size: number, usage: GPUBufferUsageFlags = GPUBufferUsage.STORAGE): GPUBuffer {
    const copied = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    return this.device.createBuffer({ size, usage: usage | copied });
  }

  /** A buffer that holds `data`. */
  upload(data: ArrayBufferView<ArrayBuffer>, usage?: GPUBufferUsageFlags): GPUBuffer {
    const buffer = this.buffer(data.byteLength, usage);
    // As bytes: Dawn takes no arrays of half precision.
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.device.queue.writeBuffer(buffer, 0, bytes);
    return buffer;
  }

  /** Sets a buffer to 0, so that what a launch leaves out is seen. */
  clear(buffer: GPUBuffer): void {
    this.#submit((encoder) => encoder.clearBuffer(buffer));
  }

  /** What a buffer holds, or `size` bytes of it from `start` on. */
  async read(buffer: GPUBuffer, start = 0, size = buffer.size): Promise<ArrayBuffer> {
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const staging = this.device.createBuffer({ size, usage });
    this.#submit((encoder) => encoder.copyBufferToBuffer(buffer, start, staging, 0, size));
    await staging.mapAsync(GPUMapMode.READ);
    const bytes = staging.getMappedRange().slice(0);
    staging.destroy();
    return bytes;
  }

  /** Compiles a shader with the entry point `main` for `buffers`, bound in their order. */
  launch(code: string, buffers: readonly GPUBuffer[], workgroups: number): Launch {
    const module = this.device.createShaderModule({ code });
    const pipeline = this.device.createComputePipeline({
      layout: "auto",
      compute: { module, entryPoint: "main" },
    });
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const layout = pipeline.getBindGroupLayout(0);
    return { pipeline, group: this.device.createBindGroup({ layout, entries }), workgroups };
  }

  /** Milliseconds that one of `times` launches in a row takes the GPU. */
  async milliseconds({ pipeline, group, workgroups }: Launch, times: number): Promise<number> {
    const clock = this.#clock;
    const start = performance.now();
    this.#submit((encoder) => {
      const pass = encoder.beginComputePass(
        clock === null ? {} : {
          timestampWrites: {
            querySet: clock.set,
            beginningOfPassWriteIndex: 0,
            endOfPassWriteIndex: 1,
          },
        },
      );
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < times; i++) pass.dispatchWorkgroups(workgroups);
      pass.end();
      if (clock !== null) encoder.resolveQuerySet(clock.set, 0, 2, clock.out, 0);
    });
    if (clock === null) {
      await this.device.queue.onSubmittedWorkDone();
      return (performance.now() - start) / times;
    }
    const [from, to] = new BigUint64Array(await this.read(clock.out));
    return Number(to! - from!) / 1e6 / times;
  }

  /** Throws the first error that the device has told of since the last time. */
  check(): void {
    const fault = this.#fault;
    this.#fault = null;
    if (fault !== null) throw new Error(fault);
  }

  #submit(record: (encoder: GPUCommandEncoder) => void): void {
    const encoder = this.device.createCommandEncoder();
    record(encoder);
    this.device.queue.submit([encoder.finish()]);
  }
}

/**
 * The largest error of some elements of a product, in units of the square root of K.
 *
 * @param want Element [i, j] in float64.
 */
export function productError(
  got: ArrayLike<number>,
  [m, n, k]: readonly [number, number, number],
  want: (i: number, j: number) => number,
): number {
  let worst = 0;
  for (let sample = 0; sample < 200; sample++) {
    const [i, j] = [(sample * 7919) % m, (sample * 104729) % n];
    const error = Math.abs(want(i, j) - got[i * n + j]!);
    worst = Number.isNaN(error) ? Infinity : Math.max(worst, error);
  }
  return worst / Math.sqrt(k);
}
