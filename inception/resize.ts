/** Images as evaluation hands them to Inception. */

/** What bilinear interpolation reads along one axis: two neighbours, and the share of the second. */
interface Places {
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly share: Float32Array;
}

/**
 * As TensorFlow 1's ResizeBilinear has it without `align_corners` and `half_pixel_centers`: output
 * pixel i lies at i * (from / to), its neighbours are that rounded down and the next, which is the
 * last pixel at the edge, and nothing is smoothed where an image becomes smaller. Scale and places
 * are float32 there.
 */
function placesOf(from: number, to: number): Places {
  const scale = Math.fround(from / to);
  const at = Float32Array.from({ length: to }, (_, i) => i * scale);
  const first = Int32Array.from(at, Math.floor);
  return {
    first,
    second: first.map((i) => Math.min(i + 1, from - 1)),
    share: at.map((place, i) => place - first[i]!),
  };
}

/**
 * Images as the graph of the ADM suite makes them: resized to `size` by TensorFlow 1's bilinear
 * interpolation, then (x - 128) / 128.
 *
 * @param images u8 [N, H, W, C]; grey ones (C = 1) are taken three times.
 * @returns f32 [N, 3, size, size].
 */
export function inceptionInput(
  images: Uint8Array,
  [count, height, width, channels]: readonly [number, number, number, number],
  size: number,
): Float32Array<ArrayBuffer> {
  const [down, across] = [placesOf(height, size), placesOf(width, size)];
  const out = new Float32Array(count * 3 * size * size);
  const plane = size * size;
  // rows of the image that an output row lies between, already interpolated across
  const upper = new Float32Array(size);
  const lower = new Float32Array(size);
  const rowInto = (target: Float32Array, at: number): void => {
    const { first, second, share } = across;
    for (let x = 0; x < size; x++) {
      const left = images[at + first[x]! * channels]!;
      const right = images[at + second[x]! * channels]!;
      target[x] = left + (right - left) * share[x]!;
    }
  };
  for (let n = 0; n < count; n++) {
    for (let c = 0; c < 3; c++) {
      const image = n * height * width * channels + (channels === 1 ? 0 : c);
      let to = (n * 3 + c) * plane;
      let [haveUpper, haveLower] = [-1, -1];
      for (let y = 0; y < size; y++) {
        const [top, bottom] = [down.first[y]!, down.second[y]!];
        if (top !== haveUpper) {
          if (top === haveLower) upper.set(lower);
          else rowInto(upper, image + top * width * channels);
          haveUpper = top;
        }
        if (bottom !== haveLower) {
          rowInto(lower, image + bottom * width * channels);
          haveLower = bottom;
        }
        const share = down.share[y]!;
        for (let x = 0; x < size; x++) {
          out[to++] = (upper[x]! + (lower[x]! - upper[x]!) * share - 128) / 128;
        }
      }
    }
  }
  return out;
}
