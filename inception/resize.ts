/** Images as evaluation hands them to Inception. */
import { contiguous, expand, matmul, mul, permute, sub } from "../autograd/mod.ts";
import { tidy } from "../nn/mod.ts";
import { type Tensor, tensor } from "../tensor/mod.ts";

/**
 * Bilinear interpolation along one axis as a matrix [to, from], two neighbours a row. As TensorFlow
 * 1's ResizeBilinear has it without `align_corners` and `half_pixel_centers`: output pixel i lies at
 * i * (from / to), its neighbours are that rounded down and the next, which is the last pixel at the
 * edge, and nothing is smoothed where an image becomes smaller. Scale and places are float32 there.
 */
function interpolation(from: number, to: number): Tensor {
  const scale = Math.fround(from / to);
  const weights = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const place = Math.fround(i * scale);
    const first = Math.floor(place);
    const second = Math.min(first + 1, from - 1);
    const share = Math.fround(place - first);
    weights[i * from + first]! += 1 - share;
    weights[i * from + second]! += share;
  }
  return tensor(weights, [to, from]);
}

/**
 * Images as the graph of the ADM suite makes them: resized to `size` by TensorFlow 1's bilinear
 * interpolation, then (x - 128) / 128. Computed on the current device, as two products.
 *
 * @param images u8 [N, H, W, C]; grey ones (C = 1) are taken three times.
 * @returns f32 [N, 3, size, size].
 */
export function inceptionInput(
  images: Uint8Array,
  shape: readonly [count: number, height: number, width: number, channels: number],
  size: number,
): Tensor {
  const [count, height, width] = shape;
  return tidy(() => {
    const planes = permute(tensor(Float32Array.from(images), shape), [0, 3, 1, 2]);
    const rows = matmul(interpolation(height, size), contiguous(planes));
    const resized = matmul(rows, interpolation(width, size), { transposeB: true });
    return contiguous(expand(mul(sub(resized, 128), 1 / 128), [count, 3, size, size]));
  });
}
