import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { goldenTest } from "../../tests/fixtures.ts";
import { FormatError } from "../errors.ts";
import { type HostTensor, hostTensor, type TensorSource } from "../../tensor/mod.ts";
import { mapSource, readAll } from "../tensor_source.ts";
import { loadSafetensors } from "../safetensors/reader.ts";
import { ditFromDiffusers, ditToDiffusers } from "./dit.ts";
import { asDiT, asVae, ditLayout, vaeLayout } from "./layout.ts";
import { convertVae, type VaeLayout } from "./vae.ts";

/** A tensor whose elements tell it apart from every other. */
let next = 0;
function numbered(shape: number[]): HostTensor {
  const count = shape.reduce((a, b) => a * b, 1);
  return hostTensor(Float32Array.from({ length: count }, () => next++), shape);
}

/** Weights of a DiT with hidden size 4, under the original's names. */
function originalDiT(depth: number): Map<string, HostTensor> {
  const tensors = new Map<string, HostTensor>([
    ["pos_embed", numbered([1, 9, 4])],
    ["x_embedder.proj.weight", numbered([4, 2, 2, 2])],
    ["x_embedder.proj.bias", numbered([4])],
    ["t_embedder.mlp.0.weight", numbered([4, 6])],
    ["t_embedder.mlp.0.bias", numbered([4])],
    ["t_embedder.mlp.2.weight", numbered([4, 4])],
    ["t_embedder.mlp.2.bias", numbered([4])],
    ["y_embedder.embedding_table.weight", numbered([5, 4])],
  ]);
  const layer = (name: string, rows: number, columns: number) => {
    tensors.set(`${name}.weight`, numbered([rows, columns]));
    tensors.set(`${name}.bias`, numbered([rows]));
  };
  for (let i = 0; i < depth; i++) {
    layer(`blocks.${i}.attn.qkv`, 12, 4);
    layer(`blocks.${i}.attn.proj`, 4, 4);
    layer(`blocks.${i}.mlp.fc1`, 16, 4);
    layer(`blocks.${i}.mlp.fc2`, 4, 16);
    layer(`blocks.${i}.adaLN_modulation.1`, 24, 4);
  }
  layer("final_layer.linear", 8, 4);
  layer("final_layer.adaLN_modulation.1", 8, 4);
  return tensors;
}

const DEPTH = 11;

Deno.test("a DiT goes to diffusers' layout and back bit for bit, in the original's order", async () => {
  const tensors = originalDiT(DEPTH);
  const diffusers = ditToDiffusers(mapSource(tensors));
  assertEquals(diffusers.keys().length, 6 + DEPTH * (5 + 6 + 8));
  // Through memory, as a file of diffusers would come.
  const loaded = mapSource(await readAll(diffusers));
  const back = ditFromDiffusers(loaded, tensors.get("pos_embed"));
  assertEquals(back.keys(), [...tensors.keys()]);
  assertEquals(await readAll(back), tensors);
  assert(!ditFromDiffusers(loaded).has("pos_embed"));
});

Deno.test("diffusers' layout splits qkv into thirds and copies the embedders into every block", async () => {
  const tensors = originalDiT(2);
  const diffusers = await readAll(ditToDiffusers(mapSource(tensors)));
  const block = "transformer_blocks.1.";
  const qkv = tensors.get("blocks.1.attn.qkv.weight")!;
  ["to_q", "to_k", "to_v"].forEach((name, i) => {
    const part = diffusers.get(`${block}attn1.${name}.weight`)!;
    assertEquals([part.shape, part.data], [[4, 4], qkv.data.slice(64 * i, 64 * (i + 1))]);
  });
  for (const i of [0, 1]) {
    const name = `transformer_blocks.${i}.norm1.emb.class_embedder.embedding_table.weight`;
    assertEquals(diffusers.get(name), tensors.get("y_embedder.embedding_table.weight"));
  }
  assertEquals(
    diffusers.get(`${block}norm1.linear.bias`),
    tensors.get("blocks.1.adaLN_modulation.1.bias"),
  );
  assertEquals(
    diffusers.get("proj_out_1.bias"),
    tensors.get("final_layer.adaLN_modulation.1.bias"),
  );
  assertEquals(diffusers.get("proj_out_2.bias"), tensors.get("final_layer.linear.bias"));
});

Deno.test("a tensor joined from three can be read from any byte to any other", async () => {
  const tensors = originalDiT(1);
  const back = ditFromDiffusers(mapSource(await readAll(ditToDiffusers(mapSource(tensors)))));
  const name = "blocks.0.attn.qkv.weight";
  const want = tensors.get(name)!.data;
  for (const [start, end] of [[0, 192], [60, 70], [10, 190], [64, 128], [191, 192], [5, 5]]) {
    const part = new Uint8Array(end! - start!);
    await back.readInto(name, part, start);
    assertEquals(part, want.slice(start, end));
  }
  await assertRejects(() => back.readInto(name, new Uint8Array(10), 190), FormatError, "inside");
});

Deno.test("blocks with embedders of their own are refused when they are read", async () => {
  const diffusers = await readAll(ditToDiffusers(mapSource(originalDiT(3))));
  const own = "transformer_blocks.2.norm1.emb.timestep_embedder.linear_1.bias";
  diffusers.set(own, numbered([4]));
  const back = ditFromDiffusers(mapSource(diffusers));
  await assertRejects(() => back.read("t_embedder.mlp.0.bias"), FormatError, own);
  await back.read("t_embedder.mlp.0.weight");
});

