/** Latents of images by an autoencoder: as a model sees them, and as they are stored. */
import { concat, mul, noGrad, slice } from "@dit/core/autograd";
import { Generator, randn, scope, type Tensor, tensor } from "@dit/core/tensor";
import type { AutoencoderKL } from "@dit/core/vae";
import type { Examples, LatentBatch, LatentSettings } from "@dit/data";

/** Images without their classes: `[N, C, S, S]` in [-1, 1]. */
export type Images = Pick<Examples, "images" | "shape">;

/** Which latents are made, and how. */
export interface PartOptions {
  /** `[N]`: which images they are. A sample's noise depends on that, and on nothing else. */
  readonly indices: readonly number[];
  /** Whether distributions or samples are made. */
  readonly kind: LatentSettings["kind"];
  /** Whether the images are mirrored ones, which have names and noise of their own. */
  readonly flipped: boolean;
}

/** Seed of samples that are stored. Fixed, so that a continued extraction draws the same. */
const STORED_SEED = 0;

/** Pixels that go through an autoencoder at once, whatever the batch: eight images of 256x256. */
const PIXELS = 8 * 256 ** 2;

/**
 * Samples latents of images, as a model sees them. They belong to the scope that is open.
 *
 * @param images `[N, 3, S, S]` in [-1, 1]
 * @returns `[N, C, s, s]`, multiplied by the scaling factor.
 */
export function encodeImages(vae: AutoencoderKL, images: Tensor, generator: Generator): Tensor {
  const [count, , height, width] = images.shape as [number, number, number, number];
  const size = Math.max(1, Math.floor(PIXELS / (height * width)));
  const { factor, options: { latentChannels } } = vae;
  using s = scope("encode");
  // one draw, whatever the parts: of a batch that processes share, it is this one's rows
  const noise = randn([count, latentChannels, height / factor, width / factor], { generator });
  const parts = noGrad(() =>
    Array.from({ length: Math.ceil(count / size) }, (_, i) => {
      using part = scope("part");
      const rows = { start: i * size, end: Math.min((i + 1) * size, count) };
      const posterior = vae.encode(slice(images, 0, rows));
      return part.keep(
        mul(posterior.sample({ noise: slice(noise, 0, rows) }), vae.scalingFactor),
      );
    })
  );
  return s.keep(parts.length === 1 ? parts[0]! : concat(parts));
}

/** Encodes images to what is stored of them, `[N, C, s, s]` each, not multiplied. */
export async function encodeParts(
  vae: AutoencoderKL,
  { images, shape }: Images,
  { indices, kind, flipped }: PartOptions,
): Promise<LatentBatch["parts"]> {
  const suffix = flipped ? "_flipped" : "";
  if (indices.length === 0) {
    const names = kind === "sample" ? ["sample"] : ["mean", "std"];
    return Object.fromEntries(names.map((name) => [name + suffix, new Float32Array(0)]));
  }
  using _ = scope("encode");
  const named = noGrad((): Record<string, Tensor> => {
    const posterior = vae.encode(tensor(images, shape));
    if (kind === "distribution") return { mean: posterior.mean, std: posterior.std() };
    const one = [1, ...posterior.mean.shape.slice(1)];
    const noise = indices.map((index) =>
      randn(one, { generator: new Generator(STORED_SEED, 2 * index + Number(flipped)) })
    );
    return { sample: posterior.sample({ noise: concat(noise) }) };
  });
  const parts: Record<string, Float32Array<ArrayBuffer>> = {};
  for (const [name, values] of Object.entries(named)) {
    parts[name + suffix] = Float32Array.from(await values.data());
  }
  return parts;
}
