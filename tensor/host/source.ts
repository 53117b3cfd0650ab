/** Named tensors that are read one at a time, wherever they are. */
import type { HostTensor, TensorInfo } from "./host_tensor.ts";

/**
 * A map of tensors whose values stay where they are until they are asked for: a weight file, a
 * file seen under other names, or a plain map. Loading a model through it holds one tensor at a
 * time.
 */
export interface TensorSource {
  /** For messages: the file the tensors come from. */
  readonly name: string;
  /** Names of all tensors, in the order of the file. */
  keys(): string[];
  /** Whether there is a tensor of that name. */
  has(key: string): boolean;
  /**
   * Element type and shape.
   *
   * @throws If there is no such tensor.
   */
  info(key: string): TensorInfo;
  /**
   * The whole tensor, in memory of its own.
   *
   * @throws If there is no such tensor, or its bytes are damaged.
   */
  read(key: string): Promise<HostTensor>;
  /**
   * Fills `target` with the tensor's bytes (row-major, little-endian) from byte `start` on, so that
   * a tensor can go straight into memory that exists already, in pieces where it is large.
   */
  readInto(key: string, target: Uint8Array, start?: number): Promise<void>;
}
