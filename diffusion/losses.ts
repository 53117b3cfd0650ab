/** What training minimises, and the variational bound that a model reaches. */
import { scope, type Tensor } from "../tensor/mod.ts";
import { add, detach, mul, neg, noGrad, square, stack, sub, sum, where } from "../autograd/mod.ts";
import { bitsPerDimension, discretizedGaussianLogLikelihood, normalKl } from "./likelihood.ts";
import type { Model, ModelKwargs, ModelOutput } from "./model.ts";
import { drawNoise, type NoiseOptions, type NoiseSource } from "./noise.ts";
import {
  type ModelOptions,
  type PredictOptions,
  ReverseProcess,
  type ReverseProcessConfig,
} from "./reverse_process.ts";
import { keepAll, meanFlat } from "./tensors.ts";
import type { BatchTimesteps, Timesteps } from "./timesteps.ts";

/**
 * What training minimises: the squared error of the prediction, with the variational bound for the
 * variance where that is learned (L_hybrid of arXiv 2102.09672), or the bound itself. `rescaledMse`
 * scales the bound's part by T / 1000, `rescaledKl` the bound by T, to estimate the whole sum.
 */
export type LossType = "mse" | "rescaledMse" | "kl" | "rescaledKl";

/** What a {@link TrainableProcess} is made of. */
export interface TrainableProcessConfig extends ReverseProcessConfig {
  /** What training minimises. */
  lossType: LossType;
  /** Weighs squared errors by min(SNR, this) (Hang et al., arXiv 2303.09556; 5 there). */
  minSnrGamma?: number;
}

/** How a loss is to be computed. */
export type TrainingOptions<K extends object = ModelKwargs> = ModelOptions<K> & NoiseOptions;

/** Losses of a batch, one number a sample. */
export interface TrainingLosses {
  /** [N]: what to take the mean of and minimise. */
  loss: Tensor;
  /** [N]: squared error of the prediction, unweighted. */
  mse?: Tensor;
  /** [N]: the bound's part, which trains the variance only. */
  vb?: Tensor;
}

/** A step's term of the variational bound. */
export interface BoundTerm {
  /** [N]: bits per dimension. */
  output: Tensor;
  /** [N, C, ...] */
  predXstart: Tensor;
}

/** The variational bound, in bits per dimension. Column k belongs to timestep T - 1 - k. */
export interface BpdResult {
  /** [N]: the whole bound. */
  totalBpd: Tensor;
  /** [N]: its part that no model changes. */
  priorBpd: Tensor;
  /** [N, T]: the bound's term of each timestep. */
  vb: Tensor;
  /** [N, T]: squared error of the predicted x_0. */
  xstartMse: Tensor;
  /** [N, T]: squared error of the noise that follows from it. */
  mse: Tensor;
}

/** A reverse process with what is needed to train its model. */
export class TrainableProcess extends ReverseProcess {
  /** What training minimises. */
  readonly lossType: LossType;
  /** Weight limit of min-SNR; undefined where errors are not weighted. */
  readonly minSnrGamma: number | undefined;

  /**
   * A process that a model is trained for.
   *
   * @throws {RangeError} where the settings do not go together.
   */
  constructor(config: TrainableProcessConfig) {
    super(config);
    this.lossType = config.lossType;
    this.minSnrGamma = config.minSnrGamma;
    if (this.minSnrGamma === undefined) return;
    if (!(this.minSnrGamma > 0) || config.meanType === "previousX" || this.#isBound) {
      throw new RangeError(
        `minSnrGamma: expected a number above 0, a squared error and a model that predicts ` +
          `epsilon, xStart or v but got ${this.minSnrGamma}, ${this.lossType} and ${this.meanType}`,
      );
    }
  }

