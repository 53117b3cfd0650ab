/** The layers that models are made of; each a thin holder of parameters around one op. */
import {
  conv2d,
  type ConvOptions,
  dropout,
  embedding,
  groupNorm,
  layerNorm,
  linear,
  type LinearOptions,
  type Padding,
  type Parameter,
  rmsNorm,
} from "../autograd/mod.ts";
import {
  checkOptionNames,
  defaultGenerator,
  type Generator,
  type Shape,
  ShapeError,
  type Tensor,
} from "../tensor/mod.ts";
import {
  constant,
  fanInUniform,
  fans,
  type Initializer,
  type InitOptions,
  normal,
} from "./init.ts";
import { Module } from "./module.ts";

/** The options that every layer with weights has. */
export const INIT_OPTIONS: Readonly<Record<keyof InitOptions, true>> = {
  generator: true,
  weightInit: true,
  biasInit: true,
};

/** Throws unless every size is a whole number, 1 or more. */
export function checkSizes(layer: string, sizes: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(sizes)) {
    if (!Number.isInteger(value) || value < 1) {
      throw new ShapeError(`${layer}: expected ${name} to be 1 or more but got ${value}`);
    }
  }
}

/** A weight [O, I, ...] and a bias [O], by default as PyTorch starts them. */
function weightAndBias(
  shape: Shape,
  options: InitOptions & { bias?: boolean },
): [Parameter, Parameter | null] {
  const { fanIn } = fans(shape);
  const standard: Initializer = (s, o) => fanInUniform(s, fanIn, o);
  const { weightInit = standard, biasInit = standard, bias = true } = options;
  return [weightInit(shape, options), bias ? biasInit([shape[0]!], options) : null];
}

/** Settings of {@link Linear}. */
export interface LinearLayerOptions extends InitOptions, LinearOptions {
  /** Whether there is a bias; true by default. */
  bias?: boolean;
}

/** activation(x Wᵀ + b): [..., inputs] to [..., outputs]. */
export class Linear extends Module {
  /** [outputs, inputs] */
  weight: Parameter;
  /** [outputs] */
  bias: Parameter | null;
  readonly #options: LinearOptions;

  /** Weight and bias uniform in ±1 / sqrt(inputs), as PyTorch starts them. */
  constructor(inputs: number, outputs: number, options: LinearLayerOptions = {}) {
    super();
    checkOptionNames("Linear", options, { ...INIT_OPTIONS, bias: 1, activation: 1 });
    checkSizes("Linear", { inputs, outputs });
    [this.weight, this.bias] = weightAndBias([outputs, inputs], options);
    this.#options = options.activation ? { activation: options.activation } : {};
  }

  /** x [..., inputs] to [..., outputs]. */
  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias, this.#options);
  }
}

/** Settings of {@link LayerNorm}. */
export interface LayerNormLayerOptions {
  /** Added to the variance; 1e-5 as in PyTorch. */
  eps?: number;
  /** Whether there are a weight and a bias; true by default. */
  affine?: boolean;
}

/** The last dimension to mean 0 and variance 1. */
export class LayerNorm extends Module {
  /** [size] */
  weight: Parameter | null;
  /** [size] */
  bias: Parameter | null;
  readonly #eps: number;

  /** Over `size` numbers; weight 1, bias 0. */
  constructor(size: number, options: LayerNormLayerOptions = {}) {
    super();
    checkOptionNames("LayerNorm", options, { eps: 1, affine: 1 });
    checkSizes("LayerNorm", { size });
    const { eps = 1e-5, affine = true } = options;
    this.weight = affine ? constant([size], 1) : null;
    this.bias = affine ? constant([size], 0) : null;
    this.#eps = eps;
  }

