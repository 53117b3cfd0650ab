/**
 * Flow matching along straight lines (Lipman et al., arXiv 2210.02747; Liu et al., "Rectified flow",
 * arXiv 2209.03003), with the conventions of SiT (Ma et al., arXiv 2401.08740): time t goes from 0,
 * noise, to 1, the data; x_t = t x_0 + (1 - t) eps moves at the velocity dx/dt = x_0 - eps, and the
 * model is given t as it is.
 *
 * What is called x_0 here, as everywhere else, is the data: SiT's x_1.
 */
import { addcmul, clamp, mul, square, sub } from "../autograd/mod.ts";
import { checkOptionNames, scope, type Tensor } from "../tensor/mod.ts";
import { checkTimeShift, flowStops, FlowTimes, flowTimeSampler } from "./flow_times.ts";
import { callModel, type Model, splitOutput } from "./model.ts";
import { drawNoise } from "./noise.ts";
import type { Objective } from "./predictions.ts";
import {
  checkStepOptions,
  type NoiseLevel,
  type Process,
  type Spacing,
  type StepOptions,
  type TrainingLosses,
  type TrainingOptions,
} from "./process.ts";
import { combine, keepAll, meanFlat } from "./tensors.ts";
import type { Timesteps } from "./timesteps.ts";
import type { TimeOptions, TimestepSampler, TimestepSamplerName } from "./timestep_samplers.ts";

/** What a model of a flow can predict: the velocity (the usual), or x_0. */
export const FLOW_OBJECTIVES = ["v", "xstart"] as const satisfies readonly Objective[];

/** The time left to the data that errors of x_0 are divided by at least (Li & He, arXiv 2511.13720). */
const LEAST_LEFT = 0.05;

/** Settings of a {@link FlowMatching}. */
export interface FlowOptions {
  /**
   * What the model predicts: the velocity, `v` (the default), or x_0, whose loss is that of the
   * velocity too (arXiv 2511.13720).
   */
  objective?: Objective | undefined;
  /**
   * How far times are moved to the noise, in training and in sampling: sqrt(pixels / pixels of the
   * resolution that times are meant for) (Esser et al., arXiv 2403.03206, eq. 23); 1, the default,
   * moves nothing.
   */
  timeShift?: number | undefined;
  /**
   * Whether the model's output has as many channels again, which are left alone, as SiT's models
   * have them; false by default.
   */
  learnSigma?: boolean | undefined;
}

const OPTIONS: Readonly<Record<keyof FlowOptions, true>> = {
  objective: true,
  timeShift: true,
  learnSigma: true,
};

/**
 * The process.
 *
 * @example
 * ```ts
 * import { DiT, FlowMatching, Generator, init, sample, tensor } from "@dit/core";
 *
 * await init({ device: "wasm" });
 * const flow = new FlowMatching();
 * const model = new DiT({ inputSize: 8, hiddenSize: 32, depth: 1, numHeads: 2, learnSigma: false });
 * const latents = await sample(flow, model.eval(), [1, 4, 8, 8], {
 *   sampler: "heun",
 *   steps: 5,
 *   clipDenoised: false,
 *   generator: new Generator(1),
 *   modelKwargs: { y: tensor([3], [1], { dtype: "i32" }) },
 * });
 * ```
 */
export class FlowMatching implements Process {
  readonly name = "flow";
  readonly learnsVariance: boolean;
  readonly maxSteps: number = Infinity;
  /** What the model predicts. */
  readonly objective: (typeof FLOW_OBJECTIVES)[number];
  /** See {@link FlowOptions.timeShift}. */
  readonly timeShift: number;

  /**
   * A flow.
   *
   * @throws {RangeError} where a setting is out of range.
   */
  constructor(options: FlowOptions = {}) {
    checkOptionNames("FlowMatching", options, OPTIONS);
    const { objective = "v", timeShift = 1, learnSigma = false } = options;
    const known = FLOW_OBJECTIVES.find((name) => name === objective);
    if (!known) {
      throw new RangeError(
        `FlowMatching: expected objective ${FLOW_OBJECTIVES.join(", ")} but got ${objective}`,
      );
    }
    checkTimeShift(timeShift);
    this.objective = known;
    this.timeShift = timeShift;
    this.learnsVariance = learnSigma;
  }

