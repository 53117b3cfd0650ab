/** Memory for what one kernel leaves for the next within an op. */
import type { View } from "../../view.ts";
import { DTYPE_BYTES } from "../../dtype.ts";
import { contiguousStrides, type Shape, sizeOf } from "../../shape.ts";
import type { WebGpuRuntime } from "./runtime.ts";

/**
 * Calls `body` with uninitialised f32 arrays of these shapes and takes them back: commands run in
 * the order they are recorded, so later ops may have the memory as soon as `body` has returned.
 */
export function withScratch(
  runtime: WebGpuRuntime,
  op: string,
  shapes: readonly Shape[],
  body: (...views: View[]) => void,
): void {
  const views: View[] = [];
  try {
    for (const shape of shapes) {
      const buffer = runtime.alloc(sizeOf(shape) * DTYPE_BYTES.f32, op);
      views.push({ buffer, dtype: "f32", offset: 0, shape, strides: contiguousStrides(shape) });
    }
    body(...views);
  } finally {
    for (const view of views) runtime.free(view.buffer);
  }
}
