/**
 * The reverse process p, which a model guides: what the model's output says of x_0 and of
 * p(x_{t-1} | x_t), and one step of it.
 */
import { scope, type Tensor } from "../tensor/mod.ts";
import { add, addcmul, clamp, exp, mul } from "../autograd/mod.ts";
import { ForwardProcess, type GaussianMoments } from "./forward_process.ts";
import { callModel, type Model, type ModelKwargs, type ModelOutput, splitOutput } from "./model.ts";
import { drawNoise, type NoiseOptions } from "./noise.ts";
import { combine, keepAll } from "./tensors.ts";
import type { BatchTimesteps, Timesteps } from "./timesteps.ts";

/**
 * What the model predicts: the noise in x_t, x_0, the velocity of arXiv 2202.00512, or x_{t-1}.
 * `previousX` is known to the squared error only: as in the original, whatever else reads the
 * model's output takes it for the noise.
 */
export type MeanType = "epsilon" | "xStart" | "v" | "previousX";

/**
 * The variance of p(x_{t-1} | x_t): beta-tilde_t or beta_t (the two choices of arXiv 2006.11239,
 * section 3.2), or learned as a place between their logarithms (arXiv 2102.09672, eq. 15).
 * `learned` is the same as `learnedRange`, as in the original.
 */
export type VarType = "fixedSmall" | "fixedLarge" | "learnedRange" | "learned";

/** How a model is to be called. */
export interface ModelOptions<K extends object = ModelKwargs> {
  /** Further inputs of the model, such as `{ y }`. */
  modelKwargs?: K;
}

/** What is done to the predicted x_0. */
export interface XstartOptions {
  /** Limits the predicted x_0 to [-1, 1]; true by default. */
  clipDenoised?: boolean;
  /** Changes the predicted x_0, before it is clipped. */
  denoisedFn?: (xStart: Tensor) => Tensor;
}

/** How x_0 is to be predicted. */
export type PredictOptions<K extends object = ModelKwargs> = ModelOptions<K> & XstartOptions;

/**
 * Gradient of log p(y | x_t) by x_t, for guidance by a classifier.
 *
 * @param t As a model sees it.
 */
export type CondFn<K extends object = ModelKwargs> = (
  x: Tensor,
  t: Tensor,
  kwargs: K,
) => Tensor;

/** How a step is to be taken. */
export interface StepOptions<K extends object = ModelKwargs>
  extends ModelOptions<K>, XstartOptions {
  /** Guides the step. */
  condFn?: CondFn<K>;
}

/** A step of DDIM. */
export interface DdimOptions<K extends object = ModelKwargs> extends StepOptions<K> {
  /** 0 (the default) is deterministic, 1 as random as DDPM. */
  eta?: number;
}

/** p(x_{t-1} | x_t) and the x_0 it stands on. */
export interface ModelPrediction extends GaussianMoments {
  /** [N, C, ...] */
  predXstart: Tensor;
}

/** A step taken. */
export interface StepResult {
  /** x_{t-1}, or x_{t+1} of a reverse step: [N, C, ...]. */
  sample: Tensor;
  /** The x_0 predicted on the way: [N, C, ...]. */
  predXstart: Tensor;
}

/** What a {@link ReverseProcess} is made of. */
export interface ReverseProcessConfig {
  /** Variance that each step adds. */
  betas: ArrayLike<number>;
  /** What the model predicts. */
  meanType: MeanType;
  /** Where the variance comes from. */
  varType: VarType;
  /** Timesteps of the process the model was trained on; 0, 1, ... by default. */
  timestepMap?: readonly number[];
}

/** The reverse process with its one-step methods. */
export class ReverseProcess extends ForwardProcess {
  /** What the model predicts. */
  readonly meanType: MeanType;
  /** Where the variance comes from. */
  readonly varType: VarType;
  /** What the model is told for each timestep: those of the process it was trained on. */
  readonly timestepMap: readonly number[];

  /**
   * A process with these betas.
   *
   * @throws {RangeError} where the betas or the map do not fit.
   */
  constructor({ betas, meanType, varType, timestepMap }: ReverseProcessConfig) {
    super(betas);
    this.meanType = meanType;
    this.varType = varType;
    this.timestepMap = timestepMap ?? Array.from(betas, (_, t) => t);
    if (this.timestepMap.length !== this.numTimesteps) {
      throw new RangeError(
        `timestepMap: expected ${this.numTimesteps} entries but got ${this.timestepMap.length}`,
      );
    }
  }

  /** Whether the model's output has channels for the variance. */
  get learnsVariance(): boolean {
    return this.varType === "learned" || this.varType === "learnedRange";
  }

