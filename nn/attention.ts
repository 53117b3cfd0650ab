import { selfAttention } from "../autograd/mod.ts";
import { checkOptionNames, ShapeError, type Tensor } from "../tensor/mod.ts";
import type { InitOptions } from "./init.ts";
import { checkSizes, INIT_OPTIONS, Linear } from "./layers.ts";
import { Module } from "./module.ts";

/** Settings of {@link Attention}. */
export interface AttentionLayerOptions extends InitOptions {
  /** Whether queries, keys and values have a bias; true by default, as in DiT. */
  qkvBias?: boolean;
}

/** Multi-head self-attention of tokens [N, T, size], with one linear layer for q, k and v. */
export class Attention extends Module {
  /** size to 3 size: queries, keys, values */
  qkv: Linear;
  /** size to size, after the heads are joined */
  proj: Linear;
  readonly #heads: number;

  /** Throws a {@link ShapeError} where `size` is no multiple of `heads`. */
  constructor(size: number, heads: number, options: AttentionLayerOptions = {}) {
    super();
    checkOptionNames("Attention", options, { ...INIT_OPTIONS, qkvBias: 1 });
    checkSizes("Attention", { size, heads });
    if (size % heads !== 0) {
      throw new ShapeError(
        `Attention: expected the hidden size to be a multiple of ${heads} heads but got ${size}`,
      );
    }
    this.#heads = heads;
    const { qkvBias = true, ...init } = options;
    this.qkv = new Linear(size, 3 * size, { ...init, bias: qkvBias });
    this.proj = new Linear(size, size, init);
  }

  /** x [N, T, size] to the same shape. */
  forward(x: Tensor): Tensor {
    return this.proj.forward(selfAttention(this.qkv.forward(x), this.#heads));
  }
}
