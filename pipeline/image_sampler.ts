/** From weights to images: one batch at a time, each sample from a random stream of its own. */
import { cast, detach, div, noGrad, slice } from "../autograd/mod.ts";
import {
  type ClassifierFreeOptions,
  type ModelFunction,
  type Process,
  sampleProgressive,
  type SamplerName,
  type SamplingStep,
  stepRange,
} from "../diffusion/mod.ts";
import type { DiT } from "../dit/mod.ts";
import { mapSource, type SafetensorsFile, type TensorSource } from "../io/mod.ts";
import { guide, loadWeights } from "../nn/mod.ts";
import { currentDevice, outsideScopes, scope, type Tensor } from "../tensor/mod.ts";
import type { AutoencoderKL } from "../vae/mod.ts";
import { Checkpoint } from "./checkpoint.ts";
import {
  buildModel,
  type BuiltModel,
  isPublished,
  type ModelConfig,
  sampleShape,
} from "./config.ts";
import { DIT } from "./dit_checkpoint.ts";
import { inItsPrecision } from "./precision.ts";
import { type Draw, labelsOf, noiseOf, nullLabels } from "./draws.ts";

/** How to sample. */
export interface SampleSettings {
  /** How it steps from noise to pictures. */
  readonly sampler: SamplerName;
  /** Steps, each a call of the model or more. */
  readonly steps: number;
  /** Randomness of DDIM. */
  readonly eta: number;
  /** Guidance; 1 for none. */
  readonly cfgScale: number;
  /** Channels that are guided. */
  readonly cfgChannels: 3 | "all";
  /** Internal guidance, away from the early head of models that have one; 1, none, by default. */
  readonly internalScale?: number;
  /** First and last timestep that are guided; all without it. */
  readonly cfgInterval: readonly [number, number] | undefined;
  /** Sample k draws from stream k of this seed, whatever the batches. */
  readonly seed: number;
  /**
   * Images of each sample, evenly spread over its steps, the last one finished; 1 for that alone. Where
   * there are more than steps, some are alike.
   */
  readonly frames: number;
}

/** Images [N, frames, C, H, W] in one array, in [-1, 1] or a little beyond. */
export interface SampledImages {
  /** [N, frames, C, H, W]. */
  readonly images: Float32Array;
  /** 1 or 3, or what the model makes. */
  readonly channels: number;
  /** Pixels. */
  readonly height: number;
  /** Pixels. */
  readonly width: number;
}

/**
 * Channels that are guided by default: three of the published autoencoders' latents, as in the
 * original, and all of others.
 */
export function usualGuidedChannels({ latents }: ModelConfig): 3 | "all" {
  return latents !== null && isPublished(latents.vae) ? 3 : "all";
}

/** Samples at a time: of small models, and of those wider than `wide`. */
const BATCH = { small: 32, large: 8, wide: 512 } as const;

/**
 * Guidance of a model where nothing else is known: the original's of latents; less of pixels, of which
 * more would draw the same digits again and again (docs/recipes.md).
 */
export function usualGuidance({ latents }: Pick<ModelConfig, "latents">): number {
  return latents === null ? 1.5 : 4;
}

/** Steps of DPM-Solver++ beyond which digits look no better (docs/recipes.md). */
const PIXEL_STEPS = 10;

/**
 * In how many steps a model is sampled where nothing else is asked for: as many as its sampler
 * usually takes, and half as many by DPM-Solver++ where it is a model of pixels.
 *
 * @throws {RangeError} where the sampler cannot sample its process.
 */
export function usualSteps(
  { latents }: Pick<ModelConfig, "latents">,
  process: Process,
  sampler: SamplerName,
): number {
  const { usual } = stepRange(process, sampler);
  return latents === null && sampler === "dpm++" ? Math.min(usual, PIXEL_STEPS) : usual;
}

/** How many samples at a time keep a device busy. */
export function usualBatchSize({ dit }: ModelConfig): number {
  return dit.hiddenSize > BATCH.wide ? BATCH.large : BATCH.small;
}

/** How often the host waits for the device to catch up, and lets other tasks run, in milliseconds. */
const SYNC_EVERY = 1000;

/** Waits for the device and lets other tasks run, where that is some time ago. */
function regularly(): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < SYNC_EVERY) return;
    await currentDevice().backend.sync();
    await new Promise((resolve) => setTimeout(resolve)); // a CPU computes in this thread
    last = performance.now();
  };
}

