/** From weights to pictures: one batch at a time, each sample from a random stream of its own. */
import { detach, div, noGrad, slice } from "@dit/core/autograd";
import {
  type ClassifierFreeOptions,
  type GaussianDiffusion,
  sampleProgressive,
  type SamplerName,
} from "@dit/core/diffusion";
import type { DiT } from "@dit/core/dit";
import { loadWeights } from "@dit/core/nn";
import { currentDevice, Generator, scope, type Tensor, tensor } from "@dit/core/tensor";
import type { AutoencoderKL } from "@dit/core/vae";
import { buildModel, type ModelConfig, sampleShape } from "./config.ts";
import { isPublished } from "./autoencoder.ts";
import type { Weights } from "./weights.ts";

/** How to sample. */
export interface SampleSettings {
  readonly sampler: SamplerName;
  readonly steps: number;
  /** Randomness of DDIM. */
  readonly eta: number;
  /** Guidance; 1 for none. */
  readonly cfgScale: number;
  /** Channels that are guided. */
  readonly cfgChannels: 3 | "all";
  /** First and last timestep that are guided; all without it. */
  readonly cfgInterval: readonly [number, number] | undefined;
  /** Sample k draws from stream k of this seed, whatever the batches. */
  readonly seed: number;
  /** Pictures of each sample, evenly spread over its steps, the last one finished; 1 for that alone. */
  readonly frames: number;
}

/** Pictures [N, frames, C, H, W] in one array, in [-1, 1] or a little beyond. */
export interface Drawn {
  readonly images: Float32Array;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/**
 * Channels that are guided unless somebody says: three of the published autoencoders' latents, as
 * the original does it, and all of others.
 */
export function usualGuidedChannels({ latents }: ModelConfig): 3 | "all" {
  return latents !== null && isPublished(latents.vae) ? 3 : "all";
}

/** How often the host waits for the device to say how far it is, in milliseconds. */
const ASK_EVERY = 1000;

/** A model with all it takes to make pictures. */
export class Artist implements Disposable {
  readonly config: ModelConfig;
  readonly model: DiT;
  readonly diffusion: GaussianDiffusion;
  /** Makes pictures of latents; null for a model of pixels, and for a look at latents themselves. */
  readonly #vae: AutoencoderKL | null;

  /**
   * Draws with a model as it is whenever it draws: in use, not in training.
   *
   * @param vae Null for a model of pixels, and for a look at latents themselves.
   */
  constructor(
    config: ModelConfig,
    model: DiT,
    diffusion: GaussianDiffusion,
    vae: AutoencoderKL | null,
  ) {
    this.config = config;
    this.model = model;
    this.diffusion = diffusion;
    this.#vae = vae;
  }

  /**
   * Loads weights tensor by tensor, so that file and model never stand in memory together.
   *
   * @param vae Owned by the artist from now on.
   * @throws {StateDictError} where the weights do not fit the configuration.
   */
  static async load(
    weights: Pick<Weights, "config" | "source">,
    vae: AutoencoderKL | null,
    options: {
      dtype?: "f32" | "f16";
      onProgress?: (done: number, total: number) => void;
    } = {},
  ): Promise<Artist> {
    const { dtype = "f32", onProgress } = options;
    const { model, diffusion } = buildModel(weights.config, { dtype });
    try {
      await loadWeights(model, weights.source, onProgress ? { onProgress } : {});
    } catch (error) {
      model.dispose();
      throw error;
    }
    model.eval();
    return new Artist(weights.config, model, diffusion, vae);
  }

