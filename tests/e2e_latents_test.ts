/** Pictures to latents to a model to pictures, by the commands, with an autoencoder of any shape. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { saveSafetensors } from "@dit/core/io";
import { vaeConfigOf } from "@dit/core/vae";
import { loadManifest } from "@dit/data";
import {
  command,
  commandLines,
  commandTest,
  type Ended,
  pngSize,
  vaeWeights,
  words,
} from "./commands.ts";
import { writePictures } from "./pictures.ts";

/** Four pixels for each of a latent, which are three channels: nothing as the original has it. */
const VAE = {
  blockOutChannels: [4, 4, 4],
  normNumGroups: 4,
  layersPerBlock: 1,
  latentChannels: 3,
  scalingFactor: 0.5,
};

const TINY = words(
  "--device wasm --num-workers 1 --hidden-size 16 --depth 1",
  "--num-heads 2 --patch-size 2 --batch-size 4 --steps 2",
  "--sample-every 2 --sample-steps 2 --final-samples 1",
);

async function writeVae(folder: string, change = 0): Promise<void> {
  const weights = await vaeWeights(VAE);
  weights.get("encoder.conv_in.weight")!.data[0]! ^= change;
  await Deno.mkdir(folder);
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(vaeConfigOf(VAE)));
  await saveSafetensors(`${folder}/diffusion_pytorch_model.safetensors`, weights);
}

/** Sixteen pictures in two classes, and a small autoencoder. */
async function prepare(folder: string): Promise<void> {
  await writePictures(`${folder}/pictures`, ["discs", "spots"], 8);
  await writeVae(`${folder}/vae`);
}

async function extract(folder: string, ...args: string[]): Promise<void> {
  const usual = ["--data", "pictures", "--vae", "vae", "--image-size", "32"];
  const rest = ["--device", "wasm", "--num-workers", "1", ...args];
  assertDone(await command("extract-features", [...usual, ...rest], folder));
}

function train(folder: string, ...args: string[]): Promise<Ended> {
  return command("train", args[0] === "--resume" ? args : [...TINY, ...args], folder);
}

function assertDone({ code, out, err }: Ended): void {
  assertEquals(code, 0, out + err);
}

function assertRefused({ code, out, err }: Ended, ...words: string[]): void {
  assert(code === 1 || code === 2, out + err);
  for (const word of words) assertStringIncludes(err, word);
  assert(!err.includes("at file:"), err); // a sentence, not a stack
}

/** The latents that a run's checkpoints record. */
async function configOf(run: string) {
  return JSON.parse(await Deno.readTextFile(`${run}/config.json`));
}

commandTest(
  "a model of latents, however they come to it, makes pictures as large as those it has seen",
  async (folder) => {
    await prepare(folder);
    await Promise.all([
      extract(folder, "--out", "shards"),
      extract(folder, "--out", "npy", "--layout", "npy"),
    ]);
    const made = (await loadManifest(`${folder}/shards`))!.settings.vae;
    const ways = [
      { name: "shards", args: ["--data", "shards"], vae: made.name },
      { name: "npy", args: ["--data", "npy"], vae: made.name },
      { name: "images", args: ["--data", "pictures", "--image-size", "32", "--vae", "./vae"] },
    ];
    for (const { name, args, vae = "./vae" } of ways) {
      const results = ["--results-dir", `results/${name}`, "--cfg-scale", "3"];
      const trained = await train(folder, ...args, ...results);
      assertDone(trained);
      const run = `${folder}/results/${name}/000-DiT-Mini-4`;
      const { model, settings } = await configOf(run);
      assertEquals(
        model.latents,
        { vae, vaeSha256: made.sha256, scalingFactor: 0.5, downsample: 4 },
        name,
      );
      assertEquals(model.classNames, ["discs", "spots"], name);
      assertEquals([model.dit.inputSize, model.dit.inChannels], [8, 3], name);
      assertEquals([settings.imageSize, settings.vae], [32, vae], name);
      const grid = pngSize(await Deno.readFile(`${run}/samples/0000002.png`));
      assertEquals(grid, [2 * 34 + 2, 4 * 34 + 2], name);
      const sampled = await command(
        "sample",
        ["--ckpt", run, "--n", "1", "--num-sampling-steps", "2", "--out", `${name}.png`],
        folder,
      );
      assertDone(sampled);
      // as in training; only the published latents are guided in three channels
      assertStringIncludes(sampled.out, "guidance 3 of all channels");
      assertEquals(pngSize(await Deno.readFile(`${folder}/${name}.png`)), [32, 32], name);
    }
  },
);

