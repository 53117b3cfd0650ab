/** Between pictures and the latents that a model sees, a few at a time. */
import { concat, mul, noGrad, slice } from "@dit/core/autograd";
import { type Generator, scope, type Tensor, tensor } from "@dit/core/tensor";
import type { AutoencoderKL } from "@dit/core/vae";

/** Pixels that go through an autoencoder at once: eight images of 256x256, about 3 GiB. */
const PIXELS = 8 * 256 ** 2;

/** Images of so many pixels a side that go through an autoencoder at once. */
function partSize(side: number): number {
  return Math.max(1, Math.floor(PIXELS / side ** 2));
}

/**
 * Samples latents of images, as a model sees them. They belong to the scope that is open.
 *
 * @param images [N, 3, S, S] in [-1, 1]
 * @returns [N, C, s, s], multiplied by the scaling factor.
 */
export function encodeImages(vae: AutoencoderKL, images: Tensor, generator: Generator): Tensor {
  const [count, , , side] = images.shape as [number, number, number, number];
  const size = partSize(side);
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

/**
 * Makes pictures of latents.
 *
 * @param latents [N, C, s, s], as a model sees them.
 * @param scalingFactor What they were multiplied by.
 * @returns [N, 3, S, S], about in [-1, 1].
 */
export async function decodeLatents(
  vae: AutoencoderKL,
  latents: Float32Array,
  scalingFactor: number,
  side: number,
): Promise<Float32Array<ArrayBuffer>> {
  const { latentChannels, outChannels } = vae.options;
  const one = latentChannels * side * side;
  const count = latents.length / one;
  const plane = outChannels * (side * vae.factor) ** 2;
  const out = new Float32Array(count * plane);
  const size = partSize(side * vae.factor);
  for (let first = 0; first < count; first += size) {
    using _ = scope("decode");
    const part = latents.slice(first * one, Math.min(first + size, count) * one);
    const z = tensor(part.map((v) => v / scalingFactor), [
      part.length / one,
      latentChannels,
      side,
      side,
    ]);
    out.set(await noGrad(() => vae.decode(z)).data(), first * plane);
  }
  return out;
}
