/** Sums, means, extremes and variances over axes, running sums, and the mean squared error. */
import {
  argReduceKeep,
  type Axes,
  checkOperands,
  checkOptionNames,
  constant,
  cumulate,
  dropAxes,
  evaluateOne,
  type Formula,
  keptShape,
  normalizeAxes,
  normalizeAxis,
  reduceKeep,
  reshaped,
  sameShape,
  SCALE,
  type Shape,
  ShapeError,
  shapeText,
  sizeOf,
  type Tensor,
} from "../../tensor/mod.ts";
import { defineComposite, defineOp } from "../op.ts";
import { mul, square, sub } from "./elementwise.ts";
import { noGrad } from "../modes.ts";

/** What a reduction leaves of the axes it reduces. */
export interface ReduceOptions {
  /** Whether they stay, with size 1; false by default. */
  keepdim?: boolean;
}

/** The options, complete; throws where there is one that no reduction has. */
function reduceOptions(op: string, options: ReduceOptions): Required<ReduceOptions> {
  checkOptionNames(op, options, { keepdim: 1 });
  return { keepdim: options.keepdim ?? false };
}

interface SumAttrs {
  axes: readonly number[];
  keepdim: boolean;
  shape: Shape;
  /** The sum is multiplied by this (1 / count for a mean). */
  factor: number;
}

const callSum = defineOp<SumAttrs, readonly []>({
  name: "sum",
  cast: "single",
  forward: ([x], { axes, keepdim, factor }) => {
    const out = reduceKeep(factor === 1 ? "sum" : "mean", "sum", null, [x!], axes, { factor });
    return { out: dropAxes(out, axes, keepdim), saved: [] };
  },
  backward: ([g], _, { axes, shape, factor }) => {
    using kept = reshaped(g!, keptShape(shape, axes));
    using scaled = factor === 1 ? null : evaluateOne("mean", SCALE, [kept, factor]);
    const each = scaled ?? kept;
    return [each.as(shape, each.strides.map((s, i) => axes.includes(i) ? 0 : s))];
  },
  samples: [
    { name: "all", inputs: [{ shape: [4, 5, 6, 7] }], call: ([x]) => sum(x!) },
    { name: "last", inputs: [{ shape: [17, 33] }], call: ([x]) => sum(x!, -1) },
    { name: "first", inputs: [{ shape: [17, 33], strided: true }], call: ([x]) => sum(x!, 0) },
    {
      name: "apart, kept",
      inputs: [{ shape: [3, 5, 2, 7] }],
      call: ([x]) => sum(x!, [0, 2], { keepdim: true }),
    },
    { name: "mean of the middle", inputs: [{ shape: [3, 5, 7] }], call: ([x]) => mean(x!, 1) },
    { name: "mean of one", inputs: [{ shape: [1] }], call: ([x]) => mean(x!) },
  ],
});

/** Elements of x that a reduction over `axes` puts into one. */
function countAlong(x: Tensor, axes: readonly number[]): number {
  return sizeOf(axes.map((a) => x.shape[a]!));
}

/** Sum over `axes` (all by default). */
export function sum(x: Tensor, axes: Axes = null, options: ReduceOptions = {}): Tensor {
  checkOperands("sum", [x]);
  const list = normalizeAxes("sum", axes, x.rank);
  const { keepdim } = reduceOptions("sum", options);
  return callSum([x], { axes: list, keepdim, shape: x.shape, factor: 1 })[0]!;
}

/** Mean over `axes` (all by default); NaN of nothing, as in PyTorch. */
export function mean(x: Tensor, axes: Axes = null, options: ReduceOptions = {}): Tensor {
  checkOperands("mean", [x]);
  const list = normalizeAxes("mean", axes, x.rank);
  const { keepdim } = reduceOptions("mean", options);
  const count = countAlong(x, list);
  const factor = count === 0 ? NaN : 1 / count;
  return callSum([x], { axes: list, keepdim, shape: x.shape, factor })[0]!;
}