  /**
   * Draws samples `first` to `first + labels.length - 1`.
   *
   * @param labels The class of each.
   * @param onStep Called after each step with the number of steps taken.
   */
  async draw(
    first: number,
    labels: readonly number[],
    settings: SampleSettings,
    onStep: (taken: number) => void = () => {},
  ): Promise<Drawn> {
    using _ = scope("samples");
    const { steps, frames, seed } = settings;
    const shape = sampleShape(this.config, labels.length);
    const y = tensor([...labels], [labels.length], { dtype: "i32" });
    const guidance = this.#guidance(labels.length, settings);
    const shown = new Set(Array.from(
      { length: frames },
      (_, i) => Math.round((i + 1) / frames * steps) - 1,
    ));
    const kept: Tensor[] = [];
    let asked = performance.now();
    const loop = sampleProgressive(this.diffusion, this.model, shape, {
      sampler: settings.sampler,
      steps,
      eta: settings.eta,
      modelKwargs: { y },
      generator: labels.map((_, i) => new Generator(seed, first + i)),
      // latents have no limits, pixels have
      clipDenoised: this.config.latents === null,
      ...(guidance ? { guidance } : {}),
    });
    for await (const { sample, step } of loop) {
      if (shown.has(step)) kept.push(detach(sample));
      if (performance.now() - asked > ASK_EVERY) {
        await currentDevice().backend.sync();
        asked = performance.now();
      }
      onStep(step + 1);
    }
    return await this.#pictures(kept, labels.length);
  }

  #guidance(count: number, settings: SampleSettings): ClassifierFreeOptions | null {
    const { cfgScale: scale, cfgChannels: guidedChannels, cfgInterval } = settings;
    const { nullClass } = this.config;
    if (scale === 1 || nullClass === null) return null;
    const nulls = tensor(new Array<number>(count).fill(nullClass), [count], { dtype: "i32" });
    const interval = cfgInterval ? { interval: cfgInterval } : {};
    return { scale, guidedChannels, nullKwargs: { y: nulls }, ...interval };
  }

  /** Reads frames back, a sample's beside each other, through the autoencoder where there is one. */
  async #pictures(frames: readonly Tensor[], count: number): Promise<Drawn> {
    const planes: Float32Array[] = []; // [C, H, W] each
    let size: readonly number[] = [];
    for (let k = 0; k < count; k++) {
      for (const frame of frames) {
        using _ = scope("picture");
        const one = slice(frame, 0, { start: k, end: k + 1 });
        const picture = this.#vae ? this.#decoded(this.#vae, one) : one;
        const data = Float32Array.from(await picture.data());
        const falseColours = this.config.latents !== null && !this.#vae;
        const [, channels, height, width] = picture.shape as [number, number, number, number];
        planes.push(falseColours ? preview(data, channels) : data);
        size = [falseColours ? 3 : channels, height, width];
      }
    }
    const [channels, height, width] = size as [number, number, number];
    const images = new Float32Array(planes.length * channels * height * width);
    planes.forEach((plane, i) => images.set(plane, i * plane.length));
    return { images, channels, height, width };
  }

  #decoded(vae: AutoencoderKL, latents: Tensor): Tensor {
    const { scalingFactor } = this.config.latents!;
    return noGrad(() => vae.decode(div(latents, scalingFactor)));
  }

  /** Frees the model and the autoencoder, for those who loaded them. */
  [Symbol.dispose](): void {
    this.model.dispose();
    this.#vae?.dispose();
  }
}

/** What the latent channels of Stable Diffusion's autoencoder look like, about: [C][R, G, B]. */
const LATENT_COLOURS = [
  [0.298, 0.207, 0.208],
  [0.187, 0.286, 0.173],
  [-0.158, 0.189, 0.264],
  [-0.184, -0.271, -0.473],
] as const;

/** Latents [C, h, w] as a small picture [3, h, w], by a linear map. */
function preview(latents: Float32Array, channels: number): Float32Array<ArrayBuffer> {
  const plane = latents.length / channels;
  const out = new Float32Array(3 * plane);
  for (let c = 0; c < Math.min(channels, LATENT_COLOURS.length); c++) {
    for (let rgb = 0; rgb < 3; rgb++) {
      const weight = LATENT_COLOURS[c]![rgb]!;
      for (let i = 0; i < plane; i++) out[rgb * plane + i]! += weight * latents[c * plane + i]!;
    }
  }
  return out;
}
