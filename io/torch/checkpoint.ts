import type { TensorRef, TorchStorage, TorchValue } from "./values.ts";

/** What both container formats of PyTorch come down to. */
export interface Checkpoint {
  readonly value: TorchValue<TensorRef>;
  /** Fills `target` with the bytes of a storage from `start` on, checked as far as possible. */
  readInto(storage: TorchStorage, target: Uint8Array, start: number): Promise<void>;
}

/** Far above any real model's, which takes kilobytes. */
export const MAX_PICKLE_BYTES = 16 * 2 ** 20;