  /** Whether the loss is the variational bound itself. */
  get #isBound(): boolean {
    return this.lossType === "kl" || this.lossType === "rescaledKl";
  }

  /**
   * Losses of a batch for timesteps `t` (arXiv 2006.11239, algorithm 1). Take the mean of `loss`
   * and call `backward` on it.
   *
   * @param xStart x_0, [N, C, ...]
   * @throws {ShapeError} where the model's output does not fit.
   */
  trainingLosses<K extends object>(
    model: Model<K>,
    xStart: Tensor,
    t: Timesteps,
    options: TrainingOptions<K> = {},
  ): TrainingLosses {
    using s = scope("trainingLosses");
    const op = "trainingLosses";
    const at = this.timestepsOf(op, t, xStart);
    const noise = drawNoise(op, xStart.shape, xStart.device, options);
    const xT = this.qSample(xStart, at, noise);
    const output = this.output(op, model, xT, at, options.modelKwargs);
    if (this.#isBound) {
      const { output: bound } = this.#boundTerm(output, xStart, xT, at, false);
      return keepAll(s, {
        loss: this.lossType === "rescaledKl" ? mul(bound, this.numTimesteps) : bound,
      });
    }
    const target = this.#target(xStart, xT, at, noise);
    const mse = meanFlat(square(sub(target, output.main)));
    const weighted = this.#minSnrWeighted(mse, at, xStart);
    if (!output.variance) return keepAll(s, { loss: weighted, mse });
    // the bound teaches the variance and must not move the mean
    const frozen = { main: detach(output.main), variance: output.variance };
    const { output: bound } = this.#boundTerm(frozen, xStart, xT, at, false);
    const vb = this.lossType === "rescaledMse" ? mul(bound, this.numTimesteps / 1000) : bound;
    return keepAll(s, { loss: add(weighted, vb), mse, vb });
  }

  /** What the model's output is to be. */
  #target(xStart: Tensor, xT: Tensor, at: BatchTimesteps, noise: Tensor): Tensor {
    switch (this.meanType) {
      case "epsilon":
        return noise;
      case "xStart":
        return xStart;
      case "v":
        return this.velocity(xStart, at, noise);
      case "previousX":
        return this.qPosteriorMean(xStart, xT, at);
    }
  }

  /** Squared errors [N] times min(SNR, gamma), in terms of what is predicted (section 3.4 there). */
  #minSnrWeighted(mse: Tensor, at: BatchTimesteps, x: Tensor): Tensor {
    const gamma = this.minSnrGamma;
    if (gamma === undefined) return mse;
    const weight = (t: number): number => {
      const snr = this.alphasCumprod[t]! / (1 - this.alphasCumprod[t]!);
      const ofXstart = Math.min(snr, gamma);
      if (this.meanType === "xStart") return ofXstart;
      return ofXstart / (this.meanType === "v" ? snr + 1 : snr);
    };
    return mul(mse, at.gather(weight, x, 1));
  }

  /**
   * A timestep's term of the variational bound in bits per dimension: the KL divergence of
   * p(x_{t-1} | x_t) from the posterior, at t = 0 the negative log-likelihood of the decoder
   * (arXiv 2006.11239, eq. 5).
   *
   * @param xStart x_0, [N, C, ...]
   * @param xT x_t
   */
  vbTermsBpd<K extends object>(
    model: Model<K>,
    xStart: Tensor,
    xT: Tensor,
    t: Timesteps,
    { clipDenoised = true, modelKwargs }: Omit<PredictOptions<K>, "denoisedFn"> = {},
  ): BoundTerm {
    using s = scope("vbTermsBpd");
    const at = this.timestepsOf("vbTermsBpd", t, xStart);
    const output = this.output("vbTermsBpd", model, xT, at, modelKwargs);
    return keepAll(s, this.#boundTerm(output, xStart, xT, at, clipDenoised));
  }

  #boundTerm(
    output: ModelOutput,
    xStart: Tensor,
    xT: Tensor,
    at: BatchTimesteps,
    clipDenoised: boolean,
  ): BoundTerm {
    const { mean, logVariance, predXstart } = this.predictionOf(
      "vbTermsBpd",
      output,
      xT,
      at,
      { clipDenoised },
    );
    const decoder = (): Tensor => {
      const logScales = mul(logVariance, 0.5);
      return bitsPerDimension(
        neg(discretizedGaussianLogLikelihood(xStart, { means: mean, logScales })),
      );
    };
    if (at.uniform === 0) return { output: decoder(), predXstart };
    const posterior = this.qPosteriorMeanVariance(xStart, xT, at);
    const kl = bitsPerDimension(normalKl(posterior.mean, posterior.logVariance, mean, logVariance));
    if (!at.mayHold(0)) return { output: kl, predXstart };
    const isFirst = at.mapped(Array.from(this.betas, (_, t) => t === 0 ? 1 : 0), xStart);
    return { output: where(isFirst, decoder(), kl), predXstart };
  }

  /**
   * The whole variational bound of a batch, timestep by timestep from T - 1 down, without gradients
   * and without reading anything back.
   *
   * @param xStart x_0, [N, C, ...]
   * @param options `noiseFn` is asked for the noise of iteration 0, 1, ... that makes x_t.
   */
  calcBpdLoop<K extends object>(
    model: Model<K>,
    xStart: Tensor,
    options: Omit<PredictOptions<K>, "denoisedFn"> & NoiseSource = {},
  ): BpdResult {
    const columns: Tensor[][] = [[], [], []];
    using s = scope("calcBpdLoop");
    return noGrad(() => {
      for (let step = 0; step < this.numTimesteps; step++) {
        const t = this.numTimesteps - 1 - step;
        using inner = scope("calcBpdLoop step");
        const { shape, device } = xStart;
        const noise = drawNoise("calcBpdLoop", shape, device, { ...options, step });
        const xT = this.qSample(xStart, t, noise);
        const { output, predXstart } = this.vbTermsBpd(model, xStart, xT, t, options);
        const eps = this.predictEpsFromXstart(xT, t, predXstart);
        const errors = [
          meanFlat(square(sub(predXstart, xStart))),
          meanFlat(square(sub(eps, noise))),
        ];
        inner.keep([output, ...errors]).forEach((column, i) => columns[i]!.push(column));
      }
      const [vb, xstartMse, mse] = columns.map((list) => stack(list, 1)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      const priorBpd = this.priorBpd(xStart);
      const totalBpd = add(sum(vb, 1), priorBpd);
      return keepAll(s, { totalBpd, priorBpd, vb, xstartMse, mse });
    });
  }
}
