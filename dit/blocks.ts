/**
 * Transformer blocks of a DiT, and its last layer: the ways of the paper (arXiv 2212.09748, section
 * 3.2) to tell them the time and the class, and what later models changed in them.
 */
import {
  add,
  cast,
  chunk,
  gatedResidual,
  type GatedSum,
  layerNormFork,
  layerNormModulate,
  mul,
  type Parameter,
  rmsNormFork,
  rmsNormModulate,
  type RotaryTables,
} from "../autograd/mod.ts";
import {
  Attention,
  constant,
  CrossAttention,
  type InitOptions,
  LayerNorm,
  Linear,
  Mlp,
  Module,
  RmsNorm,
  Sequential,
  SwiGlu,
  tidy,
  xavierUniform,
  zerosParameter,
} from "../nn/mod.ts";
import { Tensor } from "../tensor/mod.ts";
import type { DiTOptions } from "./options.ts";

/** Linear layers start uniform, with zero biases ... */
const XAVIER: InitOptions = { weightInit: xavierUniform, biasInit: zerosParameter };
/** ... but for those of adaLN and the last one: a new block is the identity, a new model outputs 0. */
const ZEROS: InitOptions = { weightInit: zerosParameter, biasInit: zerosParameter };
/** Added to variances and mean squares. */
const EPS = 1e-6;
/** Of norms that only linear layers read. */
const OF_NORM = { eps: EPS, intoProduct: true };

/** What of a model's options its blocks are made by. */
export type BlockOptions =
  & Required<Pick<DiTOptions, "hiddenSize" | "numHeads" | "mlpRatio">>
  & Required<Pick<DiTOptions, "norm" | "mlp" | "qkNorm" | "conditioning">>;

/** A block, whose `forward` takes [N, T, D] to [N, T, D]. */
export type Block = DiTBlock | PlainBlock;

/** A block as the options say. */
export function createBlock(options: BlockOptions, init: InitOptions): Block {
  return isAdaptive(options.conditioning)
    ? new DiTBlock(options, init)
    : new PlainBlock(options, init);
}

/** Whether conditions come in by adaptive normalisation. */
export function isAdaptive(conditioning: BlockOptions["conditioning"]): boolean {
  return conditioning === "adaLN-Zero" || conditioning === "adaLN";
}

function attentionOf({ hiddenSize, numHeads, qkNorm, norm }: BlockOptions, init: InitOptions) {
  return new Attention(hiddenSize, numHeads, { ...init, ...(qkNorm ? { qkNorm: norm } : {}) });
}

function mlpOf({ hiddenSize, mlpRatio, mlp }: BlockOptions, init: InitOptions): Mlp | SwiGlu {
  const width = Math.floor(hiddenSize * mlpRatio);
  // two thirds, so that its three matrices have as many weights as the two of an MLP
  return mlp === "swiglu"
    ? new SwiGlu(hiddenSize, Math.max(1, Math.floor(width * 2 / 3)), init)
    : new Mlp(hiddenSize, width, init);
}

/**
 * The linear layer of adaLN, from silu(c) [N, D] to `parts` vectors of that size, [N, parts D]. Its
 * place in the original is behind the SiLU, which one pass computes for all blocks here.
 */
function modulationOf(size: number, parts: number): Sequential {
  return new Sequential((activated) => activated, new Linear(size, parts * size, ZEROS));
}

/** Layers conditioned by adaLN on silu(c) [N, D], c being what is known of the time and the class. */
export abstract class Conditioned extends Module {
  /** The original's name for it is not snake case. */
  protected override nameOf(property: string): string {
    return property === "adaLNModulation" ? "adaLN_modulation" : super.nameOf(property);
  }
}

/** w (1 + scale) as the 1 + scale of the kernel. */
function weighted(weight: Tensor, scale: Tensor): Tensor {
  return tidy(() => {
    const w = weight.dtype === "f16" ? cast(weight, scale.dtype) : weight; // where weights are f16
    return add(mul(w, add(scale, 1)), -1);
  });
}

