/**
 * Pillow's resampling of 8-bit images (libImaging/Resample.c of 9.4), to the last bit: filters
 * are widened by the scale when an image shrinks, weights are fixed-point numbers, and the
 * horizontal pass is rounded to bytes before the vertical one.
 */
import type { ByteImage } from "./byte_image.ts";

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

/** What is wanted along one axis. */
interface Axis {
  /** Pixels of the whole output. */
  readonly to: number;
  /** The first of them that is kept. */
  readonly begin: number;
  /** The one after the last that is kept. */
  readonly end: number;
}

/** Of each output pixel along one axis: the first input pixel, and the weights from there on. */
interface Weights {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  /** `[size, taps]` */
  readonly values: Int32Array;
  readonly taps: number;
}

/** The weights of output pixels `begin` to `end` - 1 of `to`, from `from` input pixels. */
function weightsFor(from: number, { to, begin, end }: Axis, filter: Filter): Weights {
  const { support, weight } = filter;
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  const taps = Math.ceil(reach) * 2 + 1;
  const size = end - begin;
  const starts = new Int32Array(size);
  const counts = new Int32Array(size);
  const values = new Int32Array(size * taps);
  for (let i = 0; i < size; i++) {
    const center = (begin + i + 0.5) * scale;
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

/** The rows `top` to `bottom` - 1 of an image in another width. */
function horizontally(
  image: ByteImage,
  { starts, counts, values, taps }: Weights,
  top: number,
  bottom: number,
): ByteImage {
  const { channels, pixels } = image;
  const [width, height] = [starts.length, bottom - top];
  const out = new Uint8Array(height * width * channels);
  // Three channels a turn, which share the weights' loads: twice as fast as one at a time.
  const step = channels % 3 === 0 ? 3 : 1;
  for (let y = 0; y < height; y++) {
    const line = (top + y) * image.width * channels;
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

/** An image in another height, whose first row is row `top` of the one that the weights are for. */
function vertically(
  image: ByteImage,
  { starts, counts, values, taps }: Weights,
  top: number,
): ByteImage {
  const { channels, width, pixels } = image;
  const height = starts.length;
  const row = width * channels;
  const out = new Uint8Array(height * row);
  const sums = new Int32Array(row);
  for (let y = 0; y < height; y++) {
    // Row by row, not column by column: memory is read in order.
    sums.fill(HALF);
    for (let k = 0; k < counts[y]!; k++) {
      const from = (starts[y]! - top + k) * row;
      const weight = values[y * taps + k]!;
      for (let i = 0; i < row; i++) sums[i] = (sums[i]! + Math.imul(pixels[from + i]!, weight)) | 0;
    }
    for (let i = 0; i < row; i++) out[y * row + i] = toByte(sums[i]!);
  }
  return { pixels: out, channels, height, width };
}

/** A part of an image. */
export interface Crop {
  /** Its first column. */
  readonly left: number;
  /** Its first row. */
  readonly top: number;
  /** Its columns. */
  readonly width: number;
  /** Its rows. */
  readonly height: number;
}

/**
 * An image in another size, or a part of that: `Image.resize` of Pillow, and then `crop`. Only what
 * is kept is computed, so that time and memory depend on it and on the image given alone: a line
 * of 60,000 pixels that is brought to a height of 256 would have 15 million columns.
 *
 * @param filter "box" averages; "bicubic" is sharper.
 * @param crop What is kept of the new size, all by default.
 */
export function resize(
  image: ByteImage,
  width: number,
  height: number,
  filter: keyof typeof FILTERS,
  crop?: Crop,
): ByteImage {
  if (filter === "box" && crop === undefined && isHalf(image, width, height)) return halve(image);
  const { left, top, ...kept } = crop ?? { left: 0, top: 0, width, height };
  const across = { to: width, begin: left, end: left + kept.width };
  const down = { to: height, begin: top, end: top + kept.height };
  const keepsHeight = height === image.height;
  const rows = keepsHeight ? undefined : weightsFor(image.height, down, FILTERS[filter]);
  // Input rows that any kept output row is made of: both ends grow with the output row.
  const first = rows ? rows.starts[0]! : top;
  const last = rows ? rows.starts.at(-1)! + rows.counts.at(-1)! : top + kept.height;
  const between = width === image.width
    ? cut(image, { left, top: first, width: kept.width, height: last - first })
    : horizontally(image, weightsFor(image.width, across, FILTERS[filter]), first, last);
  return rows ? vertically(between, rows, first) : between;
}

function isHalf(image: ByteImage, width: number, height: number): boolean {
  return 2 * width === image.width && 2 * height === image.height;
}

/**
 * What "box" gives at half the size of even sides, where all its weights are a half: photographs of
 * many megapixels take a quarter of the time in this way.
 */
function halve({ pixels, channels, height, width }: ByteImage): ByteImage {
  const out = new Uint8Array(pixels.length / 4);
  const row = width * channels;
  let to = 0;
  for (let y = 0; y < height; y += 2) {
    for (let x = 0; x < width; x += 2) {
      let from = y * row + x * channels;
      for (let c = 0; c < channels; c++, from++) {
        const above = (pixels[from]! + pixels[from + channels]! + 1) >> 1;
        const below = (pixels[from + row]! + pixels[from + row + channels]! + 1) >> 1;
        out[to++] = (above + below + 1) >> 1; // each pass is rounded to bytes
      }
    }
  }
  return { pixels: out, channels, height: height / 2, width: width / 2 };
}

/** A part of an image: `crop` of Pillow. */
function cut(image: ByteImage, { left, top, width, height }: Crop): ByteImage {
  if (width === image.width && height === image.height) return image;
  const { channels, pixels } = image;
  const row = width * channels;
  const out = new Uint8Array(height * row);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * image.width + left) * channels;
    out.set(pixels.subarray(from, from + row), y * row);
  }
  return { pixels: out, channels, height, width };
}
