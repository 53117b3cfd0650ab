/** Which samples there are, what class each has, and who makes it. */
import { Generator } from "@dit/core/tensor";

/** The stream that classes are drawn from; those of samples are counted from 0. */
const LABEL_STREAM = 0xffffffff;

/**
 * The class of a sample, which depends on nothing but the seed and its number.
 *
 * @param balanced By turns, so that every class is equally often; otherwise any, as likely as others.
 */
export function labelOf(
  number: number,
  { seed, numClasses, balanced }: { seed: number; numClasses: number; balanced: boolean },
): number {
  if (balanced) return number % numClasses;
  const generator = new Generator(seed, LABEL_STREAM);
  generator.seek(number);
  return generator.nextBelow(numClasses);
}

/** How samples are computed. */
export interface Division {
  /** Samples at a time, of each rank. */
  readonly batch: number;
  /**
   * Samples that are always computed together, by their number, so that the shapes of the
   * computation never change; null where no bit depends on what else is computed.
   */
  readonly group: number | null;
  /** How many ranks share the work. */
  readonly ranks: number;
}

/** Samples that are computed together. */
export interface Unit {
  /** All of them. */
  readonly numbers: readonly number[];
  /** Those that are missing, and are kept. */
  readonly missing: readonly number[];
}

/**
 * Divides samples that are missing into units of work: unit u is for rank u % ranks.
 *
 * @param isThere By number.
 */
export function planUnits(
  isThere: readonly boolean[],
  { batch, group, ranks }: Division,
): Unit[] {
  const missing = [...isThere.keys()].filter((number) => !isThere[number]);
  if (group === null) {
    const size = Math.max(1, Math.min(batch, Math.ceil(missing.length / ranks)));
    return Array.from({ length: Math.ceil(missing.length / size) }, (_, i) => {
      const numbers = missing.slice(i * size, (i + 1) * size);
      return { numbers, missing: numbers };
    });
  }
  const units = Map.groupBy(missing, (number) => Math.floor(number / group));
  return Array.from(units, ([index, kept]) => ({
    numbers: Array.from({ length: group }, (_, i) => index * group + i),
    missing: kept,
  }));
}

/** Flags as bits, to be told to other ranks. */
export function toBits(flags: readonly boolean[]): Uint8Array {
  const bits = new Uint8Array(Math.ceil(flags.length / 8));
  flags.forEach((flag, i) => flag && (bits[i >> 3]! |= 1 << (i & 7)));
  return bits;
}

/** The first `count` flags of bits. */
export function fromBits(bits: Uint8Array, count: number): boolean[] {
  return Array.from({ length: count }, (_, i) => (bits[i >> 3]! >> (i & 7) & 1) === 1);
}
