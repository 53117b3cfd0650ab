/** What the encoder says of an image: a normal distribution over latents. */
import { add, chunk, clamp, exp, mul, square, sub, sum } from "../autograd/mod.ts";
import {
  checkOptionNames,
  defaultGenerator,
  type Generator,
  randn,
  sameShape,
  ShapeError,
  shapeText,
  type Tensor,
} from "../tensor/mod.ts";

/** Bounds of the logarithm of the variance, as in latent diffusion. */
const LOGVAR = { min: -30, max: 20 } as const;

/** Where the noise of a sample comes from. */
export interface LatentSampleOptions {
  /** The noise itself, shaped like the mean; goes before `generator`. */
  noise?: Tensor;
  /** By default the one that `manualSeed` sets. */
  generator?: Generator;
}

/** A normal distribution with a mean and a variance of its own for every latent. */
export class DiagonalGaussian {
  /** [N, C, h, w] */
  readonly mean: Tensor;
  /** [N, C, h, w]: logarithm of the variance, clamped to [-30, 20] */
  readonly logvar: Tensor;

  /**
   * Takes the moments apart as an encoder gives them.
   *
   * @param moments [N, 2 C, h, w]: means, then logarithms of variances.
   */
  constructor(moments: Tensor) {
    if (moments.rank !== 4 || moments.shape[1]! % 2 !== 0) {
      throw new ShapeError(
        `DiagonalGaussian: expected moments [N, 2 C, h, w] but got ${shapeText(moments.shape)}`,
      );
    }
    const [mean, logvar] = chunk(moments, 2, 1) as [Tensor, Tensor];
    this.mean = mean;
    this.logvar = clamp(logvar, LOGVAR.min, LOGVAR.max);
  }

  /** The standard deviation, [N, C, h, w]. */
  std(): Tensor {
    return exp(mul(this.logvar, 0.5));
  }

  /** The most likely latents: the mean. */
  mode(): Tensor {
    return this.mean;
  }

  /** Latents drawn from the distribution, [N, C, h, w]; gradients flow to mean and variance. */
  sample(options: LatentSampleOptions = {}): Tensor {
    checkOptionNames("DiagonalGaussian.sample", options, { noise: 1, generator: 1 });
    const { shape, device } = this.mean;
    const { generator = defaultGenerator() } = options;
    const noise = options.noise ?? randn(shape, { generator, device });
    if (!sameShape(noise.shape, shape)) {
      throw new ShapeError(
        `DiagonalGaussian.sample: expected noise ${shapeText(shape)} but got ${
          shapeText(noise.shape)
        }`,
      );
    }
    return add(this.mean, mul(this.std(), noise));
  }

  /** Kullback-Leibler divergence from the standard normal distribution, in nats: [N]. */
  kl(): Tensor {
    // (mean^2 + var - 1 - logvar) / 2, summed over a sample
    const variance = sub(exp(this.logvar), this.logvar);
    return mul(sum(sub(add(square(this.mean), variance), 1), [1, 2, 3]), 0.5);
  }
}
