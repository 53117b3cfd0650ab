/**
 * How x_t comes about: the forward process q, which adds Gaussian noise, with its tables and closed
 * forms (Ho et al., "Denoising diffusion probabilistic models", arXiv 2006.11239, section 2).
 */
import { scope, ShapeError, shapeText, Tensor } from "../tensor/mod.ts";
import { mul } from "../autograd/mod.ts";
import { combine, keepAll } from "./tensors.ts";
import { drawNoise, type NoiseOptions } from "./noise.ts";
import type { NoiseLevel } from "./process.ts";
import { respacedBetas } from "./respace.ts";
import { BatchTimesteps, type Timesteps } from "./timesteps.ts";

/** A diagonal Gaussian by element, all of the shape of the data. */
export interface GaussianMoments {
  /** Means. */
  mean: Tensor;
  /** Variances. */
  variance: Tensor;
  /** Logarithms of the variances, finite everywhere. */
  logVariance: Tensor;
}

/** A level without any noise: the data themselves. */
const DATA_LEVEL: NoiseLevel = { t: -1, modelTime: -1, alpha: 1, sigma: 0 };

/** A schedule of noise levels and q(x_t | x_0). Tables hold one float64 for each timestep. */
export class NoiseSchedule {
  /** Number of timesteps, T. */
  readonly numTimesteps: number;
  /** beta_t: variance added at step t. */
  readonly betas: Float64Array;
  /** alpha-bar_t: product of 1 - beta up to step t. */
  readonly alphasCumprod: Float64Array;
  /** alpha-bar of the step before; 1 before the first. */
  readonly alphasCumprodPrev: Float64Array;
  /** alpha-bar of the step after; 0 after the last. */
  readonly alphasCumprodNext: Float64Array;
  /** sqrt(alpha-bar_t): how much of x_0 is left in x_t. */
  readonly sqrtAlphasCumprod: Float64Array;
  /** sqrt(1 - alpha-bar_t): standard deviation of the noise in x_t. */
  readonly sqrtOneMinusAlphasCumprod: Float64Array;
  /** log(1 - alpha-bar_t) */
  readonly logOneMinusAlphasCumprod: Float64Array;
  /** sqrt(1 / alpha-bar_t) */
  readonly sqrtRecipAlphasCumprod: Float64Array;
  /** sqrt(1 / alpha-bar_t - 1): noise to signal, the sigma of Karras et al. (arXiv 2206.00364). */
  readonly sqrtRecipm1AlphasCumprod: Float64Array;
  /** beta-tilde_t: variance of q(x_{t-1} | x_t, x_0) (eq. 7). */
  readonly posteriorVariance: Float64Array;
  /** Its logarithm, with the second entry for the first, which is log 0; empty where T is 1. */
  readonly posteriorLogVarianceClipped: Float64Array;
  /** Weight of x_0 in the mean of q(x_{t-1} | x_t, x_0) (eq. 7). */
  readonly posteriorMeanCoef1: Float64Array;
  /** Weight of x_t in it. */
  readonly posteriorMeanCoef2: Float64Array;
  /** The timestep that the model is given for each: that of the process it is trained on. */
  readonly timestepMap: readonly number[];

