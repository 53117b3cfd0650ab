/** Images through the encoder, a batch at a time, while the next is read. */
import type { AutoencoderKL } from "@dit/core/vae";
import type { ImageFolder, LatentBatch, LatentSettings } from "@dit/data";
import { encodeParts, type Images } from "../../model/encode_images.ts";

/** What is encoded, and how. */
export interface Encoding {
  readonly vae: AutoencoderKL;
  readonly images: ImageFolder;
  /** Whether distributions or samples are made. */
  readonly kind: LatentSettings["kind"];
  /** Whether the mirrored images are encoded too. */
  readonly flips: boolean;
  /**
   * Images that are encoded together. On a GPU the last bits of a latent depend on how many there
   * are, since kernels are divided by the size of the work; so batches begin at fixed images, and
   * latents are the same whichever process makes them, and after any interruption.
   */
  readonly batchSize: number;
}

/** Cuts images `first` to `end` - 1 into batches. */
export function batchesOf(first: number, end: number, batchSize: number): number[][] {
  return Array.from({ length: Math.ceil((end - first) / batchSize) }, (_, i) => {
    const start = first + i * batchSize;
    return Array.from({ length: Math.min(batchSize, end - start) }, (_, k) => start + k);
  });
}

/**
 * Encodes batches of images in the order given; damaged images are left out of them.
 *
 * @param isWanted Batches without any sound image that is wanted are read, but not encoded.
 */
export async function* encodeAll(
  { vae, images, kind, flips }: Encoding,
  batches: readonly (readonly number[])[],
  isWanted: (index: number) => boolean = () => true,
): AsyncGenerator<LatentBatch> {
  const read = (batch: readonly number[] = []) => {
    const reading = images.readSound(batch);
    reading.catch(() => {}); // it is reported when its turn comes
    return reading;
  };
  let next = read(batches[0]);
  for (let i = 0; i < batches.length; i++) {
    const { labels, indices, ...examples } = await next;
    if (i + 1 < batches.length) next = read(batches[i + 1]);
    if (indices.length > 0 && !indices.some(isWanted)) {
      yield { indices: [], labels: [], parts: {} };
      continue;
    }
    const parts = {
      ...await encodeParts(vae, examples, { indices, kind, flipped: false }),
      ...(flips
        ? await encodeParts(vae, mirrored(examples), { indices, kind, flipped: true })
        : {}),
    };
    yield { indices, labels, parts };
  }
}

/** The same images, each mirrored left to right. */
function mirrored({ images, shape }: Images): Images {
  const [, , , width] = shape;
  const out = new Float32Array(images);
  for (let row = 0; row < out.length; row += width) out.subarray(row, row + width).reverse();
  return { images: out, shape };
}