/**
 * Shares g evenly among the elements that equal the extreme, as PyTorch's amax and amin do: among
 * none, where the extreme is NaN, each part is NaN.
 */
const IS_EXTREME: Formula = {
  name: "isExtreme",
  build: (x, y) => x!.eq(y!).select(1, constant(0)),
};
const SHARE: Formula = {
  name: "extreme'",
  build: (g, x, y, count) =>
    x!.eq(y!).select(g!.div(count!), count!.eq(0).select(NaN, constant(0))),
};

const callExtreme = defineOp<
  { kind: "max" | "min"; axes: readonly number[]; keepdim: boolean },
  readonly [Tensor, Tensor]
>({
  name: "extreme",
  cast: "single",
  forward: ([x], { kind, axes, keepdim }) => {
    const kept = reduceKeep(kind, kind, null, [x!], axes);
    return { out: dropAxes(kept.as(kept.shape, kept.strides), axes, keepdim), saved: [x!, kept] };
  },
  backward: ([g], [x, y], { kind, axes }) => {
    using count = reduceKeep(kind, "sum", IS_EXTREME, [x, y], axes);
    using kept = reshaped(g!, y.shape);
    return [evaluateOne(kind, SHARE, [kept, x, y, count])];
  },
  samples: [
    { name: "max of all", inputs: [{ shape: [5, 33] }], call: ([x]) => max(x!) },
    { name: "min of all", inputs: [{ shape: [5, 33] }], call: ([x]) => min(x!) },
    { name: "max of rows", inputs: [{ shape: [17, 33] }], call: ([x]) => max(x!, -1) },
    {
      name: "min of columns, kept",
      inputs: [{ shape: [17, 33], strided: true }],
      call: ([x]) => min(x!, 0, { keepdim: true }),
    },
  ],
});

/** Largest element over `axes` (all by default); ties share the gradient. */
export function max(x: Tensor, axes: Axes = null, options: ReduceOptions = {}): Tensor {
  checkOperands("max", [x]);
  const { keepdim } = reduceOptions("max", options);
  return callExtreme([x], { kind: "max", axes: normalizeAxes("max", axes, x.rank), keepdim })[0]!;
}

/** Smallest element over `axes` (all by default); ties share the gradient. */
export function min(x: Tensor, axes: Axes = null, options: ReduceOptions = {}): Tensor {
  checkOperands("min", [x]);
  const { keepdim } = reduceOptions("min", options);
  return callExtreme([x], { kind: "min", axes: normalizeAxes("min", axes, x.rank), keepdim })[0]!;
}

/** Settings of {@link variance}. */
export interface VarianceOptions extends ReduceOptions {
  /** Taken off the count: 1 (the default, as in PyTorch) for the unbiased estimate. */
  correction?: number;
}

/** Variance over `axes` (all by default), in two passes: the mean, then squared distances. */
export const variance: (x: Tensor, axes?: Axes, options?: VarianceOptions) => Tensor =
  defineComposite(
    "variance",
    (x: Tensor, axes: Axes = null, options: VarianceOptions = {}) => {
      checkOperands("variance", [x]);
      checkOptionNames("variance", options, { keepdim: 1, correction: 1 });
      const list = normalizeAxes("variance", axes, x.rank);
      const { keepdim = false, correction = 1 } = options;
      const count = countAlong(x, list);
      const apart = square(sub(x, mean(x, list, { keepdim: true })));
      return mul(mean(apart, list, { keepdim }), count / Math.max(0, count - correction));
    },
    [
      { name: "of rows", inputs: [{ shape: [5, 33] }], call: ([x]) => variance(x!, -1) },
      {
        name: "of all, biased",
        inputs: [{ shape: [3, 7] }],
        call: ([x]) => variance(x!, null, { correction: 0 }),
      },
    ],
  );

