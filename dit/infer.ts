/** Options of a DiT from the shapes of its weights. */
import { type Shape, ShapeError, shapeText, type TensorSource } from "../tensor/mod.ts";
import { DIT_CONFIGS } from "./configs.ts";
import type { DiTOptions, DiTShape, DiTSwitches } from "./options.ts";

/**
 * The options of the model that weights (under the original's names, or LightningDiT's) belong to.
 * Three things are not in their shapes: the number of heads, which is that of the named model of this
 * width unless given; whether the last row of the label table is the null class, which it is unless
 * `classDropoutProb` is given as 0; and `rope` in files without its angles.
 *
 * @throws {ShapeError} where a weight is missing or shapes contradict each other.
 * @throws {RangeError} where the number of heads is needed.
 */
export function ditOptionsOf(
  weights: Pick<TensorSource, "keys" | "info">,
  known: Pick<DiTOptions, "numHeads" | "classDropoutProb" | "rope"> = {},
): DiTShape {
  const names = new Set(weights.keys());
  const shapeOf = (name: string, rank: number): Shape => {
    const shape = names.has(name) ? weights.info(name).shape : null;
    if (shape?.length === rank) return shape;
    throw new ShapeError(
      `ditOptionsOf: expected a weight ${name} of ${rank} dimensions but got ${
        shape ? shapeText(shape) : "none"
      }`,
    );
  };
  const [hiddenSize, inChannels, patchSize] = shapeOf("x_embedder.proj.weight", 4) as Four;
  const side = Math.sqrt(shapeOf("pos_embed", 3)[1]!);
  const outputs = shapeOf("final_layer.linear.bias", 1)[0]! / (patchSize * patchSize * inChannels);
  if (!Number.isInteger(side) || (outputs !== 1 && outputs !== 2)) {
    throw new ShapeError(
      `ditOptionsOf: expected a square of tokens and one or two outputs a channel but got ${
        side ** 2
      } tokens and ${outputs} outputs`,
    );
  }
  const depth =
    new Set([...names].flatMap((name) => /^blocks\.(\d+)\./.exec(name)?.[1] ?? [])).size;
  const { classDropoutProb = 0.1 } = known;
  const switches = {
    ...switchesIn(names),
    ...(known.rope === undefined ? {} : { rope: known.rope }),
  };
  if (names.has("blocks.0.adaLN_modulation.1.bias")) {
    const parts = shapeOf("blocks.0.adaLN_modulation.1.bias", 1)[0]! / hiddenSize;
    if (parts !== 6) {
      throw new ShapeError(
        `ditOptionsOf: expected adaLN of 6 vectors a block but got ${parts}: names do not tell which`,
      );
    }
  }
  const mlpWidth = switches.mlp === "swiglu"
    ? widthOfSwiGlu(shapeOf("blocks.0.mlp.w12.bias", 1)[0]! / 2, hiddenSize)
    : shapeOf("blocks.0.mlp.fc1.bias", 1)[0]!;
  const rows = shapeOf("y_embedder.embedding_table.weight", 2)[0]!;
  return {
    inputSize: side * patchSize,
    patchSize,
    inChannels,
    hiddenSize,
    depth,
    numHeads: known.numHeads ?? usualHeads(hiddenSize),
    mlpRatio: ratioOf(mlpWidth, hiddenSize),
    classDropoutProb,
    numClasses: classDropoutProb > 0 ? rows - 1 : rows,
    learnSigma: outputs === 2,
    ...switches,
  };
}

/** A ratio that makes an MLP so wide: quotients that are rounded down make some of them narrower. */
function ratioOf(width: number, token: number): number {
  const ratio = width / token;
  return Math.floor(token * ratio) === width ? ratio : ratio * (1 + Number.EPSILON);
}

/**
 * The width of an MLP whose SwiGLU, two thirds of it rounded down, is `hidden` wide: of the one or
 * two that there are, a multiple of a token's.
 */
function widthOfSwiGlu(hidden: number, token: number): number {
  const least = Math.ceil(hidden * 1.5);
  const more = least + 1;
  return more % token === 0 && Math.floor(more * 2 / 3) === hidden ? more : least;
}

/**
 * The switches that names of weights tell of, those that are not as in the paper. LightningDiT keeps
 * the angles of its rotary embedding among its weights; a file without them has to be told.
 */
function switchesIn(names: ReadonlySet<string>): DiTSwitches {
  const block = (name: string) => names.has(`blocks.0.${name}`);
  const found = (name: string, isThere: boolean, value: unknown) =>
    isThere ? { [name]: value } : {};
  const isPlain = block("norm1.weight") && !block("adaLN_modulation.1.weight");
  return {
    ...found("norm", block("norm1.weight") && !block("norm1.bias"), "rmsNorm"),
    ...found("mlp", block("mlp.w12.weight"), "swiglu"),
    ...found("rope", names.has("feat_rope.freqs_cos"), true),
    ...found("qkNorm", block("attn.q_norm.weight"), true),
    ...found(
      "conditioning",
      isPlain,
      block("cross_attn.q.weight") ? "crossAttention" : "inContext",
    ),
  };
}

type Four = readonly [number, number, number, number];

/** Heads of the named models of a width. */
function usualHeads(hiddenSize: number): number {
  const named = Object.values(DIT_CONFIGS).find((size) => size.hiddenSize === hiddenSize);
  if (named) return named.numHeads;
  throw new RangeError(
    `ditOptionsOf: expected numHeads to be given for a width of ${hiddenSize}, which no named model has`,
  );
}

/** The name of the model with these options, or null where it is none of the twelve. */
export function ditNameOf(options: DiTShape): string | null {
  const found = Object.entries(DIT_CONFIGS).find(([, size]) =>
    Object.entries(size).every(([key, value]) => options[key as keyof typeof size] === value)
  );
  return found?.[0] ?? null;
}
