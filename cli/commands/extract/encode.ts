/** Images through the encoder, a batch at a time, while the next is read. */
import { concat, noGrad } from "@dit/core/autograd";
import { Generator, randn, scope, type Tensor, tensor } from "@dit/core/tensor";
import type { AutoencoderKL } from "@dit/core/vae";
import type { Examples, ImageFolder, LatentBatch, LatentSettings } from "@dit/data";

/** Seed of the samples that are stored. Fixed: a run that goes on must draw what it would have. */
const SEED = 0;

type Parts = LatentBatch["parts"];
/** Images without their classes. */
type Images = Pick<Examples, "images" | "shape">;

type Kind = LatentSettings["kind"];

/** What is encoded, and how. */
export interface Encoding {
  readonly vae: AutoencoderKL;
  readonly images: ImageFolder;
  readonly kind: Kind;
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
    const parts: Parts = {
      ...await encode(vae, read, sound, kind, false),
      ...(flips ? await encode(vae, mirrored(read), sound, kind, true) : {}),
    };
    yield { batch: { indices: sound, labels, parts }, asked };
  }
}

/**
 * Encodes images.
 *
 * @param indices Which images they are: what a sample's noise depends on, and nothing else.
 */
async function encode(
  vae: AutoencoderKL,
  { images, shape }: Images,
  indices: readonly number[],
  kind: Kind,
  flipped: boolean,
): Promise<Parts> {
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
      randn(one, { generator: new Generator(SEED, 2 * index + Number(flipped)) })
    );
    return { sample: posterior.sample({ noise: concat(noise) }) };
  });
  const parts: Record<string, Float32Array<ArrayBuffer>> = {};
  for (const [name, values] of Object.entries(named)) {
    parts[name + suffix] = Float32Array.from(await values.data());
  }
  return parts;
}

/** The same images, each mirrored left to right. */
function mirrored({ images, shape }: Images): Images {
  const [, , , width] = shape;
  const out = new Float32Array(images);
  for (let row = 0; row < out.length; row += width) out.subarray(row, row + width).reverse();
  return { images: out, shape };
}
