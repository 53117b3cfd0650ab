/** Work without a purpose, before what is timed. */
import { type Launch, RawGpu } from "./raw.ts";

/** So many multiplications a launch that each takes a large card about a millisecond. */
const CODE = `
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) at: vec3u) {
  var x = vec4f(f32(at.x), 1.0, 2.0, 3.0);
  for (var i = 0u; i < 4096u; i++) { x = fma(x, vec4f(0.999), vec4f(0.001)); }
  if (x.x + x.y + x.z + x.w < -1.0) { out[0] = x.x; }
}`;
const WORKGROUPS = 4096;

/** How long the clock may take to rise. */
const SECONDS = 4;

/**
 * Keeps a GPU's clock up. A GPU that waits lowers it, and takes seconds of work to raise it again:
 * on an H200 whose shaders were compiled between short launches, to a sixth.
 */
export class Warmer {
  /** Of a launch, at the clock that was seen last. */
  #milliseconds = 100;

  private constructor(readonly gpu: RawGpu, readonly launch: Launch) {}

  /** Works until the clock is up. */
  static async of(device: GPUDevice): Promise<Warmer> {
    const gpu = new RawGpu(device);
    const warmer = new Warmer(gpu, gpu.launch(CODE, [gpu.buffer(256)], WORKGROUPS));
    await warmer.warm(SECONDS);
    return warmer;
  }

  /** Works for so long, and waits for it. */
  async warm(seconds: number): Promise<void> {
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
      this.#milliseconds = await this.gpu.milliseconds(this.launch, this.#timesOf(100));
    }
  }

  /** Hands over work for so long, and waits for nothing: what is submitted next follows it. */
  keep(milliseconds: number): void {
    this.gpu.submit(this.launch, this.#timesOf(milliseconds));
  }

  #timesOf(milliseconds: number): number {
    return Math.max(1, Math.min(5000, Math.round(milliseconds / this.#milliseconds)));
  }
}
