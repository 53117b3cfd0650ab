/** Sampling with fewer steps than a model was trained with: which timesteps to keep. */

/**
 * How many steps to take: `"250"` evenly spaced ones, `"10,15,20"` or `[10, 15, 20]` of three
 * equal sections of the process, or `"ddim50"` at an integer stride as in the DDIM paper.
 */
export type Respacing = string | readonly number[];

/** Nearest whole number, halves to the even one, as Python's `round`. */
function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  if (x - down !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
}

function parseCount(text: string, respacing: string): number {
  const count = /^\s*\d+\s*$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(count)) {
    throw new RangeError(
      `spaceTimesteps: expected "N", "a,b,c" or "ddimN" but got "${respacing}"`,
    );
  }
  return count;
}

function integerStride(numTimesteps: number, count: number): number[] {
  for (let stride = 1; stride < numTimesteps; stride++) {
    if (Math.ceil(numTimesteps / stride) === count) {
      return Array.from({ length: count }, (_, i) => i * stride);
    }
  }
  throw new RangeError(
    `spaceTimesteps: expected a number of steps that some integer stride through ` +
      `${numTimesteps} gives but got ${count}`,
  );
}

/**
 * The timesteps of `numTimesteps` to keep, in ascending order.
 *
 * @throws {RangeError} where a section has fewer steps than are asked of it, or no integer stride
 * gives the number after `ddim`.
 */
export function spaceTimesteps(numTimesteps: number, respacing: Respacing): number[] {
  if (typeof respacing === "string" && respacing.startsWith("ddim")) {
    return integerStride(numTimesteps, parseCount(respacing.slice(4), respacing));
  }
  const counts = typeof respacing === "string"
    ? respacing.split(",").map((text) => parseCount(text, respacing))
    : respacing;
  const size = Math.floor(numTimesteps / counts.length);
  const extra = numTimesteps % counts.length;
  const kept = new Set<number>();
  let start = 0;
  for (const [i, count] of counts.entries()) {
    const length = size + (i < extra ? 1 : 0);
    if (!Number.isInteger(count) || count < 0 || count > length) {
      throw new RangeError(
        `spaceTimesteps: expected at most ${length} steps of section ${i} but got ${count}`,
      );
    }
    const stride = count <= 1 ? 1 : (length - 1) / (count - 1);
    let at = 0; // added up rather than multiplied: the original rounds the running sum
    for (let taken = 0; taken < count; taken++) {
      kept.add(start + roundHalfEven(at));
      at += stride;
    }
    start += length;
  }
  if (kept.size === 0) {
    throw new RangeError(`spaceTimesteps: expected 1 or more steps but got "${respacing}"`);
  }
  return [...kept].sort((a, b) => a - b);
}

/**
 * Betas of the process that visits only `timesteps` (ascending) of one with these running products
 * of 1 - beta: its own running products are the same at the steps it keeps.
 */
export function respacedBetas(
  alphasCumprod: ArrayLike<number>,
  timesteps: readonly number[],
): Float64Array {
  let last = 1;
  return Float64Array.from(timesteps, (t) => {
    const beta = 1 - alphasCumprod[t]! / last;
    last = alphasCumprod[t]!;
    return beta;
  });
}
