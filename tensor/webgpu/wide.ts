/** Arrays wider than the GPU binds at once are worked on in parts. */
import { type View, viewBytes } from "../backend.ts";
import { gpuBuffer } from "./pool.ts";
import type { WebGpuRuntime } from "./runtime.ts";

/** Whether `view` spans more bytes than one binding may. */
export function tooWide(runtime: WebGpuRuntime, view: View): boolean {
  const most = runtime.maxBindingBytes;
  if (gpuBuffer(view.buffer).block.size <= most) return false;
  const { start, end } = viewBytes(view);
  // The window begins at a multiple of the alignment and ends at one of 16.
  return end - start + runtime.limits.minStorageBufferOffsetAlignment + 16 > most;
}

/** Elements [from, to) of `view` along `axis`. */
export function slice(view: View, axis: number, from: number, to: number): View {
  return {
    ...view,
    offset: view.offset + from * view.strides[axis]!,
    shape: view.shape.map((d, i) => (i === axis ? to - from : d)),
  };
}
