/** Times of flow matching: which to train at, and where samplers stop. 0 is noise, 1 the data. */
import type { TensorLike } from "../autograd/mod.ts";
import { ShapeError, shapeText, Tensor, tensor } from "../tensor/mod.ts";
import type { Spacing } from "./process.ts";
import {
  checkSamplerState,
  type TimeOptions,
  type TimestepDraw,
  type TimestepSampler,
  type TimestepSamplerState,
  uniformsOf,
  type UniformSource,
} from "./timestep_samplers.ts";
import { BatchTimesteps, type Timesteps } from "./timesteps.ts";

/** Checked times of a batch. */
export class FlowTimes {
  /** One a sample. */
  readonly host: readonly number[];
  /** f32 [N], beside x. */
  readonly tensor: Tensor;

  /**
   * Checks times.
   *
   * @param op For messages.
   * @param t One for all samples, or one a sample.
   * @param x [N, ...]
   * @throws {RangeError} where a time is not in [0, 1].
   * @throws {ShapeError} where there are not as many as samples.
   * @throws {TypeError} where they are not numbers.
   */
  constructor(op: string, t: Timesteps, x: Tensor) {
    if (t instanceof Tensor || t instanceof BatchTimesteps) {
      throw new TypeError(`${op}: expected times as numbers but got timesteps on the device`);
    }
    const [batch] = x.shape as [number];
    this.host = typeof t === "number" ? new Array<number>(batch).fill(t) : Array.from(t);
    if (this.host.length !== batch) {
      throw new ShapeError(
        `${op}: expected times of shape [${batch}], one a sample, but got ` +
          shapeText([this.host.length]),
      );
    }
    const wrong = this.host.find((s) => !(s >= 0 && s <= 1));
    if (wrong !== undefined) {
      throw new RangeError(`${op}: expected times in [0, 1] but got ${wrong}`);
    }
    this.tensor = tensor([...this.host], [batch], { device: x.device });
  }

  /**
   * Values at the time of each sample, to compute with tensors like `x` [N, ...]: a number where all
   * are at one time, else a tensor [N, 1, ...].
   *
   * @param rank Dimensions of that tensor.
   */
  gather(value: (t: number) => number, x: Tensor, rank: number = x.rank): TensorLike {
    const [first] = this.host;
    if (this.host.every((t) => t === first)) return value(first!);
    const shape = [this.host.length, ...new Array<number>(rank - 1).fill(1)];
    return tensor(this.host.map(value), shape, { device: x.device });
  }
}

/**
 * A time moved to the noise: its share of noise n becomes s n / (1 + (s - 1) n) (Esser et al., arXiv
 * 2403.03206, eq. 23).
 *
 * @param shift s; below 1 it moves to the data.
 */
export function shiftTime(t: number, shift: number): number {
  return t / (t + shift * (1 - t));
}

/**
 * Refuses a shift that is out of range.
 *
 * @throws {RangeError}
 */
export function checkTimeShift(shift: number): void {
  if (shift > 0 && shift < Infinity) return;
  throw new RangeError(`FlowMatching: expected a time shift above 0 but got ${shift}`);
}

/** The distributions of times, by name. */
const DISTRIBUTIONS = {
  "uniform": () => (u: number) => u,
  "logit-normal": ({ mean = 0, scale = 1 }: TimeOptions) => {
    if (!Number.isFinite(mean) || !(scale > 0 && scale < Infinity)) {
      throw new RangeError(
        `logit-normal: expected a finite mean and a scale above 0 but got ${mean} and ${scale}`,
      );
    }
    return (u: number) => 1 / (1 + Math.exp(-(mean + scale * normalQuantile(u))));
  },
} as const;

/** The name of a distribution of times. */
type FlowTimeName = keyof typeof DISTRIBUTIONS;

/**
 * The distribution of that name, shifted.
 *
 * @throws {RangeError} where there is none of that name, or an option is out of range.
 */
export function flowTimeSampler(
  name: string,
  options: TimeOptions,
  shift: number,
): TimestepSampler {
  if (!Object.hasOwn(DISTRIBUTIONS, name)) {
    throw new RangeError(
      `timestepSampler: expected ${Object.keys(DISTRIBUTIONS).join(" or ")} for a flow, whose ` +
        `times are not counted, but got ${name}`,
    );
  }
  return new ContinuousTimes(name as FlowTimeName, options, shift);
}

