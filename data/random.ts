/**
 * The random numbers of data: each purpose has its own sequences of the run's seed, one an epoch,
 * so that none of them moves when another is drawn from.
 */
import { Generator } from "@dit/core/tensor";

/** What numbers are drawn for. Changing a number changes every run. */
const PURPOSES = { order: 0x0da7a001, flip: 0x0da7a002, latent: 0x0da7a003 } as const;

/** The sequence of one purpose in one epoch. */
export function sequence(
  seed: bigint,
  purpose: keyof typeof PURPOSES,
  epoch: number,
): Generator {
  // The model's own draws use the seed as it is; this is far from any that a person chooses.
  return new Generator(seed ^ (BigInt(PURPOSES[purpose]) << 32n), epoch);
}
