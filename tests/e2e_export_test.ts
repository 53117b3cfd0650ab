/** `deno task export` from end to end. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { sinCosPositions } from "@dit/core/dit";
import {
  type HostTensor,
  loadNpz,
  loadSafetensors,
  loadTorch,
  saveSafetensors,
} from "@dit/core/io";
import type { ModelConfig } from "@dit/core/pipeline";
import { type AutoencoderKLOptions, vaeConfigOf } from "@dit/core/vae";
import {
  command,
  commandLines,
  commandTest,
  type Ended,
  SMALL,
  SMALL_VAE,
  smallLatents,
  smallVaeWeights,
  smallWeights,
  vaeWeights,
  writeRun,
} from "./commands.ts";
import { goldenPath } from "./fixtures.ts";

function assertDone({ code, out, err }: Ended): void {
  assertEquals(code, 0, out + err);
}

async function json(path: string): Promise<Record<string, unknown>> {
  return JSON.parse(await Deno.readTextFile(path));
}

/** The pictures of some weights. */
async function pictures(folder: string, ckpt: string): Promise<Uint8Array> {
  const how = ["--num-sampling-steps", "2", "--device", "wasm", "--n", "2", "--vae", "none"];
  assertDone(await command("sample", [...how, "--ckpt", ckpt, "--out", "pictures.npz"], folder));
  return await Deno.readFile(`${folder}/pictures.npz`);
}

commandTest("export --to original writes a state dict of the original's names", async (folder) => {
  const config = { ...SMALL, diffusion: { ...SMALL.diffusion, objective: "epsilon" as const } };
  const ckpt = await writeRun(`${folder}/results`, "000-run", 1, config);
  const flags = ["--to", "original", "--ckpt", "results", "--out", "out/model.pt"];
  const ended = await command("export", flags, folder);
  assertDone(ended);
  assertStringIncludes(ended.out, "DiT(input_size=8, patch_size=2, in_channels=1");
  assertStringIncludes(ended.out, "create_diffusion(..., learn_sigma=False)");
  const written = await loadTorch(`${folder}/out/model.pt`);
  const wanted = await smallWeights(config);
  assertEquals(written, new Map([...wanted].sort(byOrderOf(written as Map<string, unknown>))));
  assertEquals(await pictures(folder, "out/model.pt"), await pictures(folder, ckpt));
});

/** The order of names is that of the file that was read. */
function byOrderOf(
  map: Map<string, unknown>,
): (a: [string, unknown], b: [string, unknown]) => number {
  const order = [...map.keys()];
  return ([a], [b]) => order.indexOf(a) - order.indexOf(b);
}

commandTest("weights of the original's own go through an export as they are", async (folder) => {
  const path = goldenPath("dit/dit_c.weights.safetensors")!;
  const to = ["--to", "original", "--ckpt", path, "--num-heads", "2", "--num-classes", "5"];
  const wanted = await loadSafetensors(path);
  for (const out of ["model.pt", "model.safetensors"]) {
    const ended = await command("export", [...to, "--out", out], folder);
    assertDone(ended);
    assertStringIncludes(ended.out, "class_dropout_prob=0, num_classes=5");
    const read = out.endsWith(".pt") ? loadTorch : loadSafetensors;
    const written = await read(`${folder}/${out}`) as Map<string, HostTensor>;
    assertEquals(sorted(written), sorted(wanted));
  }
});

/** What diffusers 0.20 names a transformer of two blocks 48 wide, 4 channels, 6 classes. */
const DIFFUSERS_SHAPES: Readonly<Record<string, readonly number[]>> = {
  ...layer("pos_embed.proj", [48, 4, 2, 2]),
  ...block("transformer_blocks.0."),
  ...block("transformer_blocks.1."),
  ...layer("proj_out_1", [96, 48]),
  ...layer("proj_out_2", [32, 48]),
};

function block(prefix: string): Record<string, readonly number[]> {
  return {
    ...layer(`${prefix}norm1.emb.timestep_embedder.linear_1`, [48, 256]),
    ...layer(`${prefix}norm1.emb.timestep_embedder.linear_2`, [48, 48]),
    [`${prefix}norm1.emb.class_embedder.embedding_table.weight`]: [7, 48],
    ...layer(`${prefix}norm1.linear`, [288, 48]),
    ...layer(`${prefix}attn1.to_q`, [48, 48]),
    ...layer(`${prefix}attn1.to_k`, [48, 48]),
    ...layer(`${prefix}attn1.to_v`, [48, 48]),
    ...layer(`${prefix}attn1.to_out.0`, [48, 48]),
    ...layer(`${prefix}ff.net.0.proj`, [192, 48]),
    ...layer(`${prefix}ff.net.2`, [48, 192]),
  };
}

