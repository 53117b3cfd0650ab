import { assertEquals, assertThrows } from "@std/assert";
import { FormatError } from "../errors.ts";
import { hostTensor, type TensorSource } from "../../tensor/mod.ts";
import { mapSource, readAll } from "../tensor_source.ts";
import { holdsModel, unwrapNames } from "./wrapping.ts";

const DIT = ["x_embedder.proj.weight", "blocks.0.attn.qkv.weight", "pos_embed"];
const DIFFUSERS = ["pos_embed.proj.weight", "transformer_blocks.0.attn1.to_q.weight"];
const VAE = ["encoder.conv_in.weight", "decoder.conv_in.weight", "quant_conv.weight"];

/** Tensors of these names, each with its place among them as its value. */
function source(names: readonly string[]): TensorSource {
  return mapSource(new Map(names.map((name, i) => [name, hostTensor(Float32Array.of(i))])), "x.pt");
}

const PREFIXES = [
  "module.",
  "_orig_mod.",
  "module._orig_mod.",
  "_orig_mod.module.",
  "model.",
  "model.diffusion_model.",
  "ema_model.",
  "net.",
  "denoiser.",
  "model.module.net.",
];

for (const prefix of PREFIXES) {
  Deno.test(`unwrapNames() takes off ${prefix}`, async () => {
    for (const [kind, names] of [["dit", DIT], ["dit", DIFFUSERS], ["vae", VAE]] as const) {
      const wrapped = source(names.map((name) => prefix + name));
      assertEquals(holdsModel(wrapped.keys(), kind), true);
      const { source: found, prefix: removed, others } = unwrapNames(wrapped, kind);
      assertEquals(found.keys(), [...names]);
      assertEquals(removed.split(".").sort(), prefix.split(".").sort());
      assertEquals(others, []);
      assertEquals([...(await readAll(found)).values()], [...(await readAll(wrapped)).values()]);
      assertEquals([found.has(names[1]!), found.has(prefix + names[1])], [true, false]);
    }
  });
}

Deno.test("unwrapNames() leaves names alone that have no prefix, and those of no such model", () => {
  for (const names of [DIT, ["a", "b.c"]]) {
    const plain = source(names);
    assertEquals(unwrapNames(plain, "dit"), { source: plain, prefix: "", others: [] });
  }
  assertEquals(holdsModel(["a", "my_x_embedder.proj.weight"], "dit"), false);
});

Deno.test("unwrapNames() takes wrappers inside a model off its names", () => {
  const names = ["x_embedder.proj.weight", "blocks.0._orig_mod.mlp._checkpoint_wrapped_module.fc1"];
  const { source: found, prefix } = unwrapNames(source(names), "dit");
  assertEquals(found.keys(), ["x_embedder.proj.weight", "blocks.0.mlp.fc1"]);
  assertEquals(prefix, "_orig_mod._checkpoint_wrapped_module.");
});

Deno.test("unwrapNames() leaves out what belongs to other models", () => {
  const wrapped = DIT.map((name) => `model.${name}`);
  const vae = VAE.map((name) => `first_stage_model.${name}`);
  const all = source([...wrapped, ...vae, "loss.logvar"]);
  const dit = unwrapNames(all, "dit");
  assertEquals([dit.source.keys(), dit.others], [DIT, [...vae, "loss.logvar"]]);
  assertEquals(unwrapNames(all, "vae").source.keys(), VAE);
  const beside = unwrapNames(source([...DIT, ...vae, "n_averaged"]), "dit");
  assertEquals([beside.source.keys(), beside.prefix], [DIT, ""]);
  assertEquals(beside.others, [...vae, "n_averaged"]);
  // a part that the model itself would not have stays, so that it is refused
  assertEquals(
    unwrapNames(source([...DIT, "c_embedder.w"]), "dit").source.has("c_embedder.w"),
    true,
  );
});

Deno.test("unwrapNames() chooses averaged weights or the others, and refuses to guess", () => {
  const both = source(["model.", "ema_model."].flatMap((p) => DIT.map((name) => p + name)));
  assertEquals(unwrapNames(both, "dit", true).prefix, "ema_model.");
  assertEquals(unwrapNames(both, "dit", false).prefix, "model.");
  const beside = source([...DIT, ...DIT.map((name) => `ema.${name}`)]);
  assertEquals(unwrapNames(beside, "dit", true).prefix, "ema.");
  assertEquals(unwrapNames(beside, "dit", false).source.keys(), DIT);
  const twins = source(["a.", "b."].flatMap((p) => DIT.map((name) => p + name)));
  assertThrows(
    () => unwrapNames(twins, "dit"),
    FormatError,
    'x.pt: tensor names: expected weights of one model but found those of several, which begin with "a.", "b."',
  );
});
