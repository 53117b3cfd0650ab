/**
 * The Diffusion Transformer of "Scalable Diffusion Models with Transformers" (arXiv 2212.09748).
 * Latents are cut into patches; transformer blocks, conditioned on the timestep and the class by
 * adaptive layer norm, turn them into the noise (and its variance) of every patch.
 *
 * Shapes: N batch, C channels, S latent size, P patch size, T = (S / P)^2 tokens, D hidden size.
 */
import {
  add,
  addcmul,
  cast,
  checkpoint,
  chunk,
  concat,
  cos,
  eq,
  layerNormModulate,
  linear,
  lt,
  matmul,
  mul,
  pad,
  type Parameter,
  permute,
  reshape,
  silu,
  sin,
  slice,
  unsqueeze,
  where,
} from "../autograd/mod.ts";
import {
  Attention,
  Conv2d,
  Embedding,
  frozen,
  guide,
  type InitOptions,
  Linear,
  Mlp,
  Module,
  normal,
  Sequential,
  tidy,
  xavierUniform,
  zerosParameter,
} from "../nn/mod.ts";
import {
  arange,
  checkOptionNames,
  defaultGenerator,
  full,
  type Generator,
  rand,
  sameShape,
  scope,
  ShapeError,
  shapeText,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import { checkedOptions, checkInputs, type DiTOptions } from "./options.ts";
import { sinCosPositions, timestepFrequencies } from "./positions.ts";

/** Linear layers start uniform, with zero biases ... */
const XAVIER: InitOptions = { weightInit: xavierUniform, biasInit: zerosParameter };
/** ... but for those of adaLN and the last one: a new block is the identity, a new model outputs 0. */
const ZEROS: InitOptions = { weightInit: zerosParameter, biasInit: zerosParameter };
/** A patch embedding starts as the linear layer that it is. */
const XAVIER_PATCH: InitOptions = {
  weightInit: (shape, options) =>
    xavierUniform(shape, { ...options, as: [shape[0]!, shape[1]! * shape[2]! * shape[3]!] }),
  biasInit: zerosParameter,
};

/** Labels and times start small: normal with this standard deviation. */
const SMALL: InitOptions = {
  weightInit: (shape, options) => normal(shape, 0.02, options),
  biasInit: zerosParameter,
};

/** Latents [N, C, S, S] to tokens [N, T, D]: one linear layer on every patch. */
export class PatchEmbed extends Module {
  /** [D, C, P, P] and [D]; a convolution with stride P in the original, which is the same */
  proj: Conv2d;
  readonly #patch: number;

  /** Patches of `patch` x `patch` pixels of `channels` channels to `hidden` numbers. */
  constructor(patch: number, channels: number, hidden: number, options: InitOptions = {}) {
    super();
    this.proj = new Conv2d(channels, hidden, patch, { ...options, ...XAVIER_PATCH, stride: patch });
    this.#patch = patch;
  }

  /** x [N, C, S, S] to [N, T, D]. */
  forward(x: Tensor): Tensor {
    const [n, c, s] = x.shape as [number, number, number];
    const p = this.#patch;
    const [side, size] = [s / p, c * p * p];
    const grid = permute(reshape(x, [n, c, side, p, side, p]), [0, 2, 4, 1, 3, 5]); // n h w c p q
    const patches = reshape(grid, [n, side * side, size]); // [N, T, C P P]
    const { weight, bias } = this.proj;
    return linear(patches, reshape(weight, [-1, size]), bias);
  }
}

/** Features of a timestep before the MLP. */
const FREQUENCY_FEATURES = 256;

/** cos(t f) and then sin(t f) for t [N] and frequencies [half]: [N, 2 half]. */
function sinusoids(t: Tensor, frequencies: Tensor): Tensor {
  const angles = mul(reshape(cast(t, "f32"), [-1, 1]), frequencies); // [N, half]
  return concat([cos(angles), sin(angles)], 1);
}

/**
 * Sinusoidal features of timesteps, cosines first.
 *
 * @param t [N], of any dtype; may be fractional.
 * @param size Features; where it is odd the last one is 0. A size of 1 gives none, as the original.
 * @param maxPeriod Of the slowest feature.
 * @returns [N, size], f32.
 */
export function timestepEmbedding(t: Tensor, size: number, maxPeriod = 10000): Tensor {
  const frequencies = tensor(timestepFrequencies(size, maxPeriod), undefined, { device: t.device });
  const features = sinusoids(t, frequencies);
  return size % 2 === 1 && size > 1 ? pad(features, [[0, 0], [0, 1]]) : features;
}

/** Timesteps [N] to vectors [N, hidden]: sinusoids, then two linear layers. */
export class TimestepEmbedder extends Module {
  /** 256 to hidden to hidden, with SiLU between */
  mlp: Sequential;
  /** [128]; no weight, so not a property that state dicts see. */
  readonly #frequencies: Tensor;

  /** An embedder to vectors of `hidden` numbers. */
  constructor(hidden: number, options: InitOptions = {}) {
    super();
    const init = { ...options, ...SMALL };
    this.mlp = new Sequential(
      new Linear(FREQUENCY_FEATURES, hidden, init),
      silu,
      new Linear(hidden, hidden, init),
    );
    this.#frequencies = tensor(timestepFrequencies(FREQUENCY_FEATURES));
  }

  /** The 256 features of t [N] that go into the MLP: [N, 256]. */
  features(t: Tensor): Tensor {
    return sinusoids(t, this.#frequencies);
  }

  /** t [N] to [N, hidden]. */
  forward(t: Tensor): Tensor {
    return this.mlp.forward(this.features(t));
  }

  /** Frees the weights and the frequencies. */
  override dispose(): void {
    super.dispose();
    this.#frequencies.dispose();
  }
}

/** Which labels of a batch become the null class. */
export interface LabelDrop {
  /** [N]: a label is dropped where its number is 1 (and nowhere else), in training or not. */
  forceDropIds?: Tensor;
  /** [N] in [0, 1): a label is dropped where its number is below the dropout probability. */
  uniforms?: Tensor;
  /** Where uniforms are drawn from otherwise; by default the generator that `manualSeed` sets. */
  generator?: Generator;
}

/** Labels [N] to vectors [N, hidden], some replaced by the null class while training. */
export class LabelEmbedder extends Module {
  /** A row for each class, and one for the null class where labels are dropped */
  embeddingTable: Embedding;
  readonly #numClasses: number;
  readonly #dropout: number;

  /**
   * A row for each of `numClasses` classes.
   *
   * @param dropout Probability that a label is dropped while training; 0 for no null class.
   */
  constructor(numClasses: number, hidden: number, dropout: number, options: InitOptions = {}) {
    super();
    const rows = numClasses + (dropout > 0 ? 1 : 0);
    this.embeddingTable = new Embedding(rows, hidden, { ...options, ...SMALL });
    this.#numClasses = numClasses;
    this.#dropout = dropout;
  }

  /** `labels` with the null class for those that are dropped. */
  tokenDrop(labels: Tensor, drop: LabelDrop = {}): Tensor {
    const { dtype, device } = labels;
    const shape = labels.shape.slice(0, 1); // [N]
    const { forceDropIds, generator = defaultGenerator() } = drop;
    const draw = () => drop.uniforms ?? rand(shape, { generator, device });
    const chosen = forceDropIds
      ? eq(checked(forceDropIds, labels, "forceDropIds"), 1)
      : lt(checked(draw(), labels, "uniforms"), this.#dropout);
    if (labels.rank === 2) {
      const classes = arange(0, labels.shape[1]!, 1, { device });
      const nothing = cast(eq(classes, this.#numClasses), dtype); // 1 for the null class alone
      return where(unsqueeze(chosen, 1), nothing, labels);
    }
    const dropped = where(chosen, full(shape, this.#numClasses, { dtype, device }), labels);
    const { range } = labels.storage;
    if (range) { // so that the lookup needs no check on the device
      dropped.storage.range = { min: range.min, max: Math.max(range.max, this.#numClasses) };
    }
    return dropped;
  }

  /** labels (i32 or u32) [N], or weights of all classes [N, classes], to [N, hidden]. */
  forward(labels: Tensor, drop: LabelDrop = {}): Tensor {
    const drops = drop.forceDropIds || (this.training && this.#dropout > 0);
    const kept = drops ? this.tokenDrop(labels, drop) : labels;
    if (kept.rank !== 2) return this.embeddingTable.forward(kept);
    // in f32 whatever the weights are: a weight of 1 gives the row that a lookup gives
    return matmul(cast(kept, "f32"), cast(this.embeddingTable.weight, "f32"));
  }
}

function checked(given: Tensor, labels: Tensor, name: string): Tensor {
  const shape = labels.shape.slice(0, 1);
  if (!sameShape(given.shape, shape)) {
    throw new ShapeError(
      `LabelEmbedder: expected ${name} ${shapeText(shape)}, one a label, but got ${
        shapeText(given.shape)
      }`,
    );
  }
  return given;
}

/** A layer conditioned on c [N, D] by adaLN: SiLU, then a linear layer. */
export abstract class Conditioned extends Module {
  /** The original's name for it is not snake case. */
  protected override nameOf(property: string): string {
    return property === "adaLNModulation" ? "adaLN_modulation" : super.nameOf(property);
  }
}

/** A transformer block with adaLN-Zero conditioning. */
export class DiTBlock extends Conditioned {
  /** Tokens among themselves */
  attn: Attention;
  /** Every token by itself; tanh GELU */
  mlp: Mlp;
  /** c [N, D] to [N, 6 D]: shift, scale and gate of the attention, then of the MLP */
  adaLNModulation: Sequential;

  /** A block of `heads` heads, whose MLP is `mlpRatio` times as wide as a token. */
  constructor(hidden: number, heads: number, mlpRatio: number, options: InitOptions = {}) {
    super();
    const init = { ...options, ...XAVIER };
    this.attn = new Attention(hidden, heads, init);
    this.mlp = new Mlp(hidden, Math.floor(hidden * mlpRatio), init);
    this.adaLNModulation = new Sequential(silu, new Linear(hidden, 6 * hidden, ZEROS));
  }

  /** x [N, T, D] and c [N, D] to [N, T, D]. */
  forward(x: Tensor, c: Tensor): Tensor {
    const modulation = chunk(this.adaLNModulation.forward(c), 6, 1); // six of [N, D]
    const [shiftMsa, scaleMsa, gateMsa, shiftMlp, scaleMlp, gateMlp] = modulation as Six;
    // x + gate * attention(norm(x)), the gate one number a channel
    const y = tidy(() => {
      const h = this.attn.forward(layerNormModulate(x, shiftMsa, scaleMsa));
      return addcmul(x, unsqueeze(gateMsa, 1), h);
    });
    return tidy(() => {
      const h = this.mlp.forward(layerNormModulate(y, shiftMlp, scaleMlp));
      return addcmul(y, unsqueeze(gateMlp, 1), h);
    });
  }
}

type Six = [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];

/** Tokens [N, T, D] to the pixels of their patches [N, T, P P channels]. */
export class FinalLayer extends Conditioned {
  /** D to P P channels */
  linear: Linear;
  /** c [N, D] to [N, 2 D]: shift and scale */
  adaLNModulation: Sequential;

  /** A layer from `hidden` to `outputs` numbers a token. */
  constructor(hidden: number, outputs: number) {
    super();
    this.linear = new Linear(hidden, outputs, ZEROS);
    this.adaLNModulation = new Sequential(silu, new Linear(hidden, 2 * hidden, ZEROS));
  }

  /** x [N, T, D] and c [N, D] to [N, T, P P channels]. */
  forward(x: Tensor, c: Tensor): Tensor {
    const [shift, scale] = chunk(this.adaLNModulation.forward(c), 2, 1) as [Tensor, Tensor];
    return this.linear.forward(layerNormModulate(x, shift, scale));
  }
}

/** Settings of {@link DiT.forwardWithCfg}. */
export interface GuidanceOptions {
  /**
   * Channels that are guided: the first three (or all where there are fewer), as the original does
   * "for exact reproducibility", or all C. The variance never is.
   */
  guidedChannels?: 3 | "all";
}

/** A Diffusion Transformer. */
export class DiT extends Module {
  /** [1, T, D], fixed sines and cosines; the first parameter, as in the original */
  posEmbed: Parameter;
  /** x [N, C, S, S] to tokens [N, T, D] */
  xEmbedder: PatchEmbed;
  /** t [N] to [N, D] */
  tEmbedder: TimestepEmbedder;
  /** y [N] to [N, D] */
  yEmbedder: LabelEmbedder;
  /** The transformer: [N, T, D] to [N, T, D] each */
  blocks: DiTBlock[];
  /** [N, T, D] to [N, T, P P outChannels] */
  finalLayer: FinalLayer;
  /**
   * Whether blocks are computed again when backward reaches them, instead of keeping what they
   * computed: the same gradients, bit for bit, for a third more time and much less memory.
   */
  gradientCheckpointing = false;
  /** The shape of this model, defaults filled in. */
  readonly options: Readonly<Required<DiTOptions>>;

  /**
   * A model with fresh weights; nothing is drawn inside `withoutInit`.
   *
   * @param options See {@link DiTOptions}.
   * @param init `generator`: where the weights are drawn from.
   * @throws {ShapeError} where sizes do not fit each other.
   */
  constructor(options: DiTOptions = {}, init: { generator?: Generator } = {}) {
    super();
    const config = this.options = checkedOptions(options);
    const { inputSize, patchSize, inChannels, hiddenSize, depth, numHeads, mlpRatio } = config;
    const side = inputSize / patchSize;
    this.posEmbed = frozen([1, side * side, hiddenSize], sinCosPositions(hiddenSize, side));
    this.xEmbedder = new PatchEmbed(patchSize, inChannels, hiddenSize, init);
    this.tEmbedder = new TimestepEmbedder(hiddenSize, init);
    const { numClasses, classDropoutProb } = config;
    this.yEmbedder = new LabelEmbedder(numClasses, hiddenSize, classDropoutProb, init);
    this.blocks = Array.from(
      { length: depth },
      () => new DiTBlock(hiddenSize, numHeads, mlpRatio, init),
    );
    this.finalLayer = new FinalLayer(hiddenSize, patchSize * patchSize * this.outChannels);
  }

  /** Channels of the output: C, or 2 C where the variance is learned. */
  get outChannels(): number {
    const { inChannels, learnSigma } = this.options;
    return learnSigma ? 2 * inChannels : inChannels;
  }

  /** The label that means "no class"; null where the model was made without one. */
  get nullClass(): number | null {
    const { numClasses, classDropoutProb } = this.options;
    return classDropoutProb > 0 ? numClasses : null;
  }

  /**
   * The noise (and its variance) that the model sees in x.
   *
   * @param x [N, C, S, S] noisy latents, f32 or f16.
   * @param t [N] timesteps, integers or fractions.
   * @param y [N] class labels, i32 or u32; `nullClass` for none. Or a mixture of classes: weights of
   * their embeddings, [N, classes], f32 or f16, the null class last where there is one.
   * @param drop Which labels to drop, where that is not left to chance.
   * @returns [N, C, S, S], or [N, 2 C, S, S] with the variance behind.
   * @throws {ShapeError} where x, t and y do not fit the model or each other.
   * @throws {IndexError} where a label is no class of the model, or a timestep is below 0.
   */
  forward(x: Tensor, t: Tensor, y: Tensor, drop: LabelDrop = {}): Tensor {
    checkInputs(this.options, x, t, y);
    using s = scope("DiT");
    // The embeddings and thereby the tokens stay f32 in mixed precision, and with f16 weights.
    const labels = cast(this.yEmbedder.forward(y, drop), "f32");
    const c = add(cast(this.tEmbedder.forward(t), "f32"), labels); // [N, D]
    let tokens = add(cast(this.xEmbedder.forward(x), "f32"), cast(this.posEmbed, "f32"));
    for (const block of this.blocks) {
      using before = tokens; // [N, T, D]; freed once the next tokens are there
      tokens = tidy(() => this.#run(block, before, c));
    }
    return s.keep(this.#unpatchify(tidy(() => this.finalLayer.forward(tokens, c))));
  }

  /**
   * As `forward` with classifier-free guidance (arXiv 2207.12598): the first half of the batch is
   * computed with its labels and again with those of the second half (the null class), and moved
   * away from the latter. Of the original's API; `sample()` guides any model.
   *
   * @param x [2 N, C, S, S]; the first half is used for both.
   * @param t [2 N]
   * @param y [2 N]: N labels, then N times `nullClass`.
   * @param cfgScale 1 guides nothing; 4 is usual for pictures, 1.5 for good FID.
   * @returns [2 N, outChannels, S, S], the guided channels the same in both halves.
   */
  forwardWithCfg(
    x: Tensor,
    t: Tensor,
    y: Tensor,
    cfgScale: number,
    options: GuidanceOptions = {},
  ): Tensor {
    if (x.shape[0]! % 2 !== 0) {
      throw new ShapeError(
        `DiT.forwardWithCfg: expected an even batch, half of it without class, but got ${
          shapeText(x.shape)
        }`,
      );
    }
    checkOptionNames("DiT.forwardWithCfg", options, { guidedChannels: 1 });
    const { guidedChannels = 3 } = options;
    if (guidedChannels !== 3 && guidedChannels !== "all") {
      throw new RangeError(
        `DiT.forwardWithCfg: expected guidedChannels 3 or "all" but got ${guidedChannels}`,
      );
    }
    if (!Number.isFinite(cfgScale)) {
      throw new RangeError(
        `DiT.forwardWithCfg: expected a cfgScale that is a finite number but got ${cfgScale}`,
      );
    }
    using s = scope("DiT");
    const half = slice(x, 0, { end: x.shape[0]! / 2 });
    const out = this.forward(concat([half, half], 0), t, y);
    const { inChannels } = this.options;
    const guided = guidedChannels === "all" ? inChannels : Math.min(3, inChannels);
    const [withClass, without] = chunk(out, 2) as [Tensor, Tensor]; // [N, outChannels, S, S]
    const moved = guide(withClass, without, cfgScale, guided);
    const other = [slice(moved, 1, { end: guided }), slice(without, 1, { start: guided })];
    return s.keep(concat([moved, concat(other, 1)], 0));
  }

  #run(block: DiTBlock, x: Tensor, c: Tensor): Tensor {
    if (!this.gradientCheckpointing) return block.forward(x, c);
    return checkpoint((x, c) => block.forward(x!, c!), x, c);
  }

  /** Patches [N, T, P P channels] to pictures [N, channels, S, S]. */
  #unpatchify(patches: Tensor): Tensor {
    const { inputSize, patchSize: p } = this.options;
    const side = inputSize / p;
    const grid = reshape(patches, [-1, side, side, p, p, this.outChannels]); // n h w p q c
    const rows = permute(grid, [0, 5, 1, 3, 2, 4]); // n c h p w q
    return reshape(rows, [-1, this.outChannels, inputSize, inputSize]);
  }
}
