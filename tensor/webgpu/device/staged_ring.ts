/**
 * Bytes for the commands of one batch. They are gathered on the host and reach the GPU in one
 * write just before the batch is submitted: writes overtake commands that are only recorded.
 */
export class StagedRing {
  readonly gpu: GPUBuffer;
  readonly u32: Uint32Array<ArrayBuffer>;
  readonly i32: Int32Array<ArrayBuffer>;
  readonly f32: Float32Array<ArrayBuffer>;
  readonly u8: Uint8Array<ArrayBuffer>;
  #used = 0;

  constructor(
    device: GPUDevice,
    label: string,
    readonly bytes: number,
    usage: GPUBufferUsageFlags,
    /** Of every piece, a multiple of 4. */
    readonly align: number,
  ) {
    this.gpu = device.createBuffer({ label, size: bytes, usage: usage | GPUBufferUsage.COPY_DST });
    const host = new ArrayBuffer(bytes);
    this.u32 = new Uint32Array(host);
    this.i32 = new Int32Array(host);
    this.f32 = new Float32Array(host);
    this.u8 = new Uint8Array(host);
  }

  /** Whether `bytes` more fit into this batch. */
  fits(bytes: number): boolean {
    return this.#used + bytes <= this.bytes;
  }

  /** Start of `bytes` fresh bytes; they must fit. */
  take(bytes: number): number {
    const at = this.#used;
    this.#used = Math.ceil((at + bytes) / this.align) * this.align;
    return at;
  }

  /** Sends what was gathered and starts afresh. */
  upload(queue: GPUQueue): void {
    if (this.#used === 0) return;
    queue.writeBuffer(this.gpu, 0, this.u8, 0, Math.min(this.#used, this.bytes));
    this.#used = 0;
  }
}
