/** Small repeatable random numbers, for test inputs only. */
import { randomBits } from "../tensor/conformance/random_bits.ts";

/** A generator of numbers in [0, 1). */
export function numbers(seed: number): () => number {
  const bits = randomBits(seed);
  return () => bits() / 2 ** 32;
}
