/** Options of a DiT from the shapes of its weights. */
import { type Shape, ShapeError, shapeText, type TensorSource } from "../tensor/mod.ts";
import { DIT_CONFIGS } from "./configs.ts";
import type { DiTOptions } from "./options.ts";

/**
 * The options of the model that weights (under the original's names) belong to. Two things are not
 * in their shapes: the number of heads, which is that of the named model of this width unless
 * given, and whether the last row of the label table is the null class, which it is unless
 * `classDropoutProb` is given as 0.
 *
 * @throws {ShapeError} where a weight is missing or shapes contradict each other.
 * @throws {RangeError} where the number of heads is needed.
 */
export function ditOptionsOf(
  weights: Pick<TensorSource, "keys" | "info">,
  known: Pick<DiTOptions, "numHeads" | "classDropoutProb"> = {},
): Required<DiTOptions> {
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
  const rows = shapeOf("y_embedder.embedding_table.weight", 2)[0]!;
  return {
    inputSize: side * patchSize,
    patchSize,
    inChannels,
    hiddenSize,
    depth,
    numHeads: known.numHeads ?? usualHeads(hiddenSize),
    mlpRatio: shapeOf("blocks.0.mlp.fc1.bias", 1)[0]! / hiddenSize,
    classDropoutProb,
    numClasses: classDropoutProb > 0 ? rows - 1 : rows,
    learnSigma: outputs === 2,
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
export function ditNameOf(options: Required<DiTOptions>): string | null {
  const found = Object.entries(DIT_CONFIGS).find(([, size]) =>
    Object.entries(size).every(([key, value]) => options[key as keyof typeof size] === value)
  );
  return found?.[0] ?? null;
}
