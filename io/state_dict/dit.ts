/**
 * Weights of a DiT under the original's names and under those of diffusers' `DiTTransformer2DModel`,
 * where each block has a copy of the embedders, queries, keys and values are three tensors, and the
 * position embedding is computed (diffusers, scripts/convert_dit_to_diffusers.py).
 */
import { FormatError, quote } from "../errors.ts";
import type { HostTensor, TensorSource } from "../../tensor/mod.ts";
import { countIndices, templatePattern, unknownNames } from "./names.ts";
import { chunk, joined, type Recipe, remapped, whole } from "./remap.ts";

/** Layers outside the blocks: original, diffusers. */
const OUTER = [
  ["x_embedder.proj", "pos_embed.proj"],
  ["final_layer.linear", "proj_out_2"],
  ["final_layer.adaLN_modulation.1", "proj_out_1"],
] as const;

/** Layers that the original has once and diffusers in every block. */
const SHARED = [
  ["t_embedder.mlp.0", "norm1.emb.timestep_embedder.linear_1"],
  ["t_embedder.mlp.2", "norm1.emb.timestep_embedder.linear_2"],
  ["y_embedder.embedding_table", "norm1.emb.class_embedder.embedding_table"],
] as const;

/** Layers of a block, after `blocks.{i}.` and `transformer_blocks.{i}.`. */
const BLOCK = [
  ["attn.proj", "attn1.to_out.0"],
  ["mlp.fc1", "ff.net.0.proj"],
  ["mlp.fc2", "ff.net.2"],
  ["adaLN_modulation.1", "norm1.linear"],
] as const;

const QKV = "attn.qkv";
const TO_QKV = ["attn1.to_q", "attn1.to_k", "attn1.to_v"] as const;

const ORIGINAL_BLOCKS = templatePattern("blocks.{i}");
const DIFFUSERS_BLOCKS = templatePattern("transformer_blocks.{i}");

/**
 * Weights under the original's names, seen under those of diffusers. `pos_embed` is left out.
 *
 * @throws {FormatError} If `source` has names the original does not.
 */
export function ditToDiffusers(source: TensorSource): TensorSource {
  const depth = countIndices(source, ORIGINAL_BLOCKS);
  const mapping = new Mapping(source, "the original DiT");
  mapping.ignore("pos_embed");
  for (const [original, diffusers] of OUTER) mapping.layer(original, diffusers);
  for (let i = 0; i < depth; i++) {
    const from = `blocks.${i}.`;
    const to = `transformer_blocks.${i}.`;
    for (const [original, diffusers] of SHARED) mapping.layer(original, to + diffusers);
    for (const kind of ["weight", "bias"]) {
      const qkv = `${from}${QKV}.${kind}`;
      TO_QKV.forEach((name, part) => {
        mapping.tensor([qkv], `${to}${name}.${kind}`, () => chunk(source, qkv, part, 3));
      });
    }
    for (const [original, diffusers] of BLOCK) mapping.layer(from + original, to + diffusers);
  }
  return mapping.finish();
}

/**
 * Weights under diffusers' names, seen under those of the original.
 *
 * @param posEmbed What the original's `pos_embed` [1, T, hidden] shall be; diffusers' files do not have
 * it. Left out, so is the tensor.
 * @throws {FormatError} If `source` has names diffusers does not; and, when they are read, if the
 * blocks' embedders are not copies of one another.
 */
export function ditFromDiffusers(source: TensorSource, posEmbed?: HostTensor): TensorSource {
  const depth = countIndices(source, DIFFUSERS_BLOCKS);
  const blocks = Array.from({ length: depth }, (_, i) => `transformer_blocks.${i}.`);
  const mapping = new Mapping(source, "diffusers' DiT");
  const [embedder, ...last] = OUTER;
  mapping.layer(embedder[1], embedder[0]);
  for (const [original, diffusers] of SHARED) {
    for (const kind of ["weight", "bias"]) {
      const copies = blocks.map((block) => `${block}${diffusers}.${kind}`);
      mapping.tensor(copies, `${original}.${kind}`, () => ({
        ...whole(source, copies[0]!),
        copies: copies.slice(1),
      }));
    }
  }
  for (const [i, from] of blocks.entries()) {
    const to = `blocks.${i}.`;
    for (const kind of ["weight", "bias"]) {
      const parts = TO_QKV.map((name) => `${from}${name}.${kind}`);
      mapping.tensor(parts, `${to}${QKV}.${kind}`, () => joined(source, parts));
    }
    for (const [original, diffusers] of BLOCK) mapping.layer(from + diffusers, to + original);
  }
  for (const [original, diffusers] of last) mapping.layer(diffusers, original);
  return mapping.finish(posEmbed ? new Map([["pos_embed", posEmbed]]) : undefined);
}

/** Collects recipes and keeps track of which names of the source they have used. */
class Mapping {
  readonly #source: TensorSource;
  readonly #layout: string;
  readonly #recipes = new Map<string, Recipe>();
  readonly #unused: Set<string>;

  constructor(source: TensorSource, layout: string) {
    this.#source = source;
    this.#layout = layout;
    this.#unused = new Set(source.keys());
  }

  ignore(name: string): void {
    this.#unused.delete(name);
  }

  /** Weight and bias of a layer, those that there are. */
  layer(from: string, to: string): void {
    for (const kind of ["weight", "bias"]) {
      const name = `${from}.${kind}`;
      this.tensor([name], `${to}.${kind}`, () => whole(this.#source, name));
    }
  }

  /** A tensor made of all of `from`; left out where there are none of them. */
  tensor(from: readonly string[], to: string, recipe: () => Recipe): void {
    if (!from.some((name) => this.#source.has(name))) return;
    for (const name of from) {
      if (!this.#source.has(name)) {
        throw new FormatError(
          this.#source.name,
          `tensor ${quote(name)}`,
          `it beside ${quote(from.find((other) => this.#source.has(other))!)}`,
          "none",
        );
      }
      this.#unused.delete(name);
    }
    this.#recipes.set(to, recipe());
  }

  finish(constants?: ReadonlyMap<string, HostTensor>): TensorSource {
    if (this.#unused.size > 0) unknownNames(this.#source, this.#layout, [...this.#unused]);
    return remapped(this.#source, this.#recipes, constants);
  }
}
