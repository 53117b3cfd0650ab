/** Which timesteps to train at, and how to weigh the losses there. On the host, in float64. */
import { checkOptionNames, type Generator } from "../tensor/mod.ts";

/** Timesteps drawn for a batch. */
export interface TimestepDraw {
  /** One a sample. */
  timesteps: number[];
  /** What to multiply each sample's loss with, so that its expectation is the uniform one. */
  weights: Float32Array<ArrayBuffer>;
}

/** Where a draw comes from: a generator, or numbers in [0, 1), one a sample. */
export type UniformSource = Generator | ArrayLike<number>;

/** The names of the timestep samplers. */
export type TimestepSamplerName = "uniform" | "loss-second-moment" | "logit-normal";

/** Every {@link TimestepSamplerName}; no process has all of them. */
export const TIMESTEP_SAMPLER_NAMES: readonly TimestepSamplerName[] = [
  "uniform",
  "loss-second-moment",
  "logit-normal",
];

/** Where the times of `logit-normal` lie. */
export interface TimeOptions {
  /** Mean of log(t / (1 - t)); 0 by default. */
  mean?: number;
  /** Standard deviation of that; 1 by default. */
  scale?: number;
}

/** What a timestep sampler has learned, ready for JSON. */
export interface TimestepSamplerState {
  /** Which sampler it is of. */
  name: TimestepSamplerName;
  /** Losses seen at each timestep, oldest first. */
  history: number[][];
}

/** A distribution over timesteps. */
export interface TimestepSampler {
  /** Whether it learns from losses, which `update()` has to be called with. */
  readonly learns: boolean;
  /** Probabilities up to a factor, one a timestep. */
  weights(): Float64Array;
  /** Draws timesteps by these weights. */
  sample(batch: number, uniforms: UniformSource): TimestepDraw;
  /**
   * Learns from the losses of a batch (of all workers, where there are many), in order; those that
   * are not finite are left out. The uniform sampler learns nothing.
   */
  update(timesteps: ArrayLike<number>, losses: ArrayLike<number>): void;
  /** What to save with a checkpoint. */
  state(): TimestepSamplerState;
  /**
   * Continues from a saved state.
   *
   * @throws {RangeError} where it is of another sampler or another number of timesteps.
   */
  load(state: TimestepSamplerState): void;
}

/** Settings of {@link LossSecondMomentSampler}. */
export interface LossSecondMomentOptions {
  /** Losses remembered at each timestep; 10 by default. */
  historyPerTerm?: number;
  /** Probability of a draw that ignores the losses; 0.001 by default. */
  uniformProb?: number;
}

/** `count` numbers in [0, 1) with 53 random bits. */
export function uniformsOf(source: UniformSource, count: number): ArrayLike<number> {
  if (!("nextUint32s" in source)) {
    if (source.length !== count) {
      throw new RangeError(
        `sample: expected ${count} uniform numbers, one a sample, but got ${source.length}`,
      );
    }
    return source;
  }
  const words = source.nextUint32s(2 * count);
  return Float64Array.from({ length: count }, (_, i) => {
    const [high, low] = [words[2 * i]! >>> 5, words[2 * i + 1]! >>> 6];
    return (high * 2 ** 26 + low) * 2 ** -53;
  });
}

