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
  readonly batchSize: number;
}

/** A batch that is encoded. */
export interface Encoded {
  /** Its latents; those of damaged images are not among them. */
  readonly batch: LatentBatch;
  /** How many images were asked for. */
  readonly asked: number;
}

/** Encodes images in the order given. */
export async function* encodeAll(
  { vae, images, kind, flips, batchSize }: Encoding,
  indices: readonly number[],
): AsyncGenerator<Encoded> {
  const readFrom = (first: number) => {
    const reading = images.readSound(indices.slice(first, first + batchSize));
    reading.catch(() => {}); // it is reported when its turn comes
    return reading;
  };
  let next = readFrom(0);
  for (let first = 0; first < indices.length; first += batchSize) {
    const { labels, indices: sound, ...read } = await next;
    if (first + batchSize < indices.length) next = readFrom(first + batchSize);
    const asked = Math.min(batchSize, indices.length - first);
    const parts = {
      ...await encodeParts(vae, read, { indices: sound, kind, flipped: false }),
      ...(flips
        ? await encodeParts(vae, mirrored(read), { indices: sound, kind, flipped: true })
        : {}),
    };
    yield { batch: { indices: sound, labels, parts }, asked };
  }
}

/** The same images, each mirrored left to right. */
function mirrored({ images, shape }: Images): Images {
  const [, , , width] = shape;
  const out = new Float32Array(images);
  for (let row = 0; row < out.length; row += width) out.subarray(row, row + width).reverse();
  return { images: out, shape };
}