/** Times in [0, 1] by the quantiles of a distribution. */
class ContinuousTimes implements TimestepSampler {
  readonly learns = false;
  readonly #name: FlowTimeName;
  readonly #quantile: (u: number) => number;
  readonly #shift: number;

  constructor(name: FlowTimeName, options: TimeOptions, shift: number) {
    this.#name = name;
    this.#quantile = DISTRIBUTIONS[name](options);
    this.#shift = shift;
  }

  /** None: times are not counted. */
  weights(): Float64Array {
    return new Float64Array();
  }

  sample(batch: number, uniforms: UniformSource): TimestepDraw {
    const timesteps = Array.from(
      uniformsOf(uniforms, batch),
      (u) => shiftTime(this.#quantile(u), this.#shift),
    );
    return { timesteps, weights: new Float32Array(batch).fill(1) };
  }

  update(): void {}

  state(): TimestepSamplerState {
    return { name: this.#name, history: [] };
  }

  load(state: TimestepSamplerState): void {
    checkSamplerState(state, this.#name);
  }
}

/** A polynomial, the coefficient of the highest power first. */
function polynomial(x: number, ...coefficients: readonly number[]): number {
  return coefficients.reduce((sum, c) => sum * x + c);
}

/**
 * The number that a standard normal variable is below with probability `p`, to 1e-7 (Wichura,
 * "Algorithm AS 241: the percentage points of the normal distribution", 1988, PPND7).
 */
export function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return q * polynomial(r, 59.10937472, 159.29113202, 50.434271938, 3.3871327179) /
      polynomial(r, 67.187563600, 78.757757664, 17.895169469, 1);
  }
  const tail = Math.min(p, 1 - p);
  if (tail <= 0) return q < 0 ? -Infinity : Infinity;
  const r = Math.sqrt(-Math.log(tail));
  const size = r <= 5
    ? polynomial(r - 1.6, 0.17023821103, 1.3067284816, 2.7568153900, 1.4234372777) /
      polynomial(r - 1.6, 0.12021132975, 0.73700164250, 1)
    : polynomial(r - 5, 0.017337203997, 0.42868294337, 3.0812263860, 6.6579051150) /
      polynomial(r - 5, 0.012258202635, 0.24197894225, 1);
  return q < 0 ? -size : size;
}

/** Noise over data at the ends of Karras et al. (arXiv 2206.00364, section 5). */
const NOISE_OVER_DATA = { first: 80, last: 0.002 } as const;
/** The exponent that they choose. */
const RHO = 7;
/** The time that the program of SiT (arXiv 2401.08740) keeps for the last step of an SDE. */
const LAST_SDE_STEP = 0.04;

/**
 * Time number `i` of `steps`, the first of which is 0, by what is spread evenly, before it is shifted.
 * No shift makes the last step of an SDE longer: it is a mean, which leaves noise of its length in x.
 */
const SPACINGS: Readonly<Record<Spacing, (i: number, steps: number, shift: number) => number>> = {
  time: (i, steps) => i / steps,
  sde: (i, steps, shift) => shiftTime(1 - LAST_SDE_STEP, 1 / Math.max(1, shift)) * i / (steps - 1),
  logSnr: spacedBy(Math.log, Math.exp),
  karras: spacedBy((ratio) => ratio ** (1 / RHO), (scaled) => scaled ** RHO),
};

/** Spreads a function of noise over data evenly between the ends. */
function spacedBy(scale: (ratio: number) => number, back: (scaled: number) => number) {
  const [from, to] = [scale(NOISE_OVER_DATA.first), scale(NOISE_OVER_DATA.last)];
  return (i: number, steps: number): number => 1 / (1 + back(from + (to - from) * i / (steps - 1)));
}

/**
 * `steps` times from 0, where x is noise alone, towards 1, each shifted.
 *
 * @throws {RangeError} where there are no such times.
 */
export function flowStops(steps: number, spacing: Spacing, shift: number): number[] {
  if (!Number.isInteger(steps) || steps < 1) {
    throw new RangeError(`sample: expected 1 or more steps but got ${steps}`);
  }
  if (!Object.hasOwn(SPACINGS, spacing)) {
    throw new RangeError(
      `sample: expected spacing ${Object.keys(SPACINGS).join(", ")} but got ${spacing}`,
    );
  }
  const at = SPACINGS[spacing];
  return Array.from(
    { length: steps },
    (_, i) => i === 0 ? 0 : shiftTime(at(i, steps, shift), shift),
  );
}
