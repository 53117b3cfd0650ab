import type { TensorRef, TorchStorage, TorchValue } from "./values.ts";

/** What both container formats of PyTorch come down to. */
export interface Checkpoint {
  readonly value: TorchValue<TensorRef>;
  /** Fills `target` with the bytes of a storage from `start` on, checked as far as possible. */
  readInto(storage: TorchStorage, target: Uint8Array, start: number): Promise<void>;
}

/** A model's takes kilobytes; NumPy arrays beside it, such as histories of losses, are inside the pickle. */
export const MAX_PICKLE_BYTES = 128 * 2 ** 20;