/** A model with what else it takes to sample images. */
export class ImageSampler implements Disposable {
  /** What the model is. */
  readonly config: ModelConfig;
  /** The network, which the sampler disposes of. */
  readonly model: DiT;
  /** The process that it is trained for. */
  readonly process: Process;
  /** Decodes latents; null for a model of pixels, and to show latents themselves. */
  readonly #vae: AutoencoderKL | null;
  /** Over all samples: calls that are short would never let a signal through, one by one. */
  readonly #catchUp = regularly();

  /**
   * Samples in eval mode with the weights that the model has at the time.
   *
   * @param vae Null for a model of pixels, and to show latents themselves.
   */
  constructor(config: ModelConfig, { model, process }: BuiltModel, vae: AutoencoderKL | null) {
    this.config = config;
    this.model = model;
    this.process = process;
    this.#vae = vae;
  }

  /**
   * Loads weights tensor by tensor, so that file and model never stand in memory together.
   *
   * @param vae Disposed of with the sampler.
   * @throws {StateDictError} where the weights do not fit the configuration.
   */
  static async load(
    weights: { readonly config: ModelConfig; readonly source: TensorSource },
    vae: AutoencoderKL | null,
    options: {
      dtype?: "f32" | "f16";
      onProgress?: (done: number, total: number) => void;
    } = {},
  ): Promise<ImageSampler> {
    const { dtype = "f32", onProgress } = options;
    const built = buildModel(weights.config, { dtype });
    try {
      await loadWeights(built.model, weights.source, onProgress ? { onProgress } : {});
    } catch (error) {
      built.model.dispose();
      throw error;
    }
    return new ImageSampler(weights.config, built, vae);
  }

  /**
   * Loads the averaged weights of a checkpoint of `deno task train`.
   *
   * @param file Closed once the weights are loaded.
   * @param vae What decodes the latents of a latent model; they are shown as they are without it.
   * @throws {ConfigError} where it is no such checkpoint.
   */
  static async fromCheckpoint(
    file: SafetensorsFile,
    vae: AutoencoderKL | null = null,
    options: Parameters<typeof ImageSampler.load>[2] = {},
  ): Promise<ImageSampler> {
    using checkpoint = Checkpoint.of(file, DIT);
    const source = mapSource(checkpoint.section("ema"), file.name);
    return await ImageSampler.load({ config: checkpoint.header.config, source }, vae, options);
  }

  /**
   * Samples images.
   *
   * @param numbers Which samples, or the first of as many as there are labels.
   * @param labels The class of each.
   * @param onStep Called after each step with the number of steps taken.
   */
  async sample(
    numbers: number | readonly number[],
    labels: readonly number[],
    settings: SampleSettings,
    onStep: (taken: number) => void = () => {},
  ): Promise<SampledImages> {
    using _ = scope("samples");
    const { steps, frames, seed } = settings;
    const draws = labels.map((label, i): Draw => {
      return { label, seed, stream: typeof numbers === "number" ? numbers + i : numbers[i]! };
    });
    const shown = Array.from(
      { length: frames },
      (_, i) => Math.max(0, Math.round((i + 1) / frames * steps) - 1),
    );
    const kept: Tensor[] = [];
    const catchUp = this.#catchUp;
    for await (const { sample, step } of this.steps(draws, settings)) {
      for (const at of shown) if (at === step) kept.push(detach(sample));
      await catchUp();
      onStep(step + 1);
    }
    return await this.images(kept, { catchUp });
  }

  /**
   * Takes the steps of samples, each when the one before is done with. The model is in eval mode
   * meanwhile; breaking off frees everything.
   */
  async *steps(
    draws: readonly Draw[],
    settings: Omit<SampleSettings, "seed" | "frames">,
  ): AsyncGenerator<SamplingStep, void> {
    const { latents } = this.config;
    const { sampler, steps, eta } = settings;
    const rows = this.model.yEmbedder.embeddingTable.weight.shape[0]!;
    const labels = outsideScopes(() => labelsOf(draws, rows));
    const guidance = outsideScopes(() => this.#guidance(labels, settings));
    const training = Array.from(this.model.modules(), (m) => [m, m.training] as const);
    this.model.eval();
    try {
      yield* sampleProgressive(
        this.process,
        this.#sampled(settings.internalScale),
        sampleShape(this.config, draws.length),
        {
          sampler,
          steps,
          eta,
          modelKwargs: { y: labels },
          noiseFn: noiseOf(draws),
          clipDenoised: latents === null, // latents have no limits, pixels have
          ...(guidance ? { guidance } : {}),
        },
      );
    } finally {
      for (const [m, before] of training) m.training = before;
      labels.dispose();
      guidance?.nullKwargs.y.dispose();
    }
  }

  /** The model, or what it predicts moved away from its early head: early + scale (out - early). */
  #sampled(scale = 1): ModelFunction<{ y: Tensor }> {
    const { model } = this;
    return (x, t, { y }) => {
      if (scale === 1) return inItsPrecision(model, () => cast(model.forward(x, t, y), "f32"));
      const { out, early } = inItsPrecision(model, () => model.forwardHeads(x, t, y));
      return guide(cast(out, "f32"), cast(early, "f32"), scale, x.shape[1]!);
    };
  }

