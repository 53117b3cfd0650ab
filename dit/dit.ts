/**
 * The Diffusion Transformer of "Scalable Diffusion Models with Transformers" (arXiv 2212.09748).
 * Latents are cut into patches; transformer blocks, conditioned on the timestep and the class by
 * adaptive layer norm, turn them into the noise (and its variance) of every patch.
 *
 * Shapes: N batch, C channels, S latent size, P patch size, T = (S / P)^2 tokens, D hidden size.
 */
import {
  add,
  autocast,
  Captured,
  cast,
  checkpoint,
  chunk,
  concat,
  type GatedSum,
  type Parameter,
  permute,
  reshape,
  type RotaryTables,
  silu,
  slice,
  unsqueeze,
} from "../autograd/mod.ts";
import { frozen, guide, Module, tidy } from "../nn/mod.ts";
import {
  checkOptionNames,
  type Generator,
  scope,
  ShapeError,
  shapeText,
  Tensor,
  tensor,
} from "../tensor/mod.ts";
import { type Block, createBlock, DiTBlock, FinalLayer, isAdaptive, summed } from "./blocks.ts";
import {
  BottleneckEmbed,
  type LabelDrop,
  LabelEmbedder,
  PatchEmbed,
  TimestepEmbedder,
} from "./embedders.ts";
import { checkedOptions, checkInputs, type DiTOptions } from "./options.ts";
import { rotaryAngles, sinCosPositions } from "./positions.ts";

/** Settings of {@link DiT.forwardWithCfg}. */
export interface GuidanceOptions {
  /**
   * Channels that are guided: the first three (or all where there are fewer), as the original does
   * "for exact reproducibility", or all C. The variance never is.
   */
  guidedChannels?: 3 | "all";
}

/** What both heads of a model with an early one predict. */
export interface Heads {
  /** By all blocks. */
  readonly out: Tensor;
  /** By the first of them. */
  readonly early: Tensor;
}

