/**
 * Pillow's resampling of 8-bit pictures (libImaging/Resample.c of 9.4), to the last bit: filters
 * are widened by the scale when a picture shrinks, weights are fixed-point numbers, and the
 * horizontal pass is rounded to bytes before the vertical one.
 */
import type { Picture } from "./picture.ts";

/** A resampling filter. */
interface Filter {
  /** Where its curve ends, on either side. */
  readonly support: number;
  readonly weight: (x: number) => number;
}

/** Filters by Pillow's names. Bicubic is Keys' with a = -0.5. */
const FILTERS = {
  box: { support: 0.5, weight: (x) => x > -0.5 && x <= 0.5 ? 1 : 0 },
  bicubic: {
    support: 2,
    weight: (signed) => {
      const [x, a] = [Math.abs(signed), -0.5];
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
      return 0;
    },
  },
} as const satisfies Record<string, Filter>;

/** Fraction bits of a weight: sums of bytes keep two bits of 32 for sign and overshoot. */
const PRECISION = 32 - 8 - 2;

/** Of each output pixel along one axis: the first input pixel, and the weights from there on. */
interface Weights {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  /** `[size, taps]` */
  readonly values: Int32Array;
  readonly taps: number;
}

function weightsFor(from: number, to: number, { support, weight }: Filter): Weights {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  const taps = Math.ceil(reach) * 2 + 1;
  const starts = new Int32Array(to);
  const counts = new Int32Array(to);
  const values = new Int32Array(to * taps);
  for (let i = 0; i < to; i++) {
    const center = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - reach + 0.5));
    const count = Math.min(from, Math.trunc(center + reach + 0.5)) - start;
    const curve = Array.from(
      { length: count },
      (_, x) => weight((x + start - center + 0.5) * (1 / stretch)),
    );
    const sum = curve.reduce((total, w) => total + w, 0);
    curve.forEach((w, x) => {
      const fixed = (sum === 0 ? w : w / sum) * 2 ** PRECISION;
      values[i * taps + x] = Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    });
    starts[i] = start;
    counts[i] = count;
  }
  return { starts, counts, values, taps };
}

/** A sum with `PRECISION` fraction bits, already half up, as a byte. */
function toByte(sum: number): number {
  const value = sum >> PRECISION;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

const HALF = 1 << (PRECISION - 1);

function horizontally(picture: Picture, width: number, filter: Filter): Picture {
  const { channels, height, pixels } = picture;
  const { starts, counts, values, taps } = weightsFor(picture.width, width, filter);
  const out = new Uint8Array(height * width * channels);
  // Three channels a turn, which share the weights' loads: twice as fast as one at a time.
  const step = channels % 3 === 0 ? 3 : 1;
  for (let y = 0; y < height; y++) {
    const line = y * picture.width * channels;
    for (let x = 0; x < width; x++) {
      const end = x * taps + counts[x]!;
      for (let c = 0; c < channels; c += step) {
        let from = line + starts[x]! * channels + c;
        const to = (y * width + x) * channels + c;
        let [sum0, sum1, sum2] = [HALF, HALF, HALF];
        if (step === 3) {
          for (let tap = x * taps; tap < end; tap++) {
            const weight = values[tap]!;
            sum0 = (sum0 + Math.imul(pixels[from]!, weight)) | 0;
            sum1 = (sum1 + Math.imul(pixels[from + 1]!, weight)) | 0;
            sum2 = (sum2 + Math.imul(pixels[from + 2]!, weight)) | 0;
            from += channels;
          }
          out[to] = toByte(sum0);
          out[to + 1] = toByte(sum1);
          out[to + 2] = toByte(sum2);
        } else {
          for (let tap = x * taps; tap < end; tap++) {
            sum0 = (sum0 + pixels[from]! * values[tap]!) | 0;
            from += channels;
          }
          out[to] = toByte(sum0);
        }
      }
    }
  }
  return { pixels: out, channels, height, width };
}

function vertically(picture: Picture, height: number, filter: Filter): Picture {
  const { channels, width, pixels } = picture;
  const { starts, counts, values, taps } = weightsFor(picture.height, height, filter);
  const row = width * channels;
  const out = new Uint8Array(height * row);
  const sums = new Int32Array(row);
  for (let y = 0; y < height; y++) {
    // Row by row, not column by column: memory is read in order.
    sums.fill(HALF);
    for (let k = 0; k < counts[y]!; k++) {
      const from = (starts[y]! + k) * row;
      const weight = values[y * taps + k]!;
      for (let i = 0; i < row; i++) sums[i] = (sums[i]! + Math.imul(pixels[from + i]!, weight)) | 0;
    }
    for (let i = 0; i < row; i++) out[y * row + i] = toByte(sums[i]!);
  }
  return { pixels: out, channels, height, width };
}

/**
 * A picture in another size: `Image.resize` of Pillow.
 *
 * @param filter "box" averages; "bicubic" is sharper.
 */
export function resize(
  picture: Picture,
  width: number,
  height: number,
  filter: keyof typeof FILTERS,
): Picture {
  const across = width === picture.width ? picture : horizontally(picture, width, FILTERS[filter]);
  return height === picture.height ? across : vertically(across, height, FILTERS[filter]);
}
