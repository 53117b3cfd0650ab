/** From what a model samples to images: bytes, grids and PNG files, to the original's rounding. */
import type { ImageShape } from "./dataset.ts";

/** An image of bytes. */
export interface ByteImage extends ImageShape {
  /** `[H, W, C]` */
  readonly pixels: Uint8Array<ArrayBuffer>;
}

/** How images are laid out in a grid. */
export interface GridOptions {
  /** Images a row (torchvision calls it `nrow`); 8 by default. */
  readonly columns?: number;
  /** Black pixels around each image; 2 by default. */
  readonly padding?: number;
}

/**
 * Samples in [-1, 1] as bytes, as the original's sample_ddp.py stores them for evaluation:
 * 127.5 x + 128, clamped to [0, 255], its fraction cut off.
 *
 * @param images `[N, C, H, W]`
 * @returns `[N, H, W, C]`
 * @throws {RangeError} If the values are not whole images.
 */
export function toPixels(images: Float32Array, shape: ImageShape): Uint8Array<ArrayBuffer> {
  return channelsLast(images, shape, (x) => Math.fround(Math.fround(127.5 * x) + 128));
}

/**
 * Samples in [-1, 1] side by side in one image, as the original's
 * `save_image(samples, nrow, normalize=True, value_range=(-1, 1))` draws them: (x + 1) / 2 in
 * [0, 1], times 255, rounded. One sample alone has no border.
 *
 * @param images `[N, C, H, W]`, N at least 1.
 * @throws {RangeError} If the values are not whole images, or there is none.
 */
export function makeGrid(
  images: Float32Array,
  shape: ImageShape,
  { columns = 8, padding = 2 }: GridOptions = {},
): ByteImage {
  const { channels, height, width } = shape;
  const pixels = channelsLast(images, shape, (x) => {
    const unit = Math.fround(Math.min(1, Math.max(-1, x)) + 1) / 2;
    return Math.fround(Math.fround(unit * 255) + 0.5);
  });
  const count = images.length / (channels * height * width);
  if (count < 1) throw new RangeError("makeGrid: expected one image or more but got none");
  if (!Number.isInteger(columns) || columns < 1) {
    throw new RangeError(`makeGrid: expected 1 column or more but got ${columns}`);
  }
  if (count === 1) return { pixels, channels, height, width };
  const [across, down] = [Math.min(columns, count), Math.ceil(count / columns)];
  const grid = {
    channels,
    height: down * (height + padding) + padding,
    width: across * (width + padding) + padding,
  };
  const out = new Uint8Array(grid.height * grid.width * channels);
  const rowBytes = width * channels;
  for (let row = 0; row < count * height; row++) {
    const i = Math.floor(row / height);
    const y = Math.floor(i / across) * (height + padding) + padding + row % height;
    const x = (i % across) * (width + padding) + padding;
    out.set(
      pixels.subarray(row * rowBytes, (row + 1) * rowBytes),
      (y * grid.width + x) * channels,
    );
  }
  return { pixels: out, ...grid };
}

/** `[N, C, H, W]` to `[N, H, W, C]`, each value through `level`, clamped and cut to a byte. */
function channelsLast(
  images: Float32Array,
  { channels, height, width }: ImageShape,
  level: (x: number) => number,
): Uint8Array<ArrayBuffer> {
  const plane = height * width;
  if (images.length % (channels * plane) !== 0) {
    throw new RangeError(
      `expected images of ${channels} x ${height} x ${width} but got ${images.length} values`,
    );
  }
  const out = new Uint8Array(images.length);
  for (let from = 0; from < images.length; from += plane) {
    const channel = from / plane % channels;
    const to = from - channel * plane + channel;
    for (let i = 0; i < plane; i++) {
      out[to + i * channels] = Math.min(255, Math.max(0, level(images[from + i]!)));
    }
  }
  return out;
}