/** A Diffusion Transformer. */
export class DiT extends Module {
  /** [1, T, D], fixed sines and cosines; the first parameter, as in the original */
  posEmbed: Parameter;
  /** x [N, C, S, S] to tokens [N, T, D] */
  xEmbedder: PatchEmbed | BottleneckEmbed;
  /** t [N] to [N, D] */
  tEmbedder: TimestepEmbedder;
  /** y [N] to [N, D] */
  yEmbedder: LabelEmbedder;
  /** The transformer: [N, T, D] to [N, T, D] each */
  blocks: Block[];
  /** [N, T, D] to [N, T, P P outChannels] */
  finalLayer: FinalLayer;
  /** The same for the tokens after `earlyHead` blocks; null where there is no such head */
  earlyLayer: FinalLayer | null;
  /**
   * Whether blocks are computed again when backward reaches them, instead of keeping what they
   * computed: the same gradients, bit for bit, for a third more time and much less memory.
   */
  gradientCheckpointing = false;
  /**
   * Whether a device that can do so records the model's work and replays it, see {@link Captured}:
   * the same numbers, bit for bit, for a fraction of the host's time.
   */
  isCaptured = true;
  /** The shape of this model, defaults filled in. */
  readonly options: Readonly<Required<DiTOptions>>;
  /** Angles of the tokens, where attention turns by them; no weights, so state dicts have none. */
  readonly #rotary: RotaryTables | null;
  /** The model's work, for `forward` and for `forwardHeads`. */
  readonly #captured: { readonly heads: Captured; readonly out: Captured };

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
    const { inputSize, patchSize, inChannels, hiddenSize, depth, numHeads } = config;
    const side = inputSize / patchSize;
    this.posEmbed = frozen([1, side * side, hiddenSize], sinCosPositions(hiddenSize, side));
    const { bottleneck } = config;
    this.xEmbedder = bottleneck > 0
      ? new BottleneckEmbed(patchSize, inChannels, bottleneck, hiddenSize, init)
      : new PatchEmbed(patchSize, inChannels, hiddenSize, init);
    this.tEmbedder = new TimestepEmbedder(hiddenSize, init);
    const { numClasses, classDropoutProb } = config;
    this.yEmbedder = new LabelEmbedder(numClasses, hiddenSize, classDropoutProb, init);
    this.blocks = Array.from({ length: depth }, () => createBlock(config, init));
    const head = () => new FinalLayer(config, patchSize * patchSize * this.outChannels);
    this.finalLayer = head();
    this.earlyLayer = config.earlyHead > 0 ? head() : null;
    this.#rotary = config.rope
      ? rotaryTables(hiddenSize / numHeads, side, this.#conditionTokens)
      : null;
    const ofHeads = (isEarlyWanted: boolean) =>
      new Captured(([x, t, y]) => this.#compute(x!, t!, y!, isEarlyWanted), {
        parameters: () => this.parameters(),
        state: () => `${this.gradientCheckpointing}`,
      });
    this.#captured = { heads: ofHeads(true), out: ofHeads(false) };
  }

  /** Channels of the output: C, or 2 C where the variance is learned. */
  get outChannels(): number {
    const { inChannels, learnSigma } = this.options;
    return learnSigma ? 2 * inChannels : inChannels;
  }

  /** Tokens in front of those of the picture: with conditions in context, the time's and the class's. */
  get #conditionTokens(): number {
    return this.options.conditioning === "inContext" ? 2 : 0;
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
    return this.#predict(x, t, y, drop, false)[0]!;
  }

  /**
   * What both heads see in x, the early one as well.
   *
   * @returns of `forward`'s shape each; `early` is of the tokens after `earlyHead` blocks.
   * @throws {RangeError} where there is no early head.
   */
  forwardHeads(x: Tensor, t: Tensor, y: Tensor, drop: LabelDrop = {}): Heads {
    if (!this.earlyLayer) {
      throw new RangeError(
        "DiT.forwardHeads: expected a model with an earlyHead but got one without",
      );
    }
    const [out, early] = this.#predict(x, t, y, drop, true) as [Tensor, Tensor];
    return { out, early };
  }

  #predict(
    x: Tensor,
    t: Tensor,
    y: Tensor,
    drop: LabelDrop,
    isEarlyWanted: boolean,
  ): readonly Tensor[] {
    checkInputs(this.options, x, t, y);
    using s = scope("DiT");
    const kept = autocast(null, () => this.yEmbedder.chosen(y, drop)); // drawn outside
    const captured = this.#captured[isEarlyWanted ? "heads" : "out"];
    const compute = () => this.#compute(x, t, kept, isEarlyWanted);
    return s.keep(this.isCaptured ? captured.call([x, t, kept]) : compute());
  }

  /** What the last head predicts, and the early one where that is wanted; no label is dropped. */
  #compute(x: Tensor, t: Tensor, y: Tensor, isEarlyWanted: boolean): readonly Tensor[] {
    using s = scope("DiT");
    const { conditioning, earlyHead } = this.options;
    // The embeddings and thereby the tokens stay f32 in mixed precision, and with f16 weights.
    const [embedded, condition] = autocast(null, () => {
      const label = cast(this.yEmbedder.embed(y), "f32"); // [N, D]
      const time = cast(this.tEmbedder.forward(t), "f32"); // [N, D]
      const patches = cast(this.xEmbedder.forward(x), "f32");
      return [
        add(patches, cast(this.posEmbed, "f32")), // [N, T, D]
        isAdaptive(conditioning) ? silu(add(time, label)) : stack(time, label),
      ] as const;
    });
    const first = this.#conditionTokens;
    let tokens: Tensor | GatedSum = first > 0 ? concat([condition, embedded], 1) : embedded;
    const c = first > 0 ? null : condition;
    const seenBy = (head: FinalLayer): Tensor => {
      const own = first > 0 ? slice(summed(tokens), 1, { start: first }) : tokens;
      return this.#unpatchify(tidy(() => head.forward(own, c)));
    };
    const early: Tensor[] = [];
    for (const [i, block] of this.blocks.entries()) {
      const isSeenEarly = isEarlyWanted && i + 1 === earlyHead;
      const before = tokens; // [N, T, D]; freed once the next tokens are there
      tokens = tidy(() => {
        const after = this.#run(block, before, c);
        return isSeenEarly ? summed(after) : after; // two norms would sum it up twice
      });
      dispose(before);
      if (isSeenEarly) early.push(s.keep(seenBy(this.earlyLayer!)));
    }
    return [s.keep(seenBy(this.finalLayer)), ...early];
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

  /** Where blocks are computed again, what they begin with is one tensor rather than a sum's parts. */
  #run(block: Block, x: Tensor | GatedSum, c: Tensor | null): Tensor | GatedSum {
    const rotary = this.#rotary;
    const isApart = !this.gradientCheckpointing && block instanceof DiTBlock;
    if (isApart) return block.forwardUnsummed(x, c, rotary);
    const own = summed(x);
    if (!this.gradientCheckpointing) return block.forward(own, c, rotary);
    return c === null
      ? checkpoint((x) => block.forward(x!, null, rotary), own)
      : checkpoint((x, c) => block.forward(x!, c!, rotary), own, c);
  }

  /** Patches [N, T, P P channels] to pictures [N, channels, S, S]. */
  #unpatchify(patches: Tensor): Tensor {
    const { inputSize, patchSize: p } = this.options;
    const side = inputSize / p;
    const grid = reshape(patches, [-1, side, side, p, p, this.outChannels]); // n h w p q c
    const rows = permute(grid, [0, 5, 1, 3, 2, 4]); // n c h p w q
    return reshape(rows, [-1, this.outChannels, inputSize, inputSize]);
  }

  /** Frees the weights, and the angles of tokens. */
  override dispose(): void {
    super.dispose();
    for (const captured of Object.values(this.#captured)) captured.dispose();
    this.#rotary?.cosine.dispose();
    this.#rotary?.sine.dispose();
  }
}

/** Frees tokens, or all that is to be summed up to them. */
function dispose(tokens: Tensor | GatedSum): void {
  for (const part of tokens instanceof Tensor ? [tokens] : Object.values(tokens)) part.dispose();
}

/** Two vectors [N, D] as two tokens [N, 2, D]. */
function stack(a: Tensor, b: Tensor): Tensor {
  return concat([unsqueeze(a, 1), unsqueeze(b, 1)], 1);
}

/** The angles of a grid's tokens on the current device, [T, D / H] each. */
function rotaryTables(headSize: number, side: number, extraTokens: number): RotaryTables {
  const angles = rotaryAngles(headSize, side, extraTokens);
  const shape = [extraTokens + side * side, headSize];
  return {
    cosine: tensor(Float32Array.from(angles, Math.cos), shape),
    sine: tensor(Float32Array.from(angles, Math.sin), shape),
  };
}
