/** What `deno task train-vae` trains: an autoencoder, to reconstruct images from latents. */
import {
  abs,
  add,
  autocast,
  cast,
  concat,
  detach,
  mean,
  mul,
  noGrad,
  square,
  sub,
} from "@dit/core/autograd";
import { cosineSchedule, warmupSchedule } from "@dit/core/nn";
import { Generator, withGenerator } from "@dit/core/tensor";
import { AutoencoderKL, DiagonalGaussian } from "@dit/core/vae";
import type { ImageFolder } from "@dit/data";
import { join } from "@std/path";
import type { World } from "../../distributed/world.ts";
import type { BatchPart } from "../../run/batch_parts.ts";
import type { RunFolder } from "../../run/folder.ts";
import { ModelTrainee, type PartLoss, shareOf } from "../../run/model_trainee.ts";
import { COMMON_CURVES } from "../../run/report.ts";
import type { TraineeKind } from "../../run/trainee.ts";
import { writeWhole } from "../../shared/files.ts";
import { shellWord } from "../../shared/shell.ts";
import type { VaeSettings } from "./flags.ts";
import { isFormer } from "./former.ts";
import { measureLatents, reconstructionGrid, saveAutoencoder } from "./result.ts";

/** How its runs look. The folder is the autoencoder's, and its config.json diffusers'. */
export const VAE_KIND: TraineeKind<object> = {
  trainee: "autoencoder",
  command: "train-vae",
  readConfig: ({ values }) => values,
  names: {
    description: "run.json",
    pictures: "reconstructions",
    former: "training.safetensors",
    isFormer,
  },
  pictures: "Reconstructions",
  curves: [
    {
      title: "Loss",
      unit: "of reconstructions",
      value: ({ loss }) => loss,
      logarithmic: true,
      smooth: true,
    },
    {
      title: "PSNR",
      unit: "dB, of a batch by sampled latents",
      value: ({ mse }) => mse === undefined ? undefined : psnr(mse),
      smooth: true,
    },
    {
      title: "Divergence",
      unit: "nats a value of a latent",
      value: ({ kl }) => kl,
      logarithmic: true,
    },
    ...COMMON_CURVES,
  ],
  figures: ({ loss, kl, mse, lr }) =>
    `loss ${loss.toFixed(4)}, kl ${kl?.toPrecision(3)} nats, ` +
    `${mse === undefined ? "" : `PSNR ${psnr(mse).toFixed(1)} dB, `}lr ${lr.toExponential(2)}`,
};

/** The last reconstructions, in the run's folder. */
const GRID_FILE = "reconstructions.png";

/** Random streams of a run's seed, one a purpose. */
const STREAMS = { weights: 0, noise: 1 } as const;

/** An autoencoder in training. */
export class VaeTrainee extends ModelTrainee<VaeSettings, AutoencoderKL> {
  readonly kind = VAE_KIND;
  readonly name = "autoencoder";
  override readonly caption = "Rows of images, below each what the autoencoder makes of it.";
  /** What pictures are made of; null for none. */
  readonly #images: ImageFolder | null;
  readonly #noise: Generator;

  /**
   * Fresh weights and a fresh optimiser on the current device.
   *
   * @param world The ranks that share every batch; none but this one by default.
   */
  constructor(settings: VaeSettings, images: ImageFolder | null, world?: World) {
    const { seed, steps, warmup } = settings;
    const noise = new Generator(seed, STREAMS.noise, shareOf(world));
    const after = cosineSchedule(Math.max(1, steps - warmup));
    super(settings, {
      model: buildAutoencoder(settings),
      schedule: warmupSchedule(warmup, after),
      emaWarmup: true,
      generators: { noise },
      world,
    });
    this.#images = images;
    this.#noise = noise;
  }

  /** The shape of the model. */
  get config(): object {
    return this.model.options;
  }

  /**
   * Reconstruction + klWeight * divergence, as latent diffusion trains its autoencoder (arXiv
   * 2112.10752, appendix G) before there is a discriminator. Both are per value of the image, so
   * that the weight means the same for every size.
   *
   * @param part `images` [n, C, S, S]
   */
  protected loss({ images: x }: BatchPart): PartLoss {
    const { model, settings } = this;
    const { loss, klWeight, mixedPrecision } = settings;
    const precision = mixedPrecision === "fp16" ? "f16" : null;
    const [, ...pixels] = x.shape;
    const posterior = single(autocast(precision, () => model.encode(x)));
    const [, ...latents] = posterior.mean.shape;
    const z = posterior.sample({ generator: this.#noise });
    const off = autocast(precision, () => sub(model.decode(z), x));
    const reconstruction = mean(loss === "l1" ? abs(off) : square(off));
    const nats = mean(posterior.kl());
    return {
      loss: add(reconstruction, mul(mul(nats, 1 / product(pixels)), klWeight)),
      shown: reconstruction,
      others: noGrad(() => ({
        kl: mul(detach(nats), 1 / product(latents)),
        mse: loss === "l2" ? detach(reconstruction) : mean(square(detach(off))),
      })),
    };
  }

  /** Images and their reconstructions by the averaged weights. */
  async draw(): Promise<Uint8Array<ArrayBuffer> | null> {
    const images = this.#images;
    return images && await this.averaged(() => reconstructionGrid(this.model, images));
  }

  /** Measures the latents and writes the averaged weights, as diffusers reads them. */
  async finish(folder: RunFolder): Promise<string[]> {
    const { model, settings } = this;
    const images = this.#images!;
    const png = await this.draw();
    if (png) await writeWhole(folder.file(GRID_FILE), png);
    return await this.averaged(async () => {
      const measure = await measureLatents(model, images, settings.batchSize);
      const { std, kl, squaredError } = measure;
      const path = await saveAutoencoder(folder.path, model, model.stateDict(), measure);
      return [
        `latents  deviation ${std.toPrecision(4)}, so scaling factor ` +
        `${(1 / std).toPrecision(5)}; ${kl.toPrecision(3)} nats a value; ` +
        `PSNR ${psnr(squaredError).toFixed(1)} dB, on ${measure.images} images`,
        `written  ${path}; look at ${join(folder.path, GRID_FILE)}`,
        `make latents with: deno task extract-features --data ${shellWord(settings.data)} ` +
        `--image-size ${settings.imageSize} --vae ${shellWord(folder.path)}`,
      ];
    });
  }
}

function buildAutoencoder(settings: VaeSettings): AutoencoderKL {
  const { seed, channels, latentChannels, layers, normGroups, imageSize } = settings;
  const generator = new Generator(seed, STREAMS.weights);
  return withGenerator(generator, () =>
    new AutoencoderKL({
      blockOutChannels: channels,
      latentChannels,
      layersPerBlock: layers,
      normNumGroups: normGroups,
      sampleSize: imageSize,
    }));
}

/** A posterior in single precision: variances are exponentials, which overflow in half. */
function single(posterior: DiagonalGaussian): DiagonalGaussian {
  const { mean, logvar } = posterior;
  if (mean.dtype === "f32") return posterior;
  return new DiagonalGaussian(cast(concat([mean, logvar], 1), "f32"));
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((a, b) => a * b, 1);
}

/** Decibels of a mean squared error of values in [-1, 1]. */
function psnr(squaredError: number): number {
  return 10 * Math.log10(4 / squaredError);
}
