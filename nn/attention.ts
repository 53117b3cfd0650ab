import {
  attention,
  chunk,
  permute,
  reshape,
  rotaryEmbedding,
  type RotaryTables,
  selfAttention,
} from "../autograd/mod.ts";
import { checkOptionNames, ShapeError, type Tensor } from "../tensor/mod.ts";
import type { InitOptions } from "./init.ts";
import { checkSizes, INIT_OPTIONS, LayerNorm, Linear, RmsNorm } from "./layers.ts";
import { Module } from "./module.ts";

/** Settings of {@link Attention}. */
export interface AttentionLayerOptions extends InitOptions {
  /** Whether queries, keys and values have a bias; true by default, as in DiT. */
  qkvBias?: boolean;
  /** How queries and keys are normalised, a head at a time (arXiv 2302.05442); not by default. */
  qkNorm?: "layerNorm" | "rmsNorm";
}

/** Multi-head self-attention of tokens [N, T, size], with one linear layer for q, k and v. */
export class Attention extends Module {
  /** size to 3 size: queries, keys, values */
  qkv: Linear;
  /** Of queries, a head at a time; null for none */
  qNorm: LayerNorm | RmsNorm | null = null;
  /** Of keys, a head at a time; null for none */
  kNorm: LayerNorm | RmsNorm | null = null;
  /** size to size, after the heads are joined */
  proj: Linear;
  readonly #heads: number;

  /** Throws a {@link ShapeError} where `size` is no multiple of `heads`. */
  constructor(size: number, heads: number, options: AttentionLayerOptions = {}) {
    super();
    checkOptionNames("Attention", options, { ...INIT_OPTIONS, qkvBias: 1, qkNorm: 1 });
    checkHeads("Attention", size, heads);
    this.#heads = heads;
    const { qkvBias = true, qkNorm, ...init } = options;
    this.qkv = new Linear(size, 3 * size, { ...init, bias: qkvBias });
    if (qkNorm !== undefined) {
      const norm = qkNorm === "rmsNorm" ? RmsNorm : LayerNorm;
      this.qNorm = new norm(size / heads);
      this.kNorm = new norm(size / heads);
    }
    this.proj = new Linear(size, size, init);
  }

  /**
   * x [N, T, size] to the same shape.
   *
   * @param rotary Angles by which queries and keys are turned, [T, size / heads]; null for none.
   */
  forward(x: Tensor, rotary: RotaryTables | null = null): Tensor {
    const qkv = this.qkv.forward(x);
    const mixed = this.qNorm
      ? this.#apart(qkv, rotary)
      : selfAttention(qkv, this.#heads, { rotary });
    return this.proj.forward(mixed);
  }

  /** Attention of queries and keys that are normalised and turned first: [N, T, size]. */
  #apart(qkv: Tensor, rotary: RotaryTables | null): Tensor {
    const { qNorm, kNorm } = this;
    const prepared = (x: Tensor, norm: LayerNorm | RmsNorm | null) => {
      const normed = norm ? norm.forward(x) : x;
      return permute(rotary ? rotaryEmbedding(normed, rotary) : normed, [0, 2, 1, 3]);
    };
    const [q, k, v] = chunk(qkv, 3, 2).map((x) => byHead(x, this.#heads)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const out = attention(prepared(q, qNorm), prepared(k, kNorm), permute(v, [0, 2, 1, 3]));
    return joined(out);
  }
}

/** Multi-head attention of tokens [N, T, size] to others [N, S, size]. */
export class CrossAttention extends Module {
  /** size to size: queries, of the tokens */
  q: Linear;
  /** size to 2 size: keys and values, of the others */
  kv: Linear;
  /** size to size, after the heads are joined */
  proj: Linear;
  readonly #heads: number;

  /** Throws a {@link ShapeError} where `size` is no multiple of `heads`. */
  constructor(size: number, heads: number, options: InitOptions = {}) {
    super();
    checkOptionNames("CrossAttention", options, INIT_OPTIONS);
    checkHeads("CrossAttention", size, heads);
    this.#heads = heads;
    this.q = new Linear(size, size, options);
    this.kv = new Linear(size, 2 * size, options);
    this.proj = new Linear(size, size, options);
  }

  /** x [N, T, size] and others [N, S, size] to [N, T, size]. */
  forward(x: Tensor, others: Tensor): Tensor {
    const heads = (y: Tensor) => permute(byHead(y, this.#heads), [0, 2, 1, 3]);
    const [k, v] = chunk(this.kv.forward(others), 2, 2) as [Tensor, Tensor];
    return this.proj.forward(joined(attention(heads(this.q.forward(x)), heads(k), heads(v))));
  }
}

function checkHeads(layer: string, size: number, heads: number): void {
  checkSizes(layer, { size, heads });
  if (size % heads === 0) return;
  throw new ShapeError(
    `${layer}: expected the hidden size to be a multiple of ${heads} heads but got ${size}`,
  );
}

/** [N, T, size] as [N, T, heads, size / heads]. */
function byHead(x: Tensor, heads: number): Tensor {
  const [n, t, size] = x.shape as [number, number, number];
  return reshape(x, [n, t, heads, size / heads]);
}

/** [N, heads, T, D] as [N, T, heads D]. */
function joined(x: Tensor): Tensor {
  const [n, heads, t, d] = x.shape as [number, number, number, number];
  return reshape(permute(x, [0, 2, 1, 3]), [n, t, heads * d]);
}