Deno.test("DiT conversion names tensors it does not know, or misses beside others", async () => {
  const tensors = originalDiT(1);
  tensors.set("blocks.0.attn.rope.weight", numbered([1]));
  assertThrows(() => ditToDiffusers(mapSource(tensors)), FormatError, "blocks.0.attn.rope.weight");
  tensors.delete("blocks.0.attn.rope.weight");
  const diffusers = await readAll(ditToDiffusers(mapSource(tensors)));
  const key = "transformer_blocks.0.attn1.to_k.bias";
  const toK = diffusers.get(key)!;
  diffusers.delete(key);
  assertThrows(() => ditFromDiffusers(mapSource(diffusers)), FormatError, key);
  diffusers.set(key, { ...toK, shape: [2, 2] });
  assertThrows(() => ditFromDiffusers(mapSource(diffusers)), FormatError, "f32 [4], like");
});

Deno.test("a block number past all others is an unknown name, not a loop", () => {
  const tensors = originalDiT(1);
  tensors.set("blocks.99999999999.attn.qkv.weight", numbered([3]));
  assertThrows(() => ditToDiffusers(mapSource(tensors)), FormatError, "blocks.99999999999");
});

Deno.test("layouts are recognised by names, and others are refused with what they hold", () => {
  const original = mapSource(originalDiT(1));
  assertEquals(ditLayout(original), "original");
  assertEquals(ditLayout(ditToDiffusers(original)), "diffusers");
  assert(asDiT(original, "original") === original);
  assertEquals(asDiT(ditToDiffusers(original), "original").has("blocks.0.attn.qkv.bias"), true);
  assertThrows(() => vaeLayout(original), FormatError, '"pos_embed", "x_embedder.proj.weight"');
  const other = mapSource(new Map([["conv1.weight", numbered([1])]]), "resnet.pt");
  assertThrows(
    () => ditLayout(other),
    FormatError,
    "resnet.pt: tensor names: expected weights of a",
  );
  assertThrows(() => ditLayout(mapSource(new Map())), FormatError, "no tensors");
  const families = {
    "an autoencoder": "first_stage_model.encoder.conv_in.weight",
    "a U-Net": "model.diffusion_model.input_blocks.0.0.weight",
    "an Inception network": "Mixed_5b.branch1x1.conv.weight",
  };
  for (const [family, name] of Object.entries(families)) {
    const source = mapSource(new Map([[name, hostTensor(Float32Array.of(1))]]));
    assertThrows(() => ditLayout(source), FormatError, `but found those of ${family}: "${name}"`);
  }
  assertThrows(() => vaeLayout(original), FormatError, "but found those of a DiT: ");
});

goldenTest("a trained DiT survives diffusers' layout bit for bit", [
  "dit/dit_a.weights.safetensors",
], async ([path]) => {
  const tensors = await loadSafetensors(path!);
  const diffusers = mapSource(await readAll(asDiT(mapSource(tensors), "diffusers")));
  const back = await readAll(asDiT(diffusers, "original", tensors.get("pos_embed")));
  for (const [name, tensor] of tensors) assertEquals(back.get(name), tensor);
  assertEquals(back.size, tensors.size);
});

interface VaeKey {
  ldm: string;
  diffusers: string;
  diffusers_old: string;
  ldm_shape: number[];
  diffusers_shape: number[];
}

function vaeOf(keys: VaeKey[], layout: VaeLayout): TensorSource {
  const field = layout === "diffusersOld" ? "diffusers_old" : layout;
  return mapSource(
    new Map(keys.map((key, i) => {
      const shape = layout === "ldm" ? key.ldm_shape : key.diffusers_shape;
      // Filled with the number of the pair, so that a tensor is known by its values.
      const count = shape.reduce((a, b) => a * b, 1);
      return [key[field], hostTensor(new Uint16Array(count).fill(i), shape, "bf16")];
    })),
  );
}

goldenTest("every weight of the autoencoder goes between its three layouts as the reference says", [
  "vae/vae_keymap.json",
], async ([path]) => {
  const { keys }: { keys: VaeKey[] } = JSON.parse(await Deno.readTextFile(path!));
  const layouts: VaeLayout[] = ["ldm", "diffusers", "diffusersOld"];
  const sorted = (tensors: Map<string, HostTensor>) =>
    [...tensors].sort(([a], [b]) => a < b ? -1 : 1);
  for (const from of layouts) {
    const source = vaeOf(keys, from);
    assertEquals(vaeLayout(source), from);
    for (const to of layouts) {
      const want = await readAll(vaeOf(keys, to));
      assertEquals(sorted(await readAll(asVae(source, to))), sorted(want));
    }
  }
});

goldenTest("the autoencoder's weights in both layouts are the same bytes", [
  "vae/vae_ldm.weights.safetensors",
  "vae/vae_diffusers.weights.safetensors",
], async ([ldm, diffusers]) => {
  const [a, b] = [await loadSafetensors(ldm!), await loadSafetensors(diffusers!)];
  const converted = await readAll(asVae(mapSource(a), "diffusers"));
  assertEquals(converted.size, b.size);
  for (const [name, tensor] of b) assertEquals(converted.get(name), tensor);
  const back = await readAll(asVae(mapSource(b), "ldm"));
  for (const [name, tensor] of a) assertEquals(back.get(name), tensor);
});

Deno.test("VAE conversion names tensors it does not know, and shapes it cannot have", () => {
  const unknown = mapSource(new Map([["encoder.mid.attn_2.q.weight", numbered([4, 4, 1, 1])]]));
  assertThrows(() => convertVae(unknown, "ldm", "diffusers"), FormatError, "attn_2");
  const wide = mapSource(new Map([["encoder.mid.attn_1.q.weight", numbered([4, 4, 3, 3])]]));
  assertThrows(() => convertVae(wide, "ldm", "diffusers"), FormatError, "f32 [4, 4, 3, 3]");
});