  /** Calls the model and takes its output apart. */
  protected output<K extends object>(
    op: string,
    model: Model<K>,
    x: Tensor,
    at: BatchTimesteps,
    kwargs: K | undefined,
  ): ModelOutput {
    const t = at.mapped(this.timestepMap, x);
    const told = at.host?.map((i) => this.timestepMap[i]!);
    const out = callModel(model, x, t, kwargs ?? {} as K, told);
    return splitOutput(op, out, x.shape, this.learnsVariance);
  }

  /** The x_0 that the main part of a model's output means. */
  protected xStartOf(
    { main }: ModelOutput,
    x: Tensor,
    at: BatchTimesteps,
    { denoisedFn, clipDenoised = true }: XstartOptions,
  ): Tensor {
    let xStart: Tensor;
    switch (this.meanType) {
      case "xStart":
        xStart = main;
        break;
      case "v":
        xStart = this.predictXstartFromV(x, at, main);
        break;
      default:
        xStart = this.predictXstartFromEps(x, at, main);
    }
    if (denoisedFn) xStart = denoisedFn(xStart);
    return clipDenoised ? clamp(xStart, -1, 1) : xStart;
  }

  /** p(x_{t-1} | x_t) that a model's output means. */
  protected predictionOf(
    op: string,
    output: ModelOutput,
    x: Tensor,
    at: BatchTimesteps,
    options: XstartOptions,
  ): ModelPrediction {
    this.checkHasVariance(op);
    const predXstart = this.xStartOf(output, x, at, options);
    const mean = this.qPosteriorMean(predXstart, x, at);
    return { mean, predXstart, ...this.#variance(output.variance, x, at) };
  }

  #variance(
    learned: Tensor | undefined,
    x: Tensor,
    at: BatchTimesteps,
  ): { variance: Tensor; logVariance: Tensor } {
    const smallLog = this.posteriorLogVarianceClipped;
    if (learned) { // v from -1 (beta-tilde) to 1 (beta), between the logarithms
      const middle = at.gather((t) => (Math.log(this.betas[t]!) + smallLog[t]!) / 2, x);
      const half = at.gather((t) => (Math.log(this.betas[t]!) - smallLog[t]!) / 2, x);
      const logVariance = add(mul(learned, half), middle);
      return { variance: exp(logVariance), logVariance };
    }
    if (this.varType === "fixedSmall") {
      return {
        variance: at.expand(this.posteriorVariance, x),
        logVariance: at.expand(smallLog, x),
      };
    }
    // beta_t, but beta-tilde at the first step, which gives a better decoder likelihood
    const large = (t: number): number => t === 0 ? this.posteriorVariance[1]! : this.betas[t]!;
    return {
      variance: at.expand(large, x),
      logVariance: at.expand((t) => Math.log(large(t)), x),
    };
  }

