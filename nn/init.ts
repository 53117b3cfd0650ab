/** How weights start. Formulas as in PyTorch's `torch.nn.init`. */
import { Parameter } from "../autograd/mod.ts";
import {
  currentDevice,
  defaultGenerator,
  empty,
  evaluateOne,
  type Formula,
  full,
  type Generator,
  rand,
  randn,
  type Shape,
  sizeOf,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";

/** Makes a parameter of a shape. */
export type Initializer = (shape: Shape, options?: InitOptions) => Parameter;

/** How the weights of a layer start. */
export interface InitOptions {
  /** Where random weights come from; by default the generator that `manualSeed` sets. */
  generator?: Generator;
  /** Makes the weight, instead of the layer's default. */
  weightInit?: Initializer;
  /** Makes the bias, instead of the layer's default. */
  biasInit?: Initializer;
}

const AFFINE: Formula = { name: "affine", build: (x, f, c) => x!.mul(f!).add(c!) };

let skipping = false;
let dtype: "f32" | "f16" = "f32";

/**
 * Runs `fn` with weights left undefined: for modules whose weights are loaded next, so that a
 * large model does not draw numbers only to overwrite them.
 *
 * @param options `dtype: "f16"` stores the weights in half the memory, to use but not to train:
 * layers read them as they are, and compute in the precision of their inputs.
 */
export function withoutInit<T>(fn: () => T, options: { dtype?: "f32" | "f16" } = {}): T {
  const before = [skipping, dtype] as const;
  [skipping, dtype] = [true, options.dtype ?? dtype];
  try {
    return fn();
  } finally {
    [skipping, dtype] = before;
  }
}

function parameter(shape: Shape, make: () => Tensor): Parameter {
  return new Parameter(skipping ? empty(currentDevice(), dtype, shape, "init") : make());
}

/** A parameter with these elements, which it has inside {@link withoutInit} too; not trained. */
export function frozen(shape: Shape, data: Float32Array | Float64Array): Parameter {
  return new Parameter(tensor(data, shape, { dtype }), { requiresGrad: false });
}

/** A parameter uniform in [low, high). */
export function uniform(
  shape: Shape,
  low: number,
  high: number,
  options: InitOptions = {},
): Parameter {
  return parameter(shape, () => {
    using u = rand(shape, { generator: options.generator ?? defaultGenerator() });
    return evaluateOne("uniform", AFFINE, [u, high - low, low]);
  });
}

/** A parameter with mean 0 and the given standard deviation. */
export function normal(shape: Shape, std: number, options: InitOptions = {}): Parameter {
  return parameter(shape, () => {
    using z = randn(shape, { generator: options.generator ?? defaultGenerator() });
    return evaluateOne("normal", AFFINE, [z, std, 0]);
  });
}

/** A parameter whose elements are all `value`. */
export function constant(shape: Shape, value: number): Parameter {
  return parameter(shape, () => full(shape, value));
}

/** A parameter of zeros. */
export function zerosParameter(shape: Shape): Parameter {
  return constant(shape, 0);
}

/** Inputs and outputs of a weight [O, I, ...]: `I * k` and `O * k` for k taps a channel. */
export function fans(shape: Shape): { fanIn: number; fanOut: number } {
  const [o = 1, i = 1, ...taps] = shape;
  const k = sizeOf(taps);
  return { fanIn: i * k, fanOut: o * k };
}

/**
 * Uniform in ±sqrt(6 / (fanIn + fanOut)) (Glorot & Bengio 2010). `as` gives the shape to count
 * fans by, where a convolution is initialised as a linear layer.
 */
export function xavierUniform(
  shape: Shape,
  options: InitOptions & { as?: Shape } = {},
): Parameter {
  const { fanIn, fanOut } = fans(options.as ?? shape);
  const bound = Math.sqrt(6 / (fanIn + fanOut));
  return uniform(shape, -bound, bound, options);
}

/** Uniform in ±1 / sqrt(fanIn): PyTorch's default for linear and convolution weights and biases. */
export function fanInUniform(
  shape: Shape,
  fanIn: number,
  options: InitOptions = {},
): Parameter {
  const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0;
  return uniform(shape, -bound, bound, options);
}
