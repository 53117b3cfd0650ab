/**
 * The autoencoder that turns images into latents and back: AutoencoderKL of latent diffusion
 * (arXiv 2112.10752), as used by DiT. Weights are named as in diffusers; files of latent diffusion
 * are read through `asVae` of `@dit/core/io`.
 */
import { isRecording, requiresGrad } from "../autograd/mod.ts";
import { Conv2d, Module, tidy } from "../nn/mod.ts";
import { GradientError, scope, ShapeError, shapeText, type Tensor } from "../tensor/mod.ts";
import { type AutoencoderKLOptions, checkedOptions } from "./config.ts";
import { Decoder, Encoder } from "./coders.ts";
import { DiagonalGaussian } from "./gaussian.ts";
import { tiled } from "./tiling.ts";

/** How large images are cut up. */
export interface TilingOptions {
  /** Width and height of a tile in pixels of the image; larger images are cut. */
  size: number;
  /** Part of a tile that it shares with the next; 0.25. */
  overlap?: number;
}

/** An autoencoder with a normal distribution in the middle. */
export class AutoencoderKL extends Module {
  /** Images [N, C, H, W] to [N, 2 latent channels, h, w] */
  encoder: Encoder;
  /** Latents [N, latent channels, h, w] to images */
  decoder: Decoder;
  /** 1x1 after the encoder */
  quantConv: Conv2d;
  /** 1x1 before the decoder */
  postQuantConv: Conv2d;
  /**
   * Where set, images larger than a tile are coded in tiles that are blended: little memory for
   * any size, at the cost of small differences, since norms and attention see one tile at a time.
   */
  tiling: TilingOptions | null = null;
  /** The shape of this model, defaults filled in. */
  readonly options: Readonly<Required<AutoencoderKLOptions>>;

  /**
   * A model with fresh weights; nothing is drawn inside `withoutInit`.
   *
   * @throws {ShapeError} where sizes do not fit each other.
   */
  constructor(options: AutoencoderKLOptions = {}) {
    super();
    const config = this.options = checkedOptions(options);
    const { latentChannels } = config;
    this.encoder = new Encoder(config);
    this.decoder = new Decoder(config);
    this.quantConv = new Conv2d(2 * latentChannels, 2 * latentChannels, 1);
    this.postQuantConv = new Conv2d(latentChannels, latentChannels, 1);
  }

  /** Pixels of the image for a latent, along an edge; 8 for the usual four levels. */
  get factor(): number {
    return 2 ** (this.options.blockOutChannels.length - 1);
  }

  /** What latents are multiplied by before a diffusion model sees them. */
  get scalingFactor(): number {
    return this.options.scalingFactor;
  }

  /**
   * The distribution of the latents of images, not yet multiplied by `scalingFactor`.
   *
   * @param x [N, C, H, W] in [-1, 1], H and W multiples of `factor`.
   * @throws {ShapeError} where x has other channels, or sizes that are no multiples.
   */
  encode(x: Tensor): DiagonalGaussian {
    const { inChannels, latentChannels } = this.options;
    const { factor } = this;
    const [, c, h, w] = x.shape;
    if (x.rank !== 4 || c !== inChannels || h! % factor !== 0 || w! % factor !== 0) {
      throw new ShapeError(
        `AutoencoderKL.encode: expected images [N, ${inChannels}, H, W], H and W multiples of ` +
          `${factor}, but got ${shapeText(x.shape)}`,
      );
    }
    using s = scope("AutoencoderKL");
    const whole = (x: Tensor) => tidy(() => this.quantConv.forward(this.encoder.forward(x)));
    const moments = this.#inTiles(x, 1, 2 * latentChannels, 1 / factor, whole);
    const posterior = new DiagonalGaussian(moments);
    s.keep([posterior.mean, posterior.logvar]);
    return posterior;
  }

  /**
   * Images from latents that are divided by `scalingFactor` already.
   *
   * @param z [N, latent channels, h, w]
   * @returns [N, C, factor h, factor w], about in [-1, 1].
   * @throws {ShapeError} where z has other channels.
   */
  decode(z: Tensor): Tensor {
    const { latentChannels, outChannels } = this.options;
    if (z.rank !== 4 || z.shape[1] !== latentChannels) {
      throw new ShapeError(
        `AutoencoderKL.decode: expected latents [N, ${latentChannels}, h, w] but got ${
          shapeText(z.shape)
        }`,
      );
    }
    const whole = (z: Tensor) => tidy(() => this.decoder.forward(this.postQuantConv.forward(z)));
    return this.#inTiles(z, this.factor, outChannels, this.factor, whole);
  }

  /** Images x [N, C, H, W] through the most likely latents and back. */
  forward(x: Tensor): Tensor {
    return tidy(() => this.decode(this.encode(x).mode()));
  }

  /** @param pixels Of the image for an element of x, along an edge. */
  #inTiles(
    x: Tensor,
    pixels: number,
    channels: number,
    scale: number,
    run: (x: Tensor) => Tensor,
  ): Tensor {
    if (!this.tiling) return run(x);
    const { size, overlap = 0.25 } = this.tiling;
    if (!(size >= this.factor) || !(overlap >= 0 && overlap < 1)) {
      throw new RangeError(
        `AutoencoderKL: expected tiles of ${this.factor} pixels or more that overlap by 0 to 1 ` +
          `but got ${size} and ${overlap}`,
      );
    }
    const step = this.factor / pixels; // tiles begin at whole latents
    const tile = Math.floor(size / this.factor) * step;
    if (x.shape[2]! <= tile && x.shape[3]! <= tile) return run(x);
    if (isRecording() && (requiresGrad(x) || this.parameters().some((p) => p.requiresGrad))) {
      throw new GradientError(
        "AutoencoderKL: tiles are blended without gradients: expected noGrad(), or no tiling",
      );
    }
    const shared = Math.min(tile - step, Math.floor(tile * overlap / step) * step);
    return tiled(x, channels, scale, tile, shared, run);
  }
}
