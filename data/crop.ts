import type { ByteImage } from "./byte_image.ts";
import { resize } from "./resample.ts";

/**
 * The middle of an image as a square, as the original's `center_crop_arr` (which has it from ADM)
 * cuts it: halved by averaging while its short side is twice the size or more, brought to the size
 * by bicubic resampling (up as well as down), and cut.
 *
 * @param size Side of the square in pixels.
 */
export function centerCrop(source: ByteImage, size: number): ByteImage {
  let image = source;
  while (Math.min(image.width, image.height) >= 2 * size) {
    image = resize(image, Math.floor(image.width / 2), Math.floor(image.height / 2), "box");
  }
  const scale = size / Math.min(image.width, image.height);
  const width = roundHalfToEven(image.width * scale);
  const height = roundHalfToEven(image.height * scale);
  return resize(image, width, height, "bicubic", {
    left: Math.floor((width - size) / 2),
    top: Math.floor((height - size) / 2),
    width: size,
    height: size,
  });
}

/** Python's `round`. */
function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
