import { FormatError } from "../errors.ts";
import type { HostTensor, TensorSource } from "../../tensor/mod.ts";
import { ditFromDiffusers, ditToDiffusers } from "./dit.ts";
import { describeNames } from "./names.ts";
import { convertVae, type VaeLayout } from "./vae.ts";

/** A way to name the weights of a DiT. */
export type DiTLayout = "original" | "diffusers";

/**
 * Which layout the weights of a DiT are in, by their names.
 *
 * @throws {FormatError} If they are no DiT's, listing what they are.
 */
export function ditLayout(source: TensorSource): DiTLayout {
  if (source.has("x_embedder.proj.weight")) return "original";
  if (source.has("pos_embed.proj.weight")) return "diffusers";
  throw new FormatError(
    source.name,
    "tensor names",
    "weights of a DiT (x_embedder.proj.weight, or diffusers' pos_embed.proj.weight)",
    describeNames(source.keys()),
  );
}

/**
 * Which layout the weights of an autoencoder are in, by their names.
 *
 * @throws {FormatError} If they are no autoencoder's, listing what they are.
 */
export function vaeLayout(source: TensorSource): VaeLayout {
  const keys = source.keys();
  if (keys.some((key) => /^(en|de)coder\.mid\./.test(key))) return "ldm";
  if (keys.some((key) => /^(en|de)coder\.mid_block\.attentions\.0\.query\./.test(key))) {
    return "diffusersOld";
  }
  if (keys.some((key) => /^(en|de)coder\.mid_block\./.test(key))) return "diffusers";
  throw new FormatError(
    source.name,
    "tensor names",
    "weights of an autoencoder (encoder.mid.*, or diffusers' encoder.mid_block.*)",
    describeNames(keys),
  );
}

/**
 * The weights of a DiT, in whichever layout they are, seen in layout `to`. Nothing is copied
 * before it is read.
 *
 * @param posEmbed See {@linkcode ditFromDiffusers}.
 */
export function asDiT(source: TensorSource, to: DiTLayout, posEmbed?: HostTensor): TensorSource {
  const from = ditLayout(source);
  if (from === to) return source;
  return to === "diffusers" ? ditToDiffusers(source) : ditFromDiffusers(source, posEmbed);
}

/**
 * The weights of an autoencoder, in whichever layout they are, seen in layout `to`. Nothing is
 * copied before it is read.
 */
export function asVae(source: TensorSource, to: VaeLayout): TensorSource {
  const from = vaeLayout(source);
  return from === to ? source : convertVae(source, from, to);
}