  /**
   * Draws times in [0, 1], shifted: `uniform`, or `logit-normal` (Esser et al., arXiv 2403.03206,
   * section 3.1).
   *
   * @throws {RangeError} where there is no such distribution.
   */
  timestepSampler(name: TimestepSamplerName, options: TimeOptions = {}): TimestepSampler {
    return flowTimeSampler(name, options, this.timeShift);
  }

  /**
   * Squared errors of the velocity (arXiv 2210.02747, eq. 23 with sigma_min 0) of a batch at times
   * `t`. Take the mean of `loss` and call `backward` on it.
   *
   * @param xStart x_0, [N, C, ...]
   * @throws {ShapeError} where the model's output does not fit.
   * @throws {RangeError} where a time is not in [0, 1].
   */
  trainingLosses<K extends object>(
    model: Model<K>,
    xStart: Tensor,
    t: Timesteps,
    options: TrainingOptions<K> = {},
  ): TrainingLosses {
    const op = "trainingLosses";
    checkStepOptions(op, options);
    using s = scope(op);
    const times = new FlowTimes(op, t, xStart);
    const noise = drawNoise(op, xStart.shape, xStart.device, options);
    const xT = combine(times.gather((t) => t, xStart), xStart, times.gather(left, xStart), noise);
    const output = this.#output(op, model, xT, times, options.modelKwargs);
    if (this.objective === "v") {
      const mse = meanFlat(square(sub(output, sub(xStart, noise))));
      return keepAll(s, { loss: mse, mse });
    }
    // the velocity is (x_0 - x_t) / (1 - t), and so is its error that of x_0
    const mse = meanFlat(square(sub(output, xStart)));
    const weight = times.gather((t) => Math.max(left(t), LEAST_LEFT) ** -2, xStart, 1);
    return keepAll(s, { loss: mul(mse, weight), mse });
  }

  /**
   * The x_0 that the model predicts, guided where there is a `condFn`.
   *
   * @param x x_t, [N, C, ...]
   */
  predictXstart<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: Timesteps,
    options: StepOptions<K> = {},
  ): Tensor {
    const op = "predictXstart";
    using s = scope(op);
    const { modelKwargs, condFn, denoisedFn, clipDenoised = true } = options;
    const times = new FlowTimes(op, t, x);
    const output = this.#output(op, model, x, times, modelKwargs);
    let xStart = this.objective === "xstart" ? output : addcmul(x, times.gather(left, x), output);
    if (denoisedFn) xStart = denoisedFn(xStart);
    if (clipDenoised) xStart = clamp(xStart, -1, 1);
    if (!condFn) return s.keep(xStart);
    // eps - sigma gradient (Dhariwal & Nichol, arXiv 2105.05233, algorithm 2); of pure noise, where
    // that would move x_0 without end, a classifier can say nothing
    const gradient = condFn(x, times.tensor, modelKwargs ?? {} as K);
    const size = times.gather((t) => t === 0 ? 0 : left(t) ** 2 / t, x);
    return s.keep(addcmul(xStart, size, gradient));
  }

  /** The velocity dx/dt, [N, C, ...]; undefined for the data where the model predicts x_0. */
  velocity<K extends object>(
    model: Model<K>,
    x: Tensor,
    t: number,
    options: StepOptions<K> = {},
  ): Tensor | undefined {
    const op = "velocity";
    if (t === 1 && this.objective !== "v") return undefined;
    using s = scope(op);
    if (t < 1) return s.keep(mul(sub(this.predictXstart(model, x, t, options), x), 1 / (1 - t)));
    return s.keep(this.#output(op, model, x, new FlowTimes(op, t, x), options.modelKwargs));
  }

  /** The model's output, f32, without the channels that are left alone. */
  #output<K extends object>(
    op: string,
    model: Model<K>,
    x: Tensor,
    times: FlowTimes,
    kwargs: K | undefined,
  ): Tensor {
    const output = callModel(model, x, times.tensor, kwargs ?? {} as K, times.host);
    return splitOutput(op, output, x.shape, this.learnsVariance).main;
  }

  /** The noise level of a time; that of the data, t = 1, for a time below 0. */
  levelAt(t: number): NoiseLevel {
    const at = t < 0 ? 1 : t;
    return { t: at, modelTime: at, alpha: at, sigma: 1 - at };
  }

  /** `steps` times from 0 on, shifted. */
  stops(steps: number, spacing: Spacing): number[] {
    return flowStops(steps, spacing, this.timeShift);
  }
}

/** The share of noise at a time. */
const left = (t: number): number => 1 - t;