/** Normalisation of tokens that is scaled and shifted a sample: norm(x) (1 + scale) + shift. */
export class AdaptiveNorm extends Module {
  /** [D], of RMSNorm as LightningDiT has it; null of layer norm, whose affine part is the sample's */
  weight: Parameter | null;

  /** Of tokens of `size` numbers. */
  constructor(size: number, norm: BlockOptions["norm"]) {
    super();
    this.weight = norm === "rmsNorm" ? constant([size], 1) : null;
  }

  /** x [N, T, D], shift and scale [N, D] to [N, T, D]. */
  forward(x: Tensor | GatedSum, shift: Tensor, scale: Tensor): Tensor {
    if (!this.weight) return layerNormModulate(x, shift, scale, OF_NORM);
    return rmsNormModulate(x, shift, weighted(this.weight, scale), OF_NORM);
  }

  /** As `forward`, with x itself, or the sum, in front, for what goes past a branch. */
  fork(x: Tensor | GatedSum, shift: Tensor, scale: Tensor): [x: Tensor, normed: Tensor] {
    if (!this.weight) return layerNormFork(x, shift, scale, OF_NORM);
    return rmsNormFork(x, shift, weighted(this.weight, scale), OF_NORM);
  }
}

/** A transformer block with adaLN conditioning, with gates that start at 0 (adaLN-Zero) or without. */
export class DiTBlock extends Conditioned {
  /** Before attention; without weights where it is layer norm */
  norm1: AdaptiveNorm;
  /** Tokens among themselves */
  attn: Attention;
  /** Before the MLP */
  norm2: AdaptiveNorm;
  /** Every token by itself; tanh GELU, or SwiGLU */
  mlp: Mlp | SwiGlu;
  /** silu(c) [N, D] to [N, 6 D]: shift, scale and gate of the attention, then of the MLP; 4 D without gates */
  adaLNModulation: Sequential;
  readonly #hasGates: boolean;

