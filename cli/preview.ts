/** Pictures of what a model has learned so far, by its averaged weights. */
import { sample } from "@dit/core/diffusion";
import { full, Generator, scope, tensor } from "@dit/core/tensor";
import { encodePng, makeGrid, type PictureShape, toPixels } from "@dit/data";
import { sampleShape } from "./model.ts";
import type { Training } from "./training.ts";

/** Samples that are computed together. */
const BATCH = 80;
/** Classes of a grid at most, and samples of each. */
const GRID = { classes: 10, each: 4 } as const;

/** How samples are drawn. */
export interface PreviewOptions {
  /** DDIM steps. */
  readonly steps: number;
  /** Guidance; 1 for none. */
  readonly cfgScale: number;
}

/** Makes pictures [N, 3, H, W] of latents [N, C, S, S]. */
export type Decode = (latents: Float32Array<ArrayBuffer>) => Promise<Float32Array<ArrayBuffer>>;

/**
 * Samples by DDIM with the averaged weights. The noise of sample k depends on k alone, so that the
 * grids of a run show the same samples getting better.
 *
 * @param labels Class of each.
 * @returns [N, C, S, S]
 */
export async function drawSamples(
  { model, ema, diffusion, config, settings }: Training,
  labels: readonly number[],
  { steps, cfgScale }: PreviewOptions,
): Promise<Float32Array<ArrayBuffer>> {
  const [, ...one] = sampleShape(config, 1);
  const size = one.reduce((a, b) => a * b);
  const out = new Float32Array(labels.length * size);
  const { nullClass } = config;
  model.eval();
  await ema.swapped(async () => {
    for (let first = 0; first < labels.length; first += BATCH) {
      using _ = scope("samples");
      const part = labels.slice(first, first + BATCH);
      const y = tensor(part, [part.length], { dtype: "i32" });
      const guidance = nullClass === null || cfgScale === 1 ? {} : {
        guidance: {
          scale: cfgScale,
          nullKwargs: { y: full([part.length], nullClass, { dtype: "i32" }) },
        },
      };
      const images = await sample(
        diffusion,
        (x, t, { y }) => model.forward(x, t, y),
        [part.length, ...one],
        {
          sampler: "ddim",
          steps: Math.min(steps, diffusion.numTimesteps),
          modelKwargs: { y },
          generator: part.map((_, i) => new Generator(settings.seed, SAMPLE_STREAM + first + i)),
          clipDenoised: config.latents === null, // latents have no limits, pixels have
          ...guidance,
        },
      );
      out.set(await images.data(), first * size);
    }
  });
  model.train();
  return out;
}

/** Streams of the seed that training does not use: sample k draws from this one plus k. */
const SAMPLE_STREAM = 1 << 16;

/** A grid of samples: a column a class. */
export async function drawGrid(
  training: Training,
  options: PreviewOptions,
  decode: Decode | null,
): Promise<Uint8Array<ArrayBuffer>> {
  const classes = gridClasses(training.config.dit.numClasses);
  const labels = Array.from(
    { length: classes.length * GRID.each },
    (_, i) => classes[i % classes.length]!,
  );
  const drawn = await drawSamples(training, labels, options);
  const images = decode ? await decode(drawn) : drawn;
  const grid = makeGrid(images, pictureShape(training, images, labels.length), {
    columns: classes.length,
  });
  return await encodePng(grid.pixels, grid.width, grid.height, grid.channels);
}

/** The classes of a grid: evenly chosen where there are many. */
export function gridClasses(numClasses: number): number[] {
  const count = Math.min(numClasses, GRID.classes);
  return Array.from({ length: count }, (_, i) => Math.floor(i * numClasses / count));
}

/** Samples as bytes [N, H, W, C], with the shape of one. */
export async function drawPixels(
  training: Training,
  labels: readonly number[],
  options: PreviewOptions,
  decode: Decode | null,
): Promise<{ pixels: Uint8Array<ArrayBuffer>; shape: PictureShape }> {
  const drawn = await drawSamples(training, labels, options);
  const images = decode ? await decode(drawn) : drawn;
  const shape = pictureShape(training, images, labels.length);
  return { pixels: toPixels(images, shape), shape };
}

/** The shape of each of `count` pictures: that of what the model sees, or RGB where decoded. */
function pictureShape({ config }: Training, images: Float32Array, count: number): PictureShape {
  if (config.latents === null) {
    const { inChannels: channels, inputSize: side } = config.dit;
    return { channels, height: side, width: side };
  }
  const side = Math.sqrt(images.length / count / 3);
  return { channels: 3, height: side, width: side };
}