  /** x [..., size]. */
  forward(x: Tensor): Tensor {
    return layerNorm(x, { weight: this.weight, bias: this.bias, eps: this.#eps });
  }
}

/** Settings of {@link RmsNorm}. */
export interface RmsNormLayerOptions {
  /** Added to the mean square; 1e-6 by default. */
  eps?: number;
}

/** The last dimension to a mean square of 1 (arXiv 1910.07467), times a weight. */
export class RmsNorm extends Module {
  /** [size] */
  weight: Parameter;
  readonly #eps: number;

  /** Over `size` numbers; weight 1. */
  constructor(size: number, options: RmsNormLayerOptions = {}) {
    super();
    checkOptionNames("RmsNorm", options, { eps: 1 });
    checkSizes("RmsNorm", { size });
    this.weight = constant([size], 1);
    this.#eps = options.eps ?? 1e-6;
  }

  /** x [..., size]. */
  forward(x: Tensor): Tensor {
    return rmsNorm(x, { weight: this.weight, eps: this.#eps });
  }
}

/** Settings of {@link GroupNorm}. */
export interface GroupNormLayerOptions {
  /** Added to the variance; 1e-5 as in PyTorch. */
  eps?: number;
  /** Whether SiLU follows, in the same kernel. */
  silu?: boolean;
}

/** Groups of channels of each sample to mean 0 and variance 1. */
export class GroupNorm extends Module {
  /** [channels] */
  weight: Parameter;
  /** [channels] */
  bias: Parameter;
  readonly #groups: number;
  readonly #options: GroupNormLayerOptions;

  /** Weight 1, bias 0. Throws a {@link ShapeError} where `channels` is no multiple of `groups`. */
  constructor(groups: number, channels: number, options: GroupNormLayerOptions = {}) {
    super();
    checkOptionNames("GroupNorm", options, { eps: 1, silu: 1 });
    checkSizes("GroupNorm", { groups, channels });
    if (channels % groups !== 0) {
      throw new ShapeError(
        `GroupNorm: expected channels to be a multiple of ${groups} groups but got ${channels}`,
      );
    }
    this.weight = constant([channels], 1);
    this.bias = constant([channels], 0);
    this.#groups = groups;
    this.#options = { eps: options.eps ?? 1e-5, silu: options.silu ?? false };
  }

  /** x [N, channels, ...]. */
  forward(x: Tensor): Tensor {
    return groupNorm(x, this.#groups, { weight: this.weight, bias: this.bias, ...this.#options });
  }
}

/** Settings of {@link Conv2d}. */
export interface ConvLayerOptions extends InitOptions {
  /** Pixels between places; 1 by default. */
  stride?: number;
  /** Zeros around the image; 0 by default. */
  padding?: number | Padding;
  /** Whether there is a bias; true by default. */
  bias?: boolean;
}

/** Cross-correlation of [N, inputs, H, W] to [N, outputs, OH, OW]. */
export class Conv2d extends Module {
  /** [outputs, inputs, KH, KW] */
  weight: Parameter;
  /** [outputs] */
  bias: Parameter | null;
  readonly #options: ConvOptions;

  /**
   * Kernels uniform in ±1 / sqrt(inputs KH KW) as PyTorch starts them.
   *
   * @param size Of the kernel: one number, or rows and columns.
   */
  constructor(
    inputs: number,
    outputs: number,
    size: number | readonly [rows: number, columns: number],
    options: ConvLayerOptions = {},
  ) {
    super();
    checkOptionNames("Conv2d", options, { ...INIT_OPTIONS, bias: 1, stride: 1, padding: 1 });
    const [rows, columns] = typeof size === "number" ? [size, size] : size;
    const sizes = typeof size === "number" ? { size } : { rows, columns };
    checkSizes("Conv2d", { inputs, outputs, ...sizes });
    [this.weight, this.bias] = weightAndBias([outputs, inputs, rows, columns], options);
    this.#options = { stride: options.stride ?? 1, padding: options.padding ?? 0 };
  }

  /** x [N, inputs, H, W]. */
  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, this.bias, this.#options);
  }
}

/** A learned row for each number below `count`. */
export class Embedding extends Module {
  /** [count, size] */
  weight: Parameter;

  /** Rows of `size` standard normal numbers, as PyTorch starts them. */
  constructor(count: number, size: number, options: InitOptions = {}) {
    super();
    checkOptionNames("Embedding", options, INIT_OPTIONS);
    checkSizes("Embedding", { count, size });
    const { weightInit = (s, o) => normal(s, 1, o) } = options;
    this.weight = weightInit([count, size], options);
  }

  /** index (i32 or u32) [...] to [..., size]. */
  forward(index: Tensor): Tensor {
    return embedding(this.weight, index);
  }
}

/** Settings of {@link Dropout}. */
export interface DropoutLayerOptions {
  /** By default the one that `manualSeed` sets. */
  generator?: Generator;
}

/** Each element 0 with probability p while training; nothing otherwise. */
export class Dropout extends Module {
  readonly #p: number;
  readonly #generator: Generator | null;

  /** Drops with probability `p`, in [0, 1). */
  constructor(p: number, options: DropoutLayerOptions = {}) {
    super();
    checkOptionNames("Dropout", options, { generator: 1 });
    if (!(p >= 0 && p < 1)) throw new RangeError(`Dropout: expected p in [0, 1) but got ${p}`);
    this.#p = p;
    this.#generator = options.generator ?? null;
  }

  /** x of any shape. */
  forward(x: Tensor): Tensor {
    if (!this.training) return x;
    return dropout(x, this.#p, { generator: this.#generator ?? defaultGenerator() });
  }
}

/** Modules and functions one after another; modules are named by their place. */
export class Sequential extends Module {
  readonly #steps: readonly (Module | ((x: Tensor) => Tensor))[];

  /** Each step takes what the one before gave. */
  constructor(...steps: (Module | ((x: Tensor) => Tensor))[]) {
    super();
    this.#steps = steps;
  }

  /** The modules among the steps, named `0`, `1`, ... by their place among all of them. */
  override *members(): Iterable<[string, Module]> {
    for (const [i, step] of this.#steps.entries()) if (step instanceof Module) yield [`${i}`, step];
  }

  /** The result of the last step. */
  forward(x: Tensor): Tensor {
    return this.#steps.reduce(
      (y, step) =>
        step instanceof Module
          ? (step as Module & { forward(x: Tensor): Tensor }).forward(y)
          : step(y),
      x,
    );
  }
}
