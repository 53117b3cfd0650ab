/** What it takes to bring arrays from the GPU to the host and back, as gradients of many ranks go. */
import { empty, scope } from "@dit/core/tensor";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import type { Device } from "@dit/core";
import type { Row } from "../measure.ts";
import { median } from "./clock.ts";

/** Megabytes of an array; the buffers for it come from the pool, or are made where it keeps none. */
const SIZES = [1, 4, 16, 64, 256];

/** Copies that are timed of each size, after one that is not. */
const TIMES = 5;

/** Times copies of each size, one at a time, while the GPU does nothing else. */
export async function copies(device: Device, tiny: boolean): Promise<Row[]> {
  const backend = device.backend as WebGpuBackend;
  const rows: Row[] = [];
  for (const megabytes of tiny ? [0.25] : SIZES) {
    using _ = scope("bench");
    const elements = megabytes * 2 ** 18;
    const array = empty(device, "f32", [elements], "bench");
    const host = new Float32Array(elements).fill(1);
    const [reads, writes]: [number[], number[]] = [[], []];
    for (let i = 0; i <= TIMES; i++) {
      let start = performance.now();
      backend.write(array.storage.buffer, 0, host);
      await backend.sync();
      const written = performance.now() - start;
      start = performance.now();
      await backend.sync();
      writes.push(Math.max(0, written - (performance.now() - start)));
      start = performance.now();
      await array.data();
      reads.push(performance.now() - start);
    }
    rows.push({
      "MB": megabytes,
      "ms to the host": median(reads.slice(1)),
      "ms from the host": median(writes.slice(1)),
    });
  }
  return rows;
}
