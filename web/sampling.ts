/**
 * From a request to pictures, with live denoising on the way: the same on a server's device and in
 * the visitor's browser. A picture of seed s and class c is the one that
 * `deno task sample --seed s --classes c --n 1` draws: its noise comes from stream 0 of its seed.
 */
import { detach } from "@dit/core/autograd";
import type { SamplerName } from "@dit/core/diffusion";
import {
  type ImageSampler,
  type SampledImages,
  usualBatchSize,
  usualGuidedChannels,
} from "@dit/core/pipeline";
import { currentDevice, type DeviceLostError, scope, type Tensor } from "@dit/core/tensor";
import type { Picture, PictureRequest, SampleRequest } from "./protocol.ts";

/** How a request is sampled, beside what it says. */
export interface SamplingOptions {
  /** Whether it has been cancelled; asked between steps. An `AbortSignal` is one. */
  readonly signal: { readonly aborted: boolean };
  /**
   * Told of steps taken, `steps` in all; with pictures where there are some to show.
   *
   * @param pictures Of every picture asked for: what the model now takes it to become, or the
   * finished one; grey of those that have not begun.
   */
  readonly onStep: (step: number, steps: number, pictures?: readonly Picture[]) => void;
  /** Whether pictures are wanted at the moment: always without it. */
  readonly wantsPreview?: () => boolean;
  /** Milliseconds between two previews at least; 100 without it. */
  readonly previewEvery?: number;
}

/** What visitors are told where the device was lost while it drew: whoever samples opens another. */
export function adviceOnLoss({ message }: DeviceLostError): string {
  return `${message}. Draw again: the device is opened anew then`;
}

/** Milliseconds between two previews. */
const PREVIEW_EVERY = 100;

/** Share of the time that previews may take. */
const PREVIEW_SHARE = 0.2;

/** Milliseconds that the autoencoder may take for all pictures of a preview; false colours beyond. */
const DECODING = 200;

/** Milliseconds of work that a device may have before it, which a cancelled request waits for. */
const AHEAD = 50;

/** Milliseconds between two moments in which other tasks of this thread run. */
const BREATHE_EVERY = 20;

/**
 * Samples the pictures of a request, in batches as large as the model's size suggests: no picture
 * depends on what is beside it.
 *
 * @throws {DOMException} `AbortError`, where it was cancelled.
 * @throws {Error} where numbers are not finite.
 */
export async function samplePictures(
  sampler: ImageSampler,
  request: SampleRequest,
  options: SamplingOptions,
): Promise<Picture[]> {
  const { pictures, steps } = request;
  const batch = usualBatchSize(sampler.config);
  const total = steps * Math.ceil(pictures.length / batch);
  const previews = new Previews(sampler, pictures.length, options);
  for (let first = 0, before = 0; first < pictures.length; first += batch, before += steps) {
    const part = pictures.slice(first, first + batch);
    const finished = await sampleBatch(sampler, part, request, options, async (step, xStart) => {
      const shown = step < steps ? await previews.show(first, xStart) : undefined;
      options.onStep(before + step, total, shown);
    });
    previews.keep(first, finished);
  }
  return previews.finished;
}

/** Samples pictures together. */
async function sampleBatch(
  sampler: ImageSampler,
  pictures: readonly PictureRequest[],
  request: SampleRequest,
  { signal }: SamplingOptions,
  onStep: (step: number, xStart: Tensor) => Promise<void>,
): Promise<Picture[]> {
  using _ = scope("pictures");
  const settings = {
    sampler: request.sampler as SamplerName,
    steps: request.steps,
    eta: request.eta,
    cfgScale: request.guidance,
    cfgChannels: usualGuidedChannels(sampler.config),
    cfgInterval: request.interval ?? undefined,
  };
  const pace = new Pace();
  const check = async () => {
    await pace.keep();
    if (signal.aborted) throw new DOMException("the request was cancelled", "AbortError");
  };
  let last: Tensor | undefined;
  await check();
  for await (const { sample, predXstart, step } of sampler.steps(pictures, settings)) {
    await check();
    await onStep(step + 1, predXstart);
    if (step + 1 === request.steps) last = detach(sample);
  }
  return await decode(sampler, last!, check);
}

/**
 * Keeps a device little ahead of what has been looked at, so that a request ends soon after it is
 * cancelled, and lets other tasks run.
 */