  /** A block whose MLP is `mlpRatio` times as wide as a token. */
  constructor(options: BlockOptions, given: InitOptions = {}) {
    super();
    const init = { ...given, ...XAVIER };
    const { hiddenSize, norm, conditioning } = options;
    this.#hasGates = conditioning === "adaLN-Zero";
    this.norm1 = new AdaptiveNorm(hiddenSize, norm);
    this.attn = attentionOf(options, init);
    this.norm2 = new AdaptiveNorm(hiddenSize, norm);
    this.mlp = mlpOf(options, init);
    this.adaLNModulation = modulationOf(hiddenSize, this.#hasGates ? 6 : 4);
  }

  /**
   * x [N, T, D] and silu(c) [N, D] to [N, T, D].
   *
   * @param rotary Angles by which attention turns queries and keys; null for none.
   */
  forward(x: Tensor, activated: Tensor | null, rotary: RotaryTables | null = null): Tensor {
    return tidy(() => summed(this.forwardUnsummed(x, activated, rotary)));
  }

  /** As `forward`, but that its last sum, and that of the block before, is left to the norm after it. */
  forwardUnsummed(
    x: Tensor | GatedSum,
    activated: Tensor | null,
    rotary: RotaryTables | null = null,
  ): Tensor | GatedSum {
    const modulation = this.adaLNModulation.forward(activated!);
    const parts = chunk(modulation, this.#hasGates ? 6 : 4, 1); // [N, D] each
    const half = parts.length / 2;
    const [shiftMsa, scaleMsa, gateMsa] = parts as [Tensor, Tensor, Tensor];
    const [shiftMlp, scaleMlp, gateMlp] = parts.slice(half) as [Tensor, Tensor, Tensor];
    // x + gate * attention(norm(x)), the gate one number a channel, and its norm
    const [y, normed] = tidy(() => {
      const [past, normed] = this.norm1.fork(x, shiftMsa, scaleMsa);
      const h = this.attn.forward(normed, rotary);
      const sum = this.#hasGates ? { x: past, gate: gateMsa, h } : add(past, h);
      return this.norm2.fork(sum, shiftMlp, scaleMlp);
    });
    const h = tidy(() => this.mlp.forward(normed));
    return this.#hasGates ? { x: y, gate: gateMlp, h } : add(y, h);
  }
}

/** A gated sum that no norm has summed up, as tokens [N, T, D]. */
export function summed(x: Tensor | GatedSum): Tensor {
  return x instanceof Tensor ? x : gatedResidual(x.x, x.gate, x.h);
}

function normOf({ hiddenSize, norm }: Pick<BlockOptions, "hiddenSize" | "norm">) {
  return norm === "rmsNorm"
    ? new RmsNorm(hiddenSize, { eps: EPS })
    : new LayerNorm(hiddenSize, { eps: EPS });
}

/**
 * A transformer block that sees conditions as tokens: among its own (in context), or by attention to
 * them between that of its own and the MLP (cross-attention).
 */
export class PlainBlock extends Module {
  /** Before attention */
  norm1: LayerNorm | RmsNorm;
  /** Tokens among themselves */
  attn: Attention;
  /** Before cross-attention */
  normCross: LayerNorm | RmsNorm | null = null;
  /** Tokens to those of the condition */
  crossAttn: CrossAttention | null = null;
  /** Before the MLP */
  norm2: LayerNorm | RmsNorm;
  /** Every token by itself; tanh GELU, or SwiGLU */
  mlp: Mlp | SwiGlu;

  /** A block whose MLP is `mlpRatio` times as wide as a token. */
  constructor(options: BlockOptions, given: InitOptions = {}) {
    super();
    const init = { ...given, ...XAVIER };
    this.norm1 = normOf(options);
    this.attn = attentionOf(options, init);
    if (options.conditioning === "crossAttention") {
      this.normCross = normOf(options);
      this.crossAttn = new CrossAttention(options.hiddenSize, options.numHeads, init);
    }
    this.norm2 = normOf(options);
    this.mlp = mlpOf(options, init);
  }

  /**
   * x [N, T, D] to [N, T, D].
   *
   * @param c For cross-attention a token for the time and one for the class, [N, 2, D]; else null.
   * @param rotary Angles by which attention turns queries and keys; null for none.
   */
  forward(x: Tensor, c: Tensor | null, rotary: RotaryTables | null = null): Tensor {
    let y = tidy(() => add(x, this.attn.forward(this.norm1.forward(x), rotary)));
    const { crossAttn, normCross } = this;
    if (crossAttn && normCross) {
      using before = y;
      y = tidy(() => add(before, crossAttn.forward(normCross.forward(before), c!)));
    }
    return tidy(() => add(y, this.mlp.forward(this.norm2.forward(y))));
  }
}

/** Tokens [N, T, D] to the pixels of their patches [N, T, P P channels]. */
export class FinalLayer extends Conditioned {
  /** Before the linear layer; without weights where it is adaptive layer norm */
  normFinal: AdaptiveNorm | LayerNorm | RmsNorm;
  /** D to P P channels */
  linear: Linear;
  /** silu(c) [N, D] to [N, 2 D]: shift and scale; null where conditions are tokens */
  adaLNModulation: Sequential | null;

  /** A layer from tokens to `outputs` numbers each. */
  constructor(options: BlockOptions, outputs: number) {
    super();
    const { hiddenSize, norm, conditioning } = options;
    const adaptive = isAdaptive(conditioning);
    this.normFinal = adaptive ? new AdaptiveNorm(hiddenSize, norm) : normOf(options);
    this.linear = new Linear(hiddenSize, outputs, ZEROS);
    this.adaLNModulation = adaptive ? modulationOf(hiddenSize, 2) : null;
  }

  /** x [N, T, D] and, with adaLN, silu(c) [N, D] to [N, T, P P channels]. */
  forward(x: Tensor | GatedSum, activated: Tensor | null): Tensor {
    const { normFinal } = this;
    if (!(normFinal instanceof AdaptiveNorm)) {
      return this.linear.forward(normFinal.forward(summed(x)));
    }
    const [shift, scale] = chunk(this.adaLNModulation!.forward(activated!), 2, 1) as [
      Tensor,
      Tensor,
    ];
    return this.linear.forward(normFinal.forward(x, shift, scale));
  }
}
