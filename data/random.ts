/**
 * The random numbers of data: each purpose has its own sequences of the run's seed, one an epoch,
 * so that none of them moves when another is drawn from.
 */
import { Generator, philox } from "@dit/core/tensor";

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

/**
 * Standard normal numbers of one example, from its own part of a sequence: four a Philox block, by
 * Box-Muller as the devices' `randn` does it.
 *
 * @param out Filled whole.
 * @param generator The sequence.
 * @param position The example's number in it.
 */
export function normals(out: Float32Array, generator: Generator, position: number): void {
  const blocks = Math.ceil(out.length / 4);
  generator.seek(position * blocks);
  const [k0, k1, low, high, stream] = generator.claim(blocks);
  for (let block = 0; block < blocks; block++) {
    const at = low! + block;
    const carry = at >= 2 ** 32 ? 1 : 0;
    const words = philox([at >>> 0, high! + carry, stream!, 0], [k0!, k1!]);
    for (let pair = 0; pair < 2; pair++) {
      const i = 4 * block + 2 * pair;
      const radius = Math.sqrt(-2 * Math.log(((words[2 * pair]! >>> 8) + 1) * 2 ** -24));
      const angle = 2 * Math.PI * (words[2 * pair + 1]! >>> 8) * 2 ** -24;
      // What is past the end of `out` is lost.
      out[i] = radius * Math.cos(angle);
      out[i + 1] = radius * Math.sin(angle);
    }
  }
}
