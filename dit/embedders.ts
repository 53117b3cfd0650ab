/** Latents, timesteps and labels as vectors of a DiT's width. */
import {
  arange,
  defaultGenerator,
  full,
  type Generator,
  rand,
  sameShape,
  ShapeError,
  shapeText,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import {
  cast,
  concat,
  cos,
  eq,
  linear,
  lt,
  matmul,
  mul,
  pad,
  permute,
  reshape,
  silu,
  sin,
  unsqueeze,
  where,
} from "../autograd/mod.ts";
import {
  Conv2d,
  Embedding,
  type InitOptions,
  Linear,
  Module,
  normal,
  Sequential,
  xavierUniform,
  zerosParameter,
} from "../nn/mod.ts";
import { timestepFrequencies } from "./positions.ts";

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

  /** Patches of `patch` x `patch` pixels of `channels` channels to `hidden` numbers. */
  constructor(patch: number, channels: number, hidden: number, options: InitOptions = {}) {
    super();
    this.proj = new Conv2d(channels, hidden, patch, { ...options, ...XAVIER_PATCH, stride: patch });
  }

  /** x [N, C, S, S] to [N, T, D]. */
  forward(x: Tensor): Tensor {
    return onPatches(x, this.proj);
  }
}

/**
 * The same through a bottleneck: patches to few numbers, and these to tokens (arXiv 2511.13720,
 * "bottleneck embedding").
 */
export class BottleneckEmbed extends Module {
  /** [B, C, P, P], without bias */
  proj1: Conv2d;
  /** [D, B] and [D] */
  proj2: Linear;

  /** Patches through `width` numbers to `hidden`. */
  constructor(
    patch: number,
    channels: number,
    width: number,
    hidden: number,
    options: InitOptions = {},
  ) {
    super();
    const first = { ...options, ...XAVIER_PATCH, stride: patch, bias: false };
    this.proj1 = new Conv2d(channels, width, patch, first);
    const second = { ...options, weightInit: xavierUniform, biasInit: zerosParameter };
    this.proj2 = new Linear(width, hidden, second);
  }

  /** x [N, C, S, S] to [N, T, D]. */
  forward(x: Tensor): Tensor {
    return this.proj2.forward(onPatches(x, this.proj1));
  }
}

/** A convolution whose stride is the size of its kernel as a linear layer: [N, C, S, S] to [N, T, O]. */
function onPatches(x: Tensor, { weight, bias }: Conv2d): Tensor {
  const [n, c, s] = x.shape as [number, number, number];
  const p = weight.shape[2]!;
  const [side, size] = [s / p, c * p * p];
  const grid = permute(reshape(x, [n, c, side, p, side, p]), [0, 2, 4, 1, 3, 5]); // n h w c p q
  const patches = reshape(grid, [n, side * side, size]); // [N, T, C P P]
  return linear(patches, reshape(weight, [-1, size]), bias);
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
    return this.embed(this.chosen(labels, drop));
  }

  /** The labels that are embedded: some are dropped in training, or where that is forced. */
  chosen(labels: Tensor, drop: LabelDrop = {}): Tensor {
    const drops = drop.forceDropIds || (this.training && this.#dropout > 0);
    return drops ? this.tokenDrop(labels, drop) : labels;
  }

  /** As `forward`, of labels none of which is to be dropped. */
  embed(kept: Tensor): Tensor {
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
