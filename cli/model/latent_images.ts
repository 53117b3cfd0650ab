/** Latents of pictures, as a model sees them, a few at a time. */
import { concat, mul, noGrad, slice } from "@dit/core/autograd";
import { type Generator, scope, type Tensor } from "@dit/core/tensor";
import type { AutoencoderKL } from "@dit/core/vae";

/** Pixels that go through an autoencoder at once, whatever the batch: eight images of 256x256. */
const PIXELS = 8 * 256 ** 2;

/**
 * Samples latents of images, as a model sees them. They belong to the scope that is open.
 *
 * @param images [N, 3, S, S] in [-1, 1]
 * @returns [N, C, s, s], multiplied by the scaling factor.
 */
export function encodeImages(vae: AutoencoderKL, images: Tensor, generator: Generator): Tensor {
  const [count, , , side] = images.shape as [number, number, number, number];
  const size = Math.max(1, Math.floor(PIXELS / side ** 2));
  using s = scope("encode");
  const parts = noGrad(() =>
    Array.from({ length: Math.ceil(count / size) }, (_, i) => {
      using part = scope("part");
      const some = slice(images, 0, { start: i * size, end: Math.min((i + 1) * size, count) });
      return part.keep(mul(vae.encode(some).sample({ generator }), vae.scalingFactor));
    })
  );
  return s.keep(parts.length === 1 ? parts[0]! : concat(parts));
}