  /**
   * p(x_{t-1} | x_t) by the model, and the x_0 it predicts.
   *
   * @param x x_t, [N, C, ...]
   * @throws {ShapeError} where the model's output does not fit.
   */
  pMeanVariance<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options: PredictOptions<K> = {},
  ): ModelPrediction {
    using s = scope("pMeanVariance");
    const at = this.timestepsOf("pMeanVariance", t, x);
    const output = this.output("pMeanVariance", model, x, at, options.modelKwargs);
    return keepAll(s, this.predictionOf("pMeanVariance", output, x, at, options));
  }

  /**
   * The x_0 that the model predicts, guided where there is a `condFn`: all that DDIM and the solvers
   * of the probability flow need of a model.
   *
   * @param x x_t, [N, C, ...]
   */
  predictXstart<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options: StepOptions<K> = {},
  ): Tensor {
    using s = scope("predictXstart");
    const at = this.timestepsOf("predictXstart", t, x);
    const output = this.output("predictXstart", model, x, at, options.modelKwargs);
    const predXstart = this.xStartOf(output, x, at, options);
    const { condFn, modelKwargs } = options;
    if (!condFn) return s.keep(predXstart);
    return s.keep(this.#guidedXstart(condFn, predXstart, x, at, modelKwargs));
  }

  /** Algorithm 2 of Dhariwal & Nichol, arXiv 2105.05233: eps - sqrt(1 - alpha-bar) gradient. */
  #guidedXstart<K extends object>(
    condFn: CondFn<K>,
    predXstart: Tensor,
    x: Tensor,
    at: BatchTimesteps,
    kwargs: K | undefined,
  ): Tensor {
    const gradient = condFn(x, at.mapped(this.timestepMap, x), kwargs ?? {} as K);
    const eps = this.predictEpsFromXstart(x, at, predXstart);
    const size = at.gather((t) => -this.sqrtOneMinusAlphasCumprod[t]!, x);
    return this.predictXstartFromEps(x, at, addcmul(eps, gradient, size));
  }

  /**
   * The mean of p(x_{t-1} | x_t) moved by variance times the classifier's gradient (algorithm 1 of
   * Dhariwal & Nichol, arXiv 2105.05233).
   */
  conditionMean<K extends object>(
    condFn: CondFn<K>,
    prediction: ModelPrediction,
    x: Tensor,
    t: Timesteps,
    { modelKwargs }: ModelOptions<K> = {},
  ): Tensor {
    using s = scope("conditionMean");
    const at = this.timestepsOf("conditionMean", t, x);
    const gradient = condFn(x, at.mapped(this.timestepMap, x), modelKwargs ?? {} as K);
    return s.keep(addcmul(prediction.mean, prediction.variance, gradient));
  }

  /**
   * The prediction with its score moved by the classifier's gradient, for DDIM (algorithm 2 of
   * Dhariwal & Nichol, arXiv 2105.05233).
   */
  conditionScore<K extends object>(
    condFn: CondFn<K>,
    prediction: ModelPrediction,
    x: Tensor,
    t: Timesteps,
    { modelKwargs }: ModelOptions<K> = {},
  ): ModelPrediction {
    using s = scope("conditionScore");
    const at = this.timestepsOf("conditionScore", t, x);
    const predXstart = this.#guidedXstart(condFn, prediction.predXstart, x, at, modelKwargs);
    const mean = this.qPosteriorMean(predXstart, x, at);
    s.keep([predXstart, mean]);
    return { ...prediction, predXstart, mean };
  }

  /**
   * A sample of p(x_{t-1} | x_t) (arXiv 2006.11239, algorithm 2). No noise is added at t = 0.
   *
   * @param x x_t, [N, C, ...]
   */
  pSample<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options: StepOptions<K> & NoiseOptions = {},
  ): StepResult {
    using s = scope("pSample");
    const at = this.timestepsOf("pSample", t, x);
    const prediction = this.pMeanVariance(model, x, at, options);
    const { logVariance, predXstart } = prediction;
    const { condFn } = options;
    const mean = condFn ? this.conditionMean(condFn, prediction, x, at, options) : prediction.mean;
    if (at.uniform === 0) return keepAll(s, { sample: mean, predXstart });
    const noise = drawNoise("pSample", x.shape, x.device, options);
    const deviation = exp(mul(logVariance, 0.5));
    const masked = at.mayHold(0) ? mul(at.gather((i) => i === 0 ? 0 : 1, x), noise) : noise;
    return keepAll(s, { sample: addcmul(mean, deviation, masked), predXstart });
  }

  /**
   * A step of DDIM (Song et al., arXiv 2010.02502, eq. 12, with sigma of eq. 16).
   *
   * @param x x_t, [N, C, ...]
   */
  ddimSample<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options: DdimOptions<K> & NoiseOptions = {},
  ): StepResult {
    using s = scope("ddimSample");
    const { eta = 0 } = options;
    if (!(eta >= 0 && eta <= 1)) {
      throw new RangeError(`ddimSample: expected eta in [0, 1] but got ${eta}`);
    }
    const at = this.timestepsOf("ddimSample", t, x);
    const predXstart = this.predictXstart(model, x, at, options);
    const eps = this.predictEpsFromXstart(x, at, predXstart);
    const [bar, previous] = [this.alphasCumprod, this.alphasCumprodPrev];
    const sigma = (i: number): number => {
      const posterior = (1 - previous[i]!) / (1 - bar[i]!);
      return eta * Math.sqrt(posterior) * Math.sqrt(1 - bar[i]! / previous[i]!);
    };
    const signal = at.gather((i) => Math.sqrt(previous[i]!), x);
    const direction = at.gather((i) => Math.sqrt(1 - previous[i]! - sigma(i) ** 2), x);
    const mean = combine(signal, predXstart, direction, eps);
    // sigma is 0 at t = 0
    if (eta === 0 || at.uniform === 0) return keepAll(s, { sample: mean, predXstart });
    const noise = drawNoise("ddimSample", x.shape, x.device, options);
    return keepAll(s, { sample: addcmul(mean, at.gather(sigma, x), noise), predXstart });
  }

  /**
   * A step of the deterministic DDIM towards more noise, x_t to x_{t+1}: encodes an image.
   *
   * @param x x_t, [N, C, ...]
   */
  ddimReverseSample<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options: StepOptions<K> = {},
  ): StepResult {
    using s = scope("ddimReverseSample");
    const at = this.timestepsOf("ddimReverseSample", t, x);
    const predXstart = this.predictXstart(model, x, at, options);
    const eps = this.predictEpsFromXstart(x, at, predXstart);
    const next = this.alphasCumprodNext;
    const signal = at.gather((i) => Math.sqrt(next[i]!), x);
    const noise = at.gather((i) => Math.sqrt(1 - next[i]!), x);
    return keepAll(s, { sample: combine(signal, predXstart, noise, eps), predXstart });
  }
}