function layer(name: string, shape: readonly number[]): Record<string, readonly number[]> {
  return { [`${name}.weight`]: shape, [`${name}.bias`]: shape.slice(0, 1) };
}

commandTest(
  "export --to diffusers writes a folder that gives the same pictures",
  async (folder) => {
    const config = { ...smallLatents({ hiddenSize: 48, numHeads: 3 }, `${folder}/vae`) };
    const named = { ...config, classNames: SMALL.classNames };
    const ckpt = await writeRun(`${folder}/results`, "000-run", 1, named);
    await Deno.mkdir(`${folder}/vae`);
    await Deno.writeTextFile(`${folder}/vae/config.json`, JSON.stringify(vaeConfigOf(SMALL_VAE)));
    const vae = await smallVaeWeights();
    await saveSafetensors(`${folder}/vae/diffusion_pytorch_model.safetensors`, vae);
    const to = ["--to", "diffusers", "--ckpt", "results", "--out", "pipe"];
    const exported = await command("export", to, folder);
    assertDone(exported);
    // DiTPipeline writes out the null label of 1000 classes
    assertStringIncludes(exported.out, "6 classes: call it with guidance_scale=1 only");
    const transformer = await json(`${folder}/pipe/transformer/config.json`);
    assertEquals(transformer["num_attention_heads"], 3);
    assertEquals(transformer["attention_head_dim"], 16);
    assertEquals(transformer["out_channels"], 8);
    const index = await json(`${folder}/pipe/model_index.json`);
    assertEquals((index["id2label"] as Record<string, string>)["3"], "three");
    const weights = await loadSafetensors(
      `${folder}/pipe/transformer/diffusion_pytorch_model.safetensors`,
    );
    const found = Array.from(weights, ([name, { shape }]) => [name, shape] as const);
    assertEquals(Object.fromEntries(found), DIFFUSERS_SHAPES);
    const copied = await loadSafetensors(`${folder}/pipe/vae/diffusion_pytorch_model.safetensors`);
    assertEquals(copied.size, vae.size);
    assertEquals(await pictures(folder, "pipe"), await pictures(folder, ckpt));
    const back = ["--to", "original", "--ckpt", "pipe", "--out", "back.safetensors"];
    assertDone(await command("export", back, folder));
    const original = await smallWeights(named);
    assertEquals(await loadSafetensors(`${folder}/back.safetensors`), sorted(original));
  },
);

/** Four pixels for each of a latent, which are three channels: nothing as the original has it. */
const ODD_VAE = {
  blockOutChannels: [4, 4, 4],
  normNumGroups: 4,
  layersPerBlock: 1,
  latentChannels: 3,
  scalingFactor: 0.5,
};

async function writeVae(folder: string, options: AutoencoderKLOptions): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(vaeConfigOf(options)));
  const path = `${folder}/diffusion_pytorch_model.safetensors`;
  await saveSafetensors(path, await vaeWeights(options));
}

commandTest(
  "whatever the autoencoder, what is exported gives the checkpoint's pictures",
  async (folder) => {
    const vae = `${folder}/vae`;
    await writeVae(vae, ODD_VAE);
    const config: ModelConfig = {
      ...smallLatents({ inChannels: 3, numHeads: 2 }, vae),
      latents: { vae, scalingFactor: 0.5, downsample: 4 },
    };
    const ckpt = await writeRun(`${folder}/results`, "000-run", 1, config);
    for (const [to, out] of [["diffusers", "pipe"], ["original", "model.pt"]] as const) {
      assertDone(await command("export", ["--to", to, "--ckpt", ckpt, "--out", out], folder));
    }
    assertEquals((await json(`${folder}/pipe/vae/config.json`))["scaling_factor"], 0.5);
    const drawn = async (...flags: string[]): Promise<Uint8Array> => {
      const how = ["--num-sampling-steps", "2", "--device", "wasm", "--n", "2", "--out", "a.npz"];
      assertDone(await command("sample", [...how, ...flags], folder));
      const pixels = (await loadNpz(`${folder}/a.npz`)).get("arr_0")!;
      assertEquals(pixels.shape, [2, 32, 32, 3]);
      return pixels.data;
    };
    const want = await drawn("--ckpt", ckpt);
    assert(new Set(want).size > 50, "expected pictures that are not all alike");
    assertEquals(await drawn("--ckpt", "pipe"), want);
    // a state dict says nothing of latents, and so the autoencoder does
    assertEquals(await drawn("--ckpt", "model.pt", "--vae", "vae"), want);
    // and the copy may be exported again
    const flags = ["--ckpt", "model.pt", "--vae", "vae", "--out", "again"];
    assertDone(await command("export", ["--to", "diffusers", ...flags], folder));
    assertEquals(await drawn("--ckpt", "again"), want);
  },
);