const callArg = defineOp<{ kind: "max" | "min"; axis: number; keepdim: boolean }, readonly []>({
  name: "argExtreme",
  forward: ([x], { kind, axis, keepdim }) => ({
    out: dropAxes(argReduceKeep(`arg${kind}`, kind, x!, axis), [axis], keepdim),
    saved: [],
  }),
  backward: () => [null],
  samples: (["max", "min"] as const).map((kind) => ({
    name: kind,
    inputs: [{ shape: [17, 33] }],
    call: ([x]) => (kind === "max" ? argmax : argmin)(x!, -1),
    differentiable: false,
  })),
});

/** Index (i32) of the first largest element along `axis`. */
export function argmax(x: Tensor, axis: number, options: ReduceOptions = {}): Tensor {
  checkOperands("argmax", [x]);
  const { keepdim } = reduceOptions("argmax", options);
  const attrs = { axis: normalizeAxis("argmax", axis, x.rank), keepdim };
  return noGrad(() => callArg([x], { kind: "max", ...attrs })[0]!);
}

/** Index (i32) of the first smallest element along `axis`. */
export function argmin(x: Tensor, axis: number, options: ReduceOptions = {}): Tensor {
  checkOperands("argmin", [x]);
  const { keepdim } = reduceOptions("argmin", options);
  const attrs = { axis: normalizeAxis("argmin", axis, x.rank), keepdim };
  return noGrad(() => callArg([x], { kind: "min", ...attrs })[0]!);
}

const callCumsum = defineOp<{ axis: number }, readonly []>({
  name: "cumsum",
  cast: "single",
  forward: ([x], { axis }) => ({ out: cumulate("cumsum", x!, axis, false), saved: [] }),
  backward: ([g], _, { axis }) => [cumulate("cumsum", g!, axis, true)],
  samples: [
    { name: "rows", inputs: [{ shape: [3, 17] }], call: ([x]) => cumsum(x!, 1) },
    { name: "columns", inputs: [{ shape: [17, 5] }], call: ([x]) => cumsum(x!, 0) },
  ],
});

/** Running sum along `axis`. */
export function cumsum(x: Tensor, axis: number): Tensor {
  checkOperands("cumsum", [x]);
  return callCumsum([x], { axis: normalizeAxis("cumsum", axis, x.rank) })[0]!;
}

const SQUARED_DIFFERENCE: Formula = {
  name: "squaredDifference",
  build: (a, b) => {
    const d = a!.sub(b!);
    return d.mul(d);
  },
};
const MSE_GRAD: Formula = { name: "mse'", build: (g, a, b, f) => a!.sub(b!).mul(g!).mul(f!) };

const callMse = defineOp<null, readonly [Tensor, Tensor]>({
  name: "mse",
  cast: "single",
  forward: ([a, b]) => {
    const axes = a!.shape.map((_, i) => i);
    const count = 1 / sizeOf(a!.shape);
    using total = reduceKeep("mse", "sum", SQUARED_DIFFERENCE, [a!, b!], axes, { factor: count });
    return { out: reshaped(total, []), saved: [a!, b!] };
  },
  backward: ([g], [a, b], _, needs) => {
    const factor = 2 / sizeOf(a.shape);
    return [factor, -factor].map((f, i) =>
      needs[i] ? evaluateOne("mse", MSE_GRAD, [g!, a, b, f]) : null
    );
  },
  samples: [{
    name: "3x4x5",
    inputs: [{ shape: [3, 4, 5] }, { shape: [3, 4, 5] }],
    call: ([a, b]) => mse(a!, b!),
  }],
});

/** Mean of (a - b)^2 over all elements, of two tensors of one shape. */
export function mse(a: Tensor, b: Tensor): Tensor {
  checkOperands("mse", [a, b]);
  if (!sameShape(a.shape, b.shape)) {
    throw new ShapeError(
      `mse: expected two tensors of one shape but got ${shapeText(a.shape)} and ${
        shapeText(b.shape)
      }`,
    );
  }
  return callMse([a, b], null)[0]!;
}