  /**
   * The schedule of these betas.
   *
   * @param betas One a timestep.
   * @param timestepMap 0, 1, ... by default.
   * @throws {RangeError} where a beta lies outside (0, 1], or the map has another length.
   */
  constructor(betas: ArrayLike<number>, timestepMap?: readonly number[]) {
    const beta = this.betas = Float64Array.from(betas);
    const wrong = beta.find((b) => !(b > 0 && b <= 1));
    if (beta.length === 0 || wrong !== undefined) {
      throw new RangeError(
        `betas: expected numbers in (0, 1] but got ${wrong ?? "none"} (a linear schedule is ` +
          `scaled by 1000 / steps, so it needs 20 steps or more)`,
      );
    }
    this.numTimesteps = beta.length;
    this.timestepMap = timestepMap ?? Array.from(beta, (_, t) => t);
    if (this.timestepMap.length !== beta.length) {
      throw new RangeError(
        `timestepMap: expected ${beta.length} entries but got ${this.timestepMap.length}`,
      );
    }
    const alphas = beta.map((b) => 1 - b);
    let product = 1;
    const bar = this.alphasCumprod = alphas.map((a) => product *= a);
    const previous = this.alphasCumprodPrev = bar.map((_, t) => t === 0 ? 1 : bar[t - 1]!);
    this.alphasCumprodNext = bar.map((_, t) => bar[t + 1] ?? 0);
    this.sqrtAlphasCumprod = bar.map(Math.sqrt);
    this.sqrtOneMinusAlphasCumprod = bar.map((a) => Math.sqrt(1 - a));
    this.logOneMinusAlphasCumprod = bar.map((a) => Math.log(1 - a));
    this.sqrtRecipAlphasCumprod = bar.map((a) => Math.sqrt(1 / a));
    this.sqrtRecipm1AlphasCumprod = bar.map((a) => Math.sqrt(1 / a - 1));
    const variance = this.posteriorVariance = beta.map(
      (b, t) => b * (1 - previous[t]!) / (1 - bar[t]!),
    );
    this.posteriorLogVarianceClipped = beta.length > 1
      ? variance.map((v, t) => Math.log(t === 0 ? variance[1]! : v))
      : new Float64Array();
    this.posteriorMeanCoef1 = beta.map(
      (b, t) => b * Math.sqrt(previous[t]!) / (1 - bar[t]!),
    );
    this.posteriorMeanCoef2 = alphas.map(
      (a, t) => (1 - previous[t]!) * Math.sqrt(a) / (1 - bar[t]!),
    );
  }

  /** The schedule that visits only these timesteps (ascending), with the noise levels they have. */
  respaced(timesteps: readonly number[]): NoiseSchedule {
    return new NoiseSchedule(
      respacedBetas(this.alphasCumprod, timesteps),
      timesteps.map((t) => this.timestepMap[t]!),
    );
  }

  /** The noise level of a timestep; that of the data at -1, that of pure noise at T. */
  levelAt(t: number): NoiseLevel {
    if (t < 0) return DATA_LEVEL;
    if (t >= this.numTimesteps) return { t, modelTime: t, alpha: 0, sigma: 1 };
    return {
      t,
      modelTime: this.timestepMap[t]!,
      alpha: this.sqrtAlphasCumprod[t]!,
      sigma: this.sqrtOneMinusAlphasCumprod[t]!,
    };
  }

  /** The signal-to-noise ratio of a timestep. */
  snr(t: number): number {
    return this.alphasCumprod[t]! / (1 - this.alphasCumprod[t]!);
  }

  /** The timesteps of a batch like `x` [N, C, ...], checked. */
  timestepsOf(op: string, t: Timesteps, x: Tensor): BatchTimesteps {
    if (t instanceof BatchTimesteps) return t;
    if (x.rank < 2) {
      throw new ShapeError(`${op}: expected a batch [N, C, ...] but got ${shapeText(x.shape)}`);
    }
    return new BatchTimesteps(op, t, x.shape[0]!, this.numTimesteps);
  }

  /**
   * q(x_t | x_0) = N(sqrt(alpha-bar_t) x_0, (1 - alpha-bar_t) I) (eq. 4).
   *
   * @param xStart [N, C, ...]
   */
  qMeanVariance(xStart: Tensor, t: Timesteps): GaussianMoments {
    using s = scope("qMeanVariance");
    const at = this.timestepsOf("qMeanVariance", t, xStart);
    return keepAll(s, {
      mean: mul(at.gather(this.sqrtAlphasCumprod, xStart), xStart),
      variance: at.expand((i) => 1 - this.alphasCumprod[i]!, xStart),
      logVariance: at.expand(this.logOneMinusAlphasCumprod, xStart),
    });
  }

  /**
   * A sample of q(x_t | x_0): sqrt(alpha-bar_t) x_0 + sqrt(1 - alpha-bar_t) noise (eq. 4).
   *
   * @param xStart [N, C, ...]
   * @param noise The noise itself, or where it comes from.
   */
  qSample(xStart: Tensor, t: Timesteps, noise: Tensor | NoiseOptions = {}): Tensor {
    using s = scope("qSample");
    const at = this.timestepsOf("qSample", t, xStart);
    const source = noise instanceof Tensor ? { noise } : noise;
    const drawn = drawNoise("qSample", xStart.shape, xStart.device, source);
    const signal = at.gather(this.sqrtAlphasCumprod, xStart);
    return s.keep(
      combine(signal, xStart, at.gather(this.sqrtOneMinusAlphasCumprod, xStart), drawn),
    );
  }

