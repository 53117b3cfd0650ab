import { mul } from "../autograd/mod.ts";
import { withoutInit } from "../nn/mod.ts";
import { Generator, randn, scope, type Tensor } from "../tensor/mod.ts";
import { DiT, type DiTOptions } from "./mod.ts";

/** A model whose weights are all random: a fresh one outputs 0 for any input. */
export function randomModel(options: DiTOptions): DiT {
  const model = withoutInit(() => new DiT(options));
  const generator = new Generator(1);
  using s = scope();
  const weights = new Map<string, Tensor>([["pos_embed", model.posEmbed]]);
  for (const [name, { shape, size, requiresGrad }] of model.namedParameters()) {
    const fanIn = shape.length > 1 ? size / shape[0]! : 25;
    if (requiresGrad) weights.set(name, mul(randn(shape, { generator }), fanIn ** -0.5));
  }
  model.loadStateDict(weights);
  s[Symbol.dispose]();
  return model;
}
