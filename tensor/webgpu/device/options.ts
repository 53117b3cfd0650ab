import type { GpuTraits } from "./traits.ts";

/** Where adapters come from: WebGPU's `GPU`, whoever implements it. */
export type GpuProvider = Pick<GPU, "requestAdapter">;

/** Settings of the WebGPU device. */
export interface WebGpuOptions {
  /**
   * How kernels read f16: "native" needs an adapter with shader-f16 and is the default there;
   * "packed" works on any, unpacking pairs from 32-bit words.
   */
  half?: "native" | "packed";
  /** Which GPU of several; "high-performance" unless given. */
  powerPreference?: "high-performance" | "low-power";
  /**
   * Bytes of freed buffers kept for reuse; as many as were ever in use at once if that is more.
   * 256 MiB unless given.
   */
  freeBytesCap?: number;
  /**
   * Limits and features to open the GPU with: all that the adapter has ("adapter", unless given),
   * or those alone that every WebGPU implementation has ("default"), to test on a large GPU what
   * runs on the smallest.
   */
  limits?: "adapter" | "default";
  /** Seconds of work, as estimated, to hand over at once; small ones test how launches are cut. */
  submitSeconds?: number;
  /** Bind less of a buffer at once than the GPU could, to test work in parts on small arrays. */
  maxBindingBytes?: number;
  /**
   * Whether work that comes again and again, such as a model's, is recorded and replayed; true. The
   * results are the same, bit for bit; it takes the host less time, and memory that stays set aside.
   */
  replay?: boolean;
  /**
   * Whether launches of products, and of attention's gradients, that do not depend on each other share
   * a grid; true. The results are the same, bit for bit.
   */
  join?: boolean;
  /** What kernels are planned by, where it is not to be what is known of the adapter. */
  traits?: Partial<GpuTraits>;
}