class Pace {
  /** Milliseconds that a step takes the device; unknown at first. */
  #step = Infinity;
  #ahead = 0;
  #since = performance.now();
  #breathed = performance.now();

  async keep(): Promise<void> {
    if (++this.#ahead * this.#step >= AHEAD) {
      await currentDevice().backend.sync();
      const now = performance.now();
      this.#step = (now - this.#since) / this.#ahead;
      [this.#since, this.#ahead] = [now, 0];
    }
    if (performance.now() - this.#breathed < BREATHE_EVERY) return;
    await new Promise((resolve) => setTimeout(resolve)); // a CPU computes in this thread
    this.#breathed = performance.now();
  }
}

/** Milliseconds that decoding a picture takes, by what samples; known once it has been done. */
const decodingTimes = new WeakMap<ImageSampler, number>();

/** Finished samples as pictures. */
async function decode(
  sampler: ImageSampler,
  samples: Tensor,
  check: () => Promise<void>,
): Promise<Picture[]> {
  const begun = performance.now();
  const images = await sampler.images([samples], { catchUp: check });
  if (!images.images.every(Number.isFinite)) {
    throw new Error("the model's pictures have numbers that are not finite");
  }
  decodingTimes.set(sampler, (performance.now() - begun) / samples.shape[0]!);
  return toPictures(images);
}

/** What there is to see of a request's pictures while they are sampled. */
class Previews {
  readonly #sampler: ImageSampler;
  readonly #options: SamplingOptions;
  readonly #shown: (Picture | undefined)[];
  /** When the next one is due. */
  #due = -Infinity;

  constructor(sampler: ImageSampler, count: number, options: SamplingOptions) {
    [this.#sampler, this.#options] = [sampler, options];
    this.#shown = new Array<undefined>(count).fill(undefined);
  }

  /** The finished pictures. */
  get finished(): Picture[] {
    return this.#shown as Picture[];
  }

  /** Keeps finished pictures from `first` on. */
  keep(first: number, pictures: readonly Picture[]): void {
    pictures.forEach((picture, i) => this.#shown[first + i] = picture);
  }

  /** All pictures, with those of x_0 from `first` on; undefined where it is not time to show them. */
  async show(first: number, xStart: Tensor): Promise<Picture[] | undefined> {
    const { wantsPreview = () => true, previewEvery = PREVIEW_EVERY } = this.#options;
    const begun = performance.now();
    if (begun < this.#due || !wantsPreview()) return undefined;
    const decoding = (decodingTimes.get(this.#sampler) ?? Infinity) * xStart.shape[0]!;
    const inFalseColours = decoding > DECODING;
    const pictures = toPictures(await this.#sampler.images([xStart], { inFalseColours }));
    const grey = greyLike(pictures[0]!);
    const now = performance.now();
    this.#due = now + Math.max(previewEvery, (now - begun) / PREVIEW_SHARE);
    return this.#shown.map((kept, i) => kept ?? pictures[i - first] ?? grey);
  }
}

/** Images as pictures, rounded as `deno task sample` rounds them in a PNG file. */
function toPictures({ images, channels, height, width }: SampledImages): Picture[] {
  const plane = height * width;
  const count = images.length / (channels * plane);
  return Array.from({ length: count }, (_, k) => {
    const rgba = new Uint8ClampedArray(4 * plane).fill(255);
    for (let c = 0; c < 3; c++) {
      const from = (k * channels + Math.min(c, channels - 1)) * plane;
      for (let i = 0; i < plane; i++) rgba[4 * i + c] = level(images[from + i]!);
    }
    return { width, height, rgba };
  });
}

/** (x + 1) / 2 in [0, 1], times 255, rounded: of x in [-1, 1], or a little beyond. */
function level(x: number): number {
  const unit = Math.fround(Math.min(1, Math.max(-1, x)) + 1) / 2;
  return Math.floor(Math.fround(Math.fround(unit * 255) + 0.5));
}

/** A grey picture of the size of another. */
function greyLike({ width, height }: Picture): Picture {
  const rgba = new Uint8ClampedArray(4 * width * height);
  rgba.forEach((_, i) => rgba[i] = i % 4 === 3 ? 255 : 128);
  return { width, height, rgba };
}