commandTest(
  "latents of another size or autoencoder than a run asks for are refused",
  async (folder) => {
    await prepare(folder);
    await writeVae(`${folder}/other`, 1);
    await extract(folder);
    await extract(folder, "--out", "npy", "--layout", "npy");
    for (const data of ["features", "npy"]) {
      const asking = (...args: string[]) => ["train", ...TINY, "--data", data, ...args];
      const [size, other, none, nothing] = await commandLines([
        asking("--image-size", "64"),
        asking("--vae", "other"),
        asking("--vae", "none"),
        asking("--vae", "nothing"),
      ], folder);
      assertRefused(size!, "--image-size: expected 32", "but got 64");
      assertRefused(other!, "--vae: expected vae", "but got other, which has other weights");
      assertRefused(none!, "--vae: expected an autoencoder");
      assertRefused(nothing!, "--vae: expected ema, mse or a file but found no nothing");
    }
    // The same weights elsewhere are the same autoencoder.
    await writeVae(`${folder}/copy`);
    assertDone(await train(folder, "--data", "features", "--vae", "copy", "--image-size", "32"));
    // A run needs its latents only, and is resumed without their autoencoder.
    await Deno.rename(`${folder}/vae`, `${folder}/away`);
    assertDone(await train(folder, "--resume", "latest", "--steps", "3"));
    await Deno.rename(`${folder}/away`, `${folder}/vae`);
    // A run is resumed with latents by the autoencoder that it began with only.
    await Deno.remove(`${folder}/features`, { recursive: true });
    await extract(folder, "--vae", "other");
    const again = await train(folder, "--resume", "latest", "--steps", "4");
    assertRefused(again, "--vae", "other weights");
  },
);

commandTest("a run does not mix the latents of two autoencoders or sizes", async (folder) => {
  await prepare(folder);
  const images = ["--data", "pictures", "--image-size", "32", "--vae", "vae"];
  assertDone(await train(folder, ...images));
  await Deno.remove(`${folder}/vae`, { recursive: true });
  await writeVae(`${folder}/vae`, 1);
  const again = await train(folder, "--resume", "latest", "--steps", "4");
  assertRefused(again, "the autoencoder that the run began with");
  const sampled = await command("sample", ["--n", "1", "--num-sampling-steps", "2"], folder);
  assertRefused(sampled, "expected the autoencoder that the latents were made by");
  // An autoencoder that is named is taken as it is.
  const named = ["--n", "1", "--num-sampling-steps", "2", "--vae", "vae"];
  assertDone(await command("sample", named, folder));
});

commandTest("shards that are missing or have changed are refused", async (folder) => {
  await prepare(folder);
  await extract(folder, "--shard-size", "8");
  const path = `${folder}/features/shard-00001.safetensors`;
  const bytes = await Deno.readFile(path);
  bytes[bytes.length - 1]! ^= 1;
  await Deno.writeFile(path, bytes);
  assertRefused(await train(folder, "--data", "features"), "shard-00001", "checksum");
  await Deno.remove(path);
  assertRefused(await train(folder, "--data", "features"), "shard-00001", "the shard is missing");
});

commandTest(
  "digits are pixels, and small images are unless an autoencoder is named",
  async (folder) => {
    await prepare(folder);
    assertRefused(await train(folder, "--vae", "vae"), "--vae: mnist is trained on as pixels");
    const runs = await Promise.all([
      train(folder, "--data", "pictures", "--results-dir", "small"),
      train(folder, "--data", "pictures", "--image-size", "128"),
      train(folder, "--data", "pictures", "--image-size", "30", "--vae", "vae"),
    ]);
    assertDone(runs[0]!);
    assertEquals((await configOf(`${folder}/small/000-DiT-Mini-4`)).model.latents, null);
    assertRefused(runs[1]!, "deno task download sd-vae-ft-ema", "--vae none");
    assertRefused(runs[2]!, "--image-size: expected a multiple of 4");
  },
);
