/** Guidance of samples: by a model with and without its condition, or by a classifier. */
import { checkOptionNames, Tensor } from "../tensor/mod.ts";
import {
  cast,
  concat,
  ge,
  gradients,
  le,
  mul,
  Parameter,
  reshape,
  split,
  sum,
  type TensorLike,
  where,
  withGrad,
} from "../autograd/mod.ts";
import { guide } from "../nn/mod.ts";
import { callModel, type Model, type ModelFunction, type ModelKwargs } from "./model.ts";
import type { CondFn } from "./process.ts";

/** Settings of {@link guided}. */
export interface ClassifierFreeOptions<K extends object = ModelKwargs> {
  /** 1 is the conditional model itself; 4 is common. */
  scale: number;
  /** The inputs that stand for "no condition", such as `{ y: nullLabels }`, [N, ...] each. */
  nullKwargs: Partial<K>;
  /**
   * First and last timestep (as the model sees them, both included) that are guided; outside of
   * them the conditional model is used alone and runs once. All by default.
   */
  interval?: readonly [first: number, last: number];
  /**
   * How many of the predicted channels are guided; the others are the conditional model's. 3 by
   * default, as in the original, or "all" (those of x; a learned variance is never guided).
   */
  guidedChannels?: number | "all";
}

/**
 * A model guided by itself without its condition (Ho & Salimans, "Classifier-free diffusion
 * guidance", arXiv 2207.12598), where wanted only at some noise levels (Kynkäänniemi et al.,
 * "Applying guidance in a limited interval", arXiv 2404.07724).
 *
 * Both halves run as one batch of 2 N, the conditional one first.
 *
 * @throws {RangeError} where the scale, the interval or the channels make no sense.
 */
export function guided<K extends object>(
  model: Model<K>,
  options: ClassifierFreeOptions<K>,
): ModelFunction<K> {
  const known = { scale: 1, nullKwargs: 1, interval: 1, guidedChannels: 1 };
  checkOptionNames("guidance", options, known);
  const { scale, nullKwargs, interval = [-Infinity, Infinity], guidedChannels = 3 } = options;
  const [first, last] = interval;
  checkGuidance(scale, first, last, guidedChannels);
  return (x, t, kwargs, at) => {
    if (scale === 1 || (at && !at.some((s) => s >= first && s <= last))) {
      return callModel(model, x, t, kwargs, at);
    }
    const both = callModel(
      model,
      concat([x, x]),
      concat([t, t]),
      joined(kwargs, nullKwargs),
      at && [...at, ...at],
    );
    const [conditional, unconditional] = split(both, x.shape[0]!) as [Tensor, Tensor];
    const channels = Math.min(guidedChannels === "all" ? Infinity : guidedChannels, x.shape[1]!);
    return guide(conditional, unconditional, scaleOf(t, at, x.rank, scale, interval), channels);
  };
}

function checkGuidance(
  scale: number,
  first: number,
  last: number,
  channels: number | "all",
): void {
  if (!Number.isFinite(scale)) {
    throw new RangeError(`guided: expected a scale that is a finite number but got ${scale}`);
  }
  if (!(first <= last)) {
    throw new RangeError(
      `guided: expected an interval with its first timestep first but got ${first}, ${last}`,
    );
  }
  if (channels !== "all" && !(Number.isInteger(channels) && channels >= 1)) {
    throw new RangeError(`guided: expected 1 or more guidedChannels or "all" but got ${channels}`);
  }
}

/** The scale of each sample: a number for all, or [N, 1, ...]. */
function scaleOf(
  t: Tensor,
  at: readonly number[] | undefined,
  rank: number,
  scale: number,
  [first, last]: readonly [number, number],
): TensorLike {
  if (first === -Infinity && last === Infinity) return scale;
  if (at?.every((s) => s >= first && s <= last)) return scale;
  const time = cast(t, "f32");
  const each = where(ge(time, first), where(le(time, last), scale, 1), 1);
  return reshape(each, [-1, ...new Array<number>(rank - 1).fill(1)]);
}

/** Inputs of two calls as those of one: tensors joined along the batch, the rest must agree. */
function joined<K extends object>(kwargs: K, nullKwargs: Partial<K>): K {
  const without: Record<string, unknown> = { ...kwargs, ...nullKwargs };
  const entries = Object.entries(kwargs).map(([name, value]) => {
    const other = without[name];
    if (value instanceof Tensor && other instanceof Tensor) return [name, concat([value, other])];
    if (value === other) return [name, value];
    throw new TypeError(
      `guided: expected "${name}" to be a tensor [N, ...] with and without condition, or the same ` +
        `in both but got ${value} and ${other}`,
    );
  });
  return Object.fromEntries(entries) as K;
}

/**
 * A `condFn` from a differentiable classifier (Dhariwal & Nichol, arXiv 2105.05233, section 4): the
 * gradient by x of `scale` times the log-probability.
 *
 * @param logProb log p(y | x_t) of each sample, [N].
 */
export function classifierGuidance<K extends object>(
  logProb: (x: Tensor, t: Tensor, kwargs: K) => Tensor,
  scale = 1,
): CondFn<K> {
  return (x, t, kwargs) => {
    using input = new Parameter(x.as(x.shape, x.strides));
    return withGrad(() => gradients(mul(sum(logProb(input, t, kwargs)), scale), [input])[0]!);
  };
}