/** First index whose cumulated probability is above `u`. */
function searchRight(cumulated: Float64Array, u: number): number {
  let [low, high] = [0, cumulated.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (cumulated[middle]! > u) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Draws by weights; each draw is weighed by 1 / (T p). */
function drawByWeights(weights: Float64Array, uniforms: ArrayLike<number>): TimestepDraw {
  const total = weights.reduce((a, b) => a + b, 0);
  const p = weights.map((w) => w / total);
  let sum = 0;
  const cumulated = p.map((x) => sum += x).map((c) => c / sum);
  const timesteps = Array.from(uniforms, (u) => searchRight(cumulated, u));
  return { timesteps, weights: Float32Array.from(timesteps, (t) => 1 / (p.length * p[t]!)) };
}

function checkSteps(numTimesteps: number): void {
  if (!Number.isInteger(numTimesteps) || numTimesteps < 1) {
    throw new RangeError(`timestep sampler: expected 1 or more timesteps but got ${numTimesteps}`);
  }
}

/**
 * Refuses the state of another sampler.
 *
 * @throws {RangeError}
 */
export function checkSamplerState(state: TimestepSamplerState, name: TimestepSamplerName): void {
  if (state.name !== name) {
    throw new RangeError(`load: expected the state of a ${name} sampler but got ${state.name}`);
  }
}

/** Every timestep is as likely as any other. */
export class UniformSampler implements TimestepSampler {
  readonly learns = false;
  readonly #weights: Float64Array;

  /** For timesteps 0 to `numTimesteps` - 1. */
  constructor(numTimesteps: number) {
    checkSteps(numTimesteps);
    this.#weights = new Float64Array(numTimesteps).fill(1);
  }

  weights(): Float64Array {
    return this.#weights.slice();
  }

  sample(batch: number, uniforms: UniformSource): TimestepDraw {
    return drawByWeights(this.#weights, uniformsOf(uniforms, batch));
  }

  update(): void {}

  state(): TimestepSamplerState {
    return { name: "uniform", history: [] };
  }

  load(state: TimestepSamplerState): void {
    checkSamplerState(state, "uniform");
  }
}

/**
 * Timesteps are as likely as the root of their mean squared loss (Nichol & Dhariwal, arXiv
 * 2102.09672, section 3.3), once every one of them has been seen often enough; uniform until then.
 */
export class LossSecondMomentSampler implements TimestepSampler {
  readonly learns = true;
  readonly #history: number[][];
  readonly #historyPerTerm: number;
  readonly #uniformProb: number;

  /** For timesteps 0 to `numTimesteps` - 1. */
  constructor(numTimesteps: number, options: LossSecondMomentOptions = {}) {
    checkSteps(numTimesteps);
    const known = { historyPerTerm: 1, uniformProb: 1 };
    checkOptionNames("LossSecondMomentSampler", options, known);
    const { historyPerTerm = 10, uniformProb = 0.001 } = options;
    if (!Number.isInteger(historyPerTerm) || historyPerTerm < 1) {
      throw new RangeError(
        `LossSecondMomentSampler: expected to remember 1 or more losses but got ${historyPerTerm}`,
      );
    }
    this.#history = Array.from({ length: numTimesteps }, () => []);
    this.#historyPerTerm = historyPerTerm;
    this.#uniformProb = uniformProb;
  }

  /** Whether every timestep has been seen often enough. */
  get warmedUp(): boolean {
    return this.#history.every((losses) => losses.length === this.#historyPerTerm);
  }

  weights(): Float64Array {
    const count = this.#history.length;
    if (!this.warmedUp) return new Float64Array(count).fill(1);
    const moments = Float64Array.from(this.#history, (losses) => {
      return Math.sqrt(losses.reduce((sum, loss) => sum + loss * loss, 0) / losses.length);
    });
    const total = moments.reduce((a, b) => a + b, 0);
    return moments.map((m) => m / total * (1 - this.#uniformProb) + this.#uniformProb / count);
  }

  sample(batch: number, uniforms: UniformSource): TimestepDraw {
    return drawByWeights(this.weights(), uniformsOf(uniforms, batch));
  }

  update(timesteps: ArrayLike<number>, losses: ArrayLike<number>): void {
    if (timesteps.length !== losses.length) {
      throw new RangeError(
        `update: expected a loss for each of ${timesteps.length} timesteps but got ${losses.length}`,
      );
    }
    for (let i = 0; i < timesteps.length; i++) {
      const seen = this.#history[timesteps[i]!];
      if (!seen) {
        throw new RangeError(
          `update: expected timesteps in [0, ${this.#history.length}) but got ${timesteps[i]}`,
        );
      }
      if (!Number.isFinite(losses[i])) continue; // the losses of a step that overflowed are left out
      if (seen.length === this.#historyPerTerm) seen.shift();
      seen.push(losses[i]!);
    }
  }

  state(): TimestepSamplerState {
    return { name: "loss-second-moment", history: this.#history.map((losses) => [...losses]) };
  }

  load(state: TimestepSamplerState): void {
    checkSamplerState(state, "loss-second-moment");
    const { history } = state;
    const longest = history.reduce((most, { length }) => Math.max(most, length), 0);
    if (history.length !== this.#history.length || longest > this.#historyPerTerm) {
      throw new RangeError(
        `load: expected ${this.#history.length} timesteps with at most ${this.#historyPerTerm} ` +
          `losses each but got ${history.length} with up to ${longest}`,
      );
    }
    history.forEach((losses, t) => this.#history[t] = [...losses]);
  }
}

/**
 * The timestep sampler of that name for a process.
 *
 * @throws {RangeError} where there is none of that name.
 */
export function createTimestepSampler(
  name: TimestepSamplerName,
  process: { readonly numTimesteps: number },
  options: LossSecondMomentOptions = {},
): TimestepSampler {
  switch (name) {
    case "uniform":
      return new UniformSampler(process.numTimesteps);
    case "loss-second-moment":
      return new LossSecondMomentSampler(process.numTimesteps, options);
    default:
      name satisfies "logit-normal";
      throw new RangeError(
        `createTimestepSampler: expected uniform or loss-second-moment but got ${name}`,
      );
  }
}