  /** Mean of q(x_{t-1} | x_t, x_0) (eq. 7). */
  qPosteriorMean(xStart: Tensor, xT: Tensor, t: Timesteps): Tensor {
    using s = scope("qPosteriorMean");
    const at = this.timestepsOf("qPosteriorMean", t, xT);
    const [ofStart, ofT] = [this.posteriorMeanCoef1, this.posteriorMeanCoef2];
    return s.keep(combine(at.gather(ofStart, xT), xStart, at.gather(ofT, xT), xT));
  }

  /**
   * q(x_{t-1} | x_t, x_0), the posterior that the reverse process is held against (eq. 6 and 7).
   *
   * @throws {RangeError} where there is one timestep only, whose posterior has no variance.
   */
  qPosteriorMeanVariance(xStart: Tensor, xT: Tensor, t: Timesteps): GaussianMoments {
    using s = scope("qPosteriorMeanVariance");
    const at = this.timestepsOf("qPosteriorMeanVariance", t, xT);
    this.checkHasVariance("qPosteriorMeanVariance");
    return keepAll(s, {
      mean: this.qPosteriorMean(xStart, xT, at),
      variance: at.expand(this.posteriorVariance, xT),
      logVariance: at.expand(this.posteriorLogVarianceClipped, xT),
    });
  }

  /** Throws where a single timestep leaves the posterior without a variance. */
  checkHasVariance(op: string): void {
    if (this.numTimesteps < 2) {
      throw new RangeError(
        `${op}: expected 2 or more timesteps but got 1, whose posterior has no variance`,
      );
    }
  }

  /** x_0 from the noise in x_t: sqrt(1 / alpha-bar_t) x_t - sqrt(1 / alpha-bar_t - 1) eps. */
  predictXstartFromEps(xT: Tensor, t: Timesteps, eps: Tensor): Tensor {
    using s = scope("predictXstartFromEps");
    const at = this.timestepsOf("predictXstartFromEps", t, xT);
    const [ofX, ofEps] = [this.sqrtRecipAlphasCumprod, this.sqrtRecipm1AlphasCumprod];
    return s.keep(combine(at.gather(ofX, xT), xT, at.gather((i) => -ofEps[i]!, xT), eps));
  }

  /** The noise in x_t from x_0: the inverse of {@link predictXstartFromEps}. */
  predictEpsFromXstart(xT: Tensor, t: Timesteps, xStart: Tensor): Tensor {
    using s = scope("predictEpsFromXstart");
    const at = this.timestepsOf("predictEpsFromXstart", t, xT);
    const [ofX, ofEps] = [this.sqrtRecipAlphasCumprod, this.sqrtRecipm1AlphasCumprod];
    const toX = at.gather((i) => ofX[i]! / ofEps[i]!, xT);
    return s.keep(combine(toX, xT, at.gather((i) => -1 / ofEps[i]!, xT), xStart));
  }

  /** x_0 from the velocity in x_t: sqrt(alpha-bar_t) x_t - sqrt(1 - alpha-bar_t) v. */
  predictXstartFromV(xT: Tensor, t: Timesteps, v: Tensor): Tensor {
    using s = scope("predictXstartFromV");
    const at = this.timestepsOf("predictXstartFromV", t, xT);
    const [signal, noise] = [this.sqrtAlphasCumprod, this.sqrtOneMinusAlphasCumprod];
    return s.keep(combine(at.gather(signal, xT), xT, at.gather((i) => -noise[i]!, xT), v));
  }

  /**
   * v = sqrt(alpha-bar_t) noise - sqrt(1 - alpha-bar_t) x_0, what a v-prediction aims at (Salimans
   * & Ho, "Progressive distillation", arXiv 2202.00512).
   */
  velocity(xStart: Tensor, t: Timesteps, noise: Tensor): Tensor {
    using s = scope("velocity");
    const at = this.timestepsOf("velocity", t, xStart);
    const [ofNoise, ofStart] = [this.sqrtAlphasCumprod, this.sqrtOneMinusAlphasCumprod];
    const toStart = at.gather((i) => -ofStart[i]!, xStart);
    return s.keep(combine(at.gather(ofNoise, xStart), noise, toStart, xStart));
  }
}