commandTest("an autoencoder of other latents than the model's is refused", async (folder) => {
  await writeVae(`${folder}/vae`, ODD_VAE);
  await writeVae(`${folder}/coarse`, { ...ODD_VAE, blockOutChannels: [4, 4, 4, 4] });
  await writeVae(`${folder}/four`, { ...ODD_VAE, latentChannels: 4 });
  await writeVae(`${folder}/other`, ODD_VAE);
  await Deno.writeTextFile(`${folder}/other/config.json`, '{"act_fn": "relu"}');
  const config: ModelConfig = {
    ...smallLatents({ inChannels: 3 }, `${folder}/vae`),
    latents: { vae: `${folder}/vae`, scalingFactor: 0.5, downsample: 4 },
  };
  const ckpt = await writeRun(`${folder}/results`, "000-run", 1, config);
  const cases: [string, string][] = [
    ["coarse", "an autoencoder of 4 pixels for each latent, along an edge"],
    ["four", "an autoencoder of 3 latent channels, as the model has, but it has 4"],
    ["other", 'expected act_fn like "silu" in the configuration but got "relu"'],
  ];
  const lines = cases.flatMap(([vae]) => [
    ["sample", "--ckpt", ckpt, "--vae", vae, "--device", "wasm"],
    ["export", "--to", "diffusers", "--ckpt", ckpt, "--vae", vae, "--out", "pipe"],
  ]);
  for (const [i, { code, err }] of (await commandLines(lines, folder)).entries()) {
    assertStringIncludes(err, cases[i >> 1]![1]);
    assertEquals(err.includes("    at "), false, err);
    assertEquals(code, 1, err);
  }
  const left = Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
  assertEquals(left, ["coarse", "four", "other", "results", "vae"]);
});

/** In the order that safetensors files have. */
function sorted<T>(map: ReadonlyMap<string, T>): Map<string, T> {
  return new Map([...map].sort(([a], [b]) => a < b ? -1 : 1));
}

commandTest(
  "export --to diffusers refuses what diffusers would compute otherwise",
  async (folder) => {
    const cases: [Parameters<typeof smallLatents>[0], string][] = [
      [{ mlpRatio: 2 }, "an MLP 2 times as wide"],
      [{ classDropoutProb: 0 }, "a class table without a null class"],
    ];
    for (const [i, [dit, message]] of cases.entries()) {
      const config = smallLatents(dit, "mse");
      const nullClass = dit.classDropoutProb === 0 ? null : config.nullClass;
      const ckpt = await writeRun(`${folder}/results`, `00${i}-run`, 1, { ...config, nullClass });
      const { code, err } = await command(
        "export",
        ["--to", "diffusers", "--ckpt", ckpt, "--out", "pipe"],
        folder,
      );
      assertStringIncludes(err, message);
      assertEquals(code, 1);
    }
    const weights = await smallWeights(smallLatents({}, "mse"));
    const moved = Float32Array.from(sinCosPositions(128, 4), (x) => x + 0.1);
    weights.get("pos_embed")!.data.set(new Uint8Array(moved.buffer));
    await saveSafetensors(`${folder}/moved.safetensors`, weights);
    const flags = ["--to", "diffusers", "--ckpt", "moved.safetensors", "--out", "pipe"];
    const { err } = await command("export", flags, folder);
    assertStringIncludes(err, "positions that are not the fixed sines and cosines");
  },
);

commandTest("export says which flags it needs", async (folder) => {
  const cases: [string[], string][] = [
    [[], "expected --to, --ckpt and --out"],
    [["--to", "onnx"], "expected one of original, diffusers"],
    [
      ["--to", "original", "--ckpt", "x", "--out", "folder"],
      "expected FILE.pt or FILE.safetensors",
    ],
  ];
  const ends = await commandLines(cases.map(([flags]) => ["export", ...flags]), folder);
  for (const [i, { code, err }] of ends.entries()) {
    assertStringIncludes(err, cases[i]![1]);
    assertEquals(code, 2);
  }
});
