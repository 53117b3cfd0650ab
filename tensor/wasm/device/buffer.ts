/** What tensors lie in on the WebAssembly device. */
import type { DeviceBuffer } from "../../view.ts";
import type { Arena } from "./arena.ts";

/** A block of the device's memory. */
export class WasmBuffer implements DeviceBuffer {
  /**
   * @param address of its first byte; NaN once it is freed
   * @param arena what it lies in, unless anywhere
   */
  constructor(
    readonly bytes: number,
    public address: number,
    readonly arena: Arena | null = null,
  ) {}
}
