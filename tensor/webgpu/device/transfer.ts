/** Copies between host arrays and GPU buffers. */
import type { DeviceBuffer } from "../../view.ts";
import { type DType, DTYPE_BYTES, type HostArray, hostArrayOf } from "../../dtype.ts";
import { DeviceError } from "../../errors.ts";
import type { IndexChecks } from "./index_checks.ts";
import { gpuBuffer } from "./pool.ts";
import type { WebGpuRuntime } from "./runtime.ts";

/** Read-back buffers for more data are not kept: they are rare, and memory is not. */
const KEPT_BYTES = 1 << 24;
/** Bytes before the data, for the record of index checks. */
const RECORD_BYTES = 16;

export class Transfers {
  /** Idle read-back buffers, by size. */
  readonly #idle = new Map<number, GPUBuffer[]>();

  constructor(readonly runtime: WebGpuRuntime, readonly checks: IndexChecks) {}

  /** Copies `data` to the bytes from element `offset` on, after all work so far. */
  write(buffer: DeviceBuffer, offset: number, data: HostArray): void {
    this.runtime.faults.checkLost("write");
    const start = offset * data.BYTES_PER_ELEMENT;
    const end = start + data.byteLength;
    checkRange("write", buffer, start, end);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    // GPUs copy whole words; what is left at the ends is merged into its word by a kernel.
    const wordsFrom = Math.ceil(start / 4) * 4;
    const wordsTo = Math.floor(end / 4) * 4;
    if (wordsTo > wordsFrom) {
      const words = bytes.subarray(wordsFrom - start, wordsTo - start);
      this.runtime.upload(gpuBuffer(buffer).block, wordsFrom, words);
    }
    if (start < wordsFrom) this.#patch(buffer, bytes, start, start, Math.min(end, wordsFrom));
    if (end > wordsTo && wordsTo >= wordsFrom) this.#patch(buffer, bytes, start, wordsTo, end);
  }

  /** Sets the bytes [from, to), all in one word; `bytes` holds those from `start` on. */
  #patch(buffer: DeviceBuffer, bytes: Uint8Array, start: number, from: number, to: number): void {
    let mask = 0;
    let value = 0;
    for (let i = from; i < to; i++) {
      mask |= 0xff << (i % 4 * 8);
      value |= bytes[i - start]! << (i % 4 * 8);
    }
    const word = Math.floor(from / 4);
    const view = { buffer, dtype: "u32", offset: word, shape: [1], strides: [1] } as const;
    this.runtime.dispatch({
      op: "write",
      key: "write.patch",
      source: () =>
        "@compute @workgroup_size(1) fn main() {\n" +
        "  word_store(0u, (word_load(0u) & ~params.mask) | params.value);\n}\n",
      views: [{ name: "word", view, access: "readwrite" }],
      u32: { mask, value },
      workgroups: 1,
    });
  }

  /** Waits for all work so far and copies out `length` elements from `offset` on. */
  async read(
    buffer: DeviceBuffer,
    dtype: DType,
    offset: number,
    length: number,
  ): Promise<HostArray> {
    const start = offset * DTYPE_BYTES[dtype];
    const end = start + length * DTYPE_BYTES[dtype];
    checkRange("read", buffer, start, end);
    const bytes = new Uint8Array(end - start);
    await this.#readBack("read", buffer, start, end, bytes);
    return hostArrayOf(dtype, bytes);
  }

  /** Waits until the GPU is idle. */
  async sync(): Promise<void> {
    await this.#readBack("sync", null, 0, 0, new Uint8Array(0));
  }

  async #readBack(
    op: string,
    buffer: DeviceBuffer | null,
    start: number,
    end: number,
    into: Uint8Array,
  ): Promise<void> {
    const { runtime } = this;
    runtime.faults.checkLost(op);
    runtime.spoilRecording();
    const from = Math.floor(start / 4) * 4;
    const to = Math.ceil(end / 4) * 4;
    const staging = this.#staging(to - from);
    const encoder = runtime.copyEncoder();
    this.checks.copyRecord(encoder, staging);
    if (buffer !== null && to > from) {
      const { block } = gpuBuffer(buffer);
      encoder.copyBufferToBuffer(block.gpu, from, staging, RECORD_BYTES, to - from);
    }
    runtime.flush();
    const mark = runtime.pace.mark();
    try {
      await staging.mapAsync(GPUMapMode.READ);
    } catch (cause) {
      staging.destroy();
      runtime.faults.report(op);
      throw new DeviceError(`${op}: the GPU could not be read`, { cause });
    }
    runtime.pace.done(mark);
    const mapped = new Uint8Array(staging.getMappedRange());
    into.set(mapped.subarray(RECORD_BYTES + start - from, RECORD_BYTES + end - from));
    const record = new Uint32Array(mapped.slice(0, RECORD_BYTES).buffer);
    staging.unmap();
    this.#keep(staging);
    runtime.faults.report(op);
    this.checks.examine(record);
  }

  /** A read-back buffer for so much data and the record before it. */
  #staging(bytes: number): GPUBuffer {
    const fitted = bytes > KEPT_BYTES ? bytes : Math.max(256, 2 ** Math.ceil(Math.log2(bytes)));
    const size = RECORD_BYTES + fitted;
    return this.#idle.get(size)?.pop() ?? this.runtime.device.createBuffer({
      label: "read-back",
      size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
  }

  #keep(staging: GPUBuffer): void {
    if (staging.size > RECORD_BYTES + KEPT_BYTES) return staging.destroy();
    const list = this.#idle.get(staging.size);
    if (list) list.push(staging);
    else this.#idle.set(staging.size, [staging]);
  }

  dispose(): void {
    for (const list of this.#idle.values()) for (const staging of list) staging.destroy();
    this.#idle.clear();
  }
}

function checkRange(op: string, buffer: DeviceBuffer, start: number, end: number): void {
  if (start >= 0 && end <= buffer.bytes) return;
  throw new RangeError(
    `${op}: expected bytes within the ${buffer.bytes} of the buffer but got [${start}, ${end})`,
  );
}
