/** Sine and cosine features of places and times, computed on the host. */
import { ShapeError } from "../tensor/mod.ts";

/**
 * Fixed position embedding of a square grid of tokens: rows of `size` features, row-major, half of
 * them for the column and half for the row of the token (the column first, as the original has it).
 * Computed in float64, as there, and rounded once.
 *
 * @param size Features a token; a multiple of 4.
 * @param side Tokens along an edge.
 * @param extraTokens Tokens in front of the grid (a class token, say), with zeros.
 * @returns [extraTokens + side * side, size], row-major.
 * @throws {ShapeError} where `size` is not a multiple of 4.
 */
export function sinCosPositions(
  size: number,
  side: number,
  extraTokens = 0,
): Float64Array<ArrayBuffer> {
  if (!Number.isInteger(size) || size < 4 || size % 4 !== 0) {
    throw new ShapeError(`sinCosPositions: expected a multiple of 4 features but got ${size}`);
  }
  const quarter = size / 4;
  const out = new Float64Array((extraTokens + side * side) * size);
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const at = (extraTokens + row * side + column) * size;
      for (let i = 0; i < quarter; i++) {
        const frequency = 1 / 10000 ** (i / quarter);
        out[at + i] = Math.sin(column * frequency);
        out[at + quarter + i] = Math.cos(column * frequency);
        out[at + 2 * quarter + i] = Math.sin(row * frequency);
        out[at + 3 * quarter + i] = Math.cos(row * frequency);
      }
    }
  }
  return out;
}

/**
 * Angles by which rotary embedding (arXiv 2104.09864) turns the pairs of a head, on a square grid of
 * tokens as LightningDiT has it (arXiv 2501.01423): the first half of the pairs by the row of the
 * token, the second by its column, with frequencies from 1 falling towards 1 / 10000. Each angle is
 * there twice, for the first and the second of its pair.
 *
 * @param headSize Features of a head; a multiple of 4.
 * @param side Tokens along an edge.
 * @param extraTokens Tokens in front of the grid, which are not turned.
 * @returns [extraTokens + side * side, headSize], row-major.
 * @throws {ShapeError} where `headSize` is not a multiple of 4.
 */
export function rotaryAngles(
  headSize: number,
  side: number,
  extraTokens = 0,
): Float64Array<ArrayBuffer> {
  if (!Number.isInteger(headSize) || headSize < 4 || headSize % 4 !== 0) {
    throw new ShapeError(`rotaryAngles: expected heads of a multiple of 4 but got ${headSize}`);
  }
  const half = headSize / 2;
  const out = new Float64Array((extraTokens + side * side) * headSize);
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const at = (extraTokens + row * side + column) * headSize;
      for (let i = 0; i < half; i++) {
        const frequency = 10000 ** (-2 * Math.floor(i / 2) / half);
        out[at + i] = row * frequency;
        out[at + half + i] = column * frequency;
      }
    }
  }
  return out;
}

/**
 * Frequencies of a timestep's features, falling from 1 towards 1 / maxPeriod:
 * exp(-ln(maxPeriod) i / half), rounded to float32 after each operation as PyTorch does it. A
 * frequency is multiplied with timesteps up to 1000, so that its last bit moves a feature by 6e-5.
 *
 * @param size Features; half of them (rounded down) are cosines, half sines.
 * @throws {RangeError} where the size is no whole number, or the period is not above 0.
 */
export function timestepFrequencies(size: number, maxPeriod = 10000): Float32Array<ArrayBuffer> {
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new RangeError(`timestepEmbedding: expected a whole number of features but got ${size}`);
  }
  if (!(maxPeriod > 0 && maxPeriod < Infinity)) {
    throw new RangeError(`timestepEmbedding: expected a period above 0 but got ${maxPeriod}`);
  }
  const { fround } = Math;
  const half = Math.floor(size / 2);
  const slope = fround(-Math.log(maxPeriod));
  return Float32Array.from({ length: half }, (_, i) => Math.exp(fround(fround(slope * i) / half)));
}