  #guidance(
    labels: Tensor,
    settings: Omit<SampleSettings, "seed" | "frames">,
  ): ClassifierFreeOptions<{ y: Tensor }> & { nullKwargs: { y: Tensor } } | null {
    const { cfgScale: scale, cfgChannels: guidedChannels, cfgInterval } = settings;
    const { nullClass } = this.config;
    if (scale === 1 || nullClass === null) return null;
    const interval = cfgInterval ? { interval: cfgInterval } : {};
    return { scale, guidedChannels, nullKwargs: { y: nullLabels(labels, nullClass) }, ...interval };
  }

  /**
   * Reads samples back as images, through the autoencoder, one after the other, if there is one.
   *
   * @param frames Samples [N, C, S, S] each; images come as those of the first sample in all frames,
   * then those of the second, and so on.
   */
  async images(
    frames: readonly Tensor[],
    options: {
      /** Whether latents are shown in false colours, though there is an autoencoder. */
      inFalseColours?: boolean;
      /** Awaited after each image that is decoded. */
      catchUp?: () => Promise<void>;
    } = {},
  ): Promise<SampledImages> {
    const vae = options.inFalseColours ? null : this.#vae;
    const isColoured = this.config.latents !== null && vae === null;
    const count = frames[0]?.shape[0] ?? 0;
    const read: OneImage[] = []; // a frame's, one after the other
    for (const frame of frames) {
      if (vae === null) { // all of a frame at once: each read waits for the device
        read.push(...samplesOf(await frame.data(), frame.shape, isColoured));
        continue;
      }
      for (let k = 0; k < count; k++) {
        using _ = scope("image");
        const image = this.#decoded(vae, slice(frame, 0, { start: k, end: k + 1 }));
        read.push(...samplesOf(await image.data(), image.shape, false));
        await options.catchUp?.();
      }
    }
    const { channels, height, width } = read[0]!;
    const size = channels * height * width;
    const images = new Float32Array(read.length * size);
    read.forEach(({ data }, i) => {
      const [frame, k] = [Math.floor(i / count), i % count];
      images.set(data, (k * frames.length + frame) * size);
    });
    return { images, channels, height, width };
  }

  #decoded(vae: AutoencoderKL, latents: Tensor): Tensor {
    const { scalingFactor } = this.config.latents!;
    return noGrad(() => vae.decode(div(latents, scalingFactor)));
  }

  /** Frees the model and the autoencoder. */
  [Symbol.dispose](): void {
    this.model.dispose();
    this.#vae?.dispose();
  }
}

/** An image [C, H, W]. */
interface OneImage {
  readonly data: Float32Array;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** The images of a frame [N, C, H, W], in false colours or as they are. */
function samplesOf(
  elements: ArrayLike<number>,
  [count, channels, height, width]: readonly number[],
  inFalseColours: boolean,
): OneImage[] {
  const all = Float32Array.from(elements);
  const size = all.length / count!;
  return Array.from({ length: count! }, (_, k) => {
    const data = all.subarray(k * size, (k + 1) * size);
    return {
      data: inFalseColours ? falseColours(data, channels!) : data,
      channels: inFalseColours ? 3 : channels!,
      height: height!,
      width: width!,
    };
  });
}

/** What the latent channels of Stable Diffusion's autoencoder look like, about: [C][R, G, B]. */
const LATENT_COLOURS = [
  [0.298, 0.207, 0.208],
  [0.187, 0.286, 0.173],
  [-0.158, 0.189, 0.264],
  [-0.184, -0.271, -0.473],
] as const;

/** Latents [C, h, w] as a small image [3, h, w], by a linear map. */
function falseColours(latents: Float32Array, channels: number): Float32Array<ArrayBuffer> {
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
