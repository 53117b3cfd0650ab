/**
 * Switches, files and models that do not go together, given to the commands: each is refused in one
 * line that names both sides.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  type HostTensor,
  hostTensor,
  Namespace,
  saveSafetensors,
  saveTorch,
  type TorchValue,
} from "@dit/core/io";
import type { ModelConfig } from "@dit/core/pipeline";
import {
  commandLines,
  commandTest,
  SMALL,
  smallVaeWeights,
  smallWeights,
  words,
  writeRun,
} from "./commands.ts";
import { writeTinyDigits } from "./tiny_digits.ts";

/** A command line without quotes, and what its only line of output says. */
type Refused = readonly [line: string, ...says: string[]];

/** Runs all of them in one process, since most of the time is its start. */
async function assertRefused(folder: string, cases: readonly Refused[]): Promise<void> {
  const ends = await commandLines(cases.map(([line]) => words(line)), folder);
  for (const [i, { code, out, err }] of ends.entries()) {
    const [line, ...says] = cases[i]!;
    assert(code === 1 || code === 2, `${line} ended with ${code}: ${out}${err}`);
    const lines = err.trim().split("\n").filter((text) => !text.startsWith("See: "));
    assertEquals(lines.length, 1, `${line}: ${err}`);
    for (const part of says) assertStringIncludes(lines[0]!, part, line);
  }
}

/** A small model in another process, or with other switches. */
function variant(
  dit: Partial<ModelConfig["dit"]>,
  rest: Partial<ModelConfig> = {},
): ModelConfig {
  return { ...SMALL, ...rest, dit: { ...SMALL.dit, ...dit } };
}

const FLOW: ModelConfig = {
  ...SMALL,
  diffusion: { ...SMALL.diffusion, process: "flow", objective: "v" },
};

/** Writes tensors of no use under names. */
async function writeNames(path: string, ...names: string[]): Promise<void> {
  const tensors = names.map((name) => [name, hostTensor(Float32Array.of(1))] as const);
  await saveSafetensors(path, new Map(tensors));
}

/** A checkpoint of SiT's trainer with these options. */
async function writeSiT(path: string, options: Record<string, string>): Promise<void> {
  const ema = await smallWeights(SMALL);
  const file = new Map<string, TorchValue<HostTensor>>([
    ["ema", ema],
    ["args", new Namespace(new Map(Object.entries(options)))],
  ]);
  await saveTorch(path, file);
}

commandTest("models are sampled by what suits their process and their heads", async (folder) => {
  await writeRun(folder, "gaussian", 1);
  await writeRun(folder, "flow", 1, FLOW);
  await writeRun(folder, "plain", 1, variant({ classDropoutProb: 0 }, { nullClass: null }));
  await writeSiT(`${folder}/gvp.pt`, { path_type: "GVP", prediction: "velocity" });
  await writeSiT(`${folder}/sit.pt`, { path_type: "Linear", prediction: "velocity" });
  await assertRefused(folder, [
    [
      "sample --ckpt flow --sampler ddpm",
      "--sampler: sample: ddpm needs",
      "is flow",
      "ddim, dpm++",
    ],
    ["sample --ckpt gaussian --sampler euler-maruyama", "euler-maruyama needs a flow", "gaussian"],
    ["sample-many --ckpt flow --sampler ddpm --num-fid-samples 1", "ddpm needs", "is flow"],
    ["sample --ckpt gaussian --process flow", "--process: expected gaussian, which", "got flow"],
    ["sample --ckpt flow --process gaussian", "--process: expected flow, which", "got gaussian"],
    ["sample --ckpt sit.pt --process gaussian", "expected flow, which sit.pt says", "got gaussian"],
    ["sample --ckpt sit.pt --sampler ddpm --vae none", "ddpm needs", "the process is flow"],
    ["sample --ckpt gvp.pt", "SiT's flow (path_type=Linear, prediction=velocity)", "path_type=GVP"],
    ["sample --ckpt gvp.pt --process flow", "SiT's flow (path_type=Linear", "say path_type=GVP"],
    ["sample --ckpt flow --noise-schedule linear", "--noise-schedule: flow", "of process flow"],
    [
      "sample --ckpt gaussian --time-shift 2",
      "--time-shift: gaussian",
      "process gaussian, not of a",
    ],
    ["sample --ckpt flow --cfg-interval 100,800", "two times from 0 (noise) to 1", "got 100,800"],
    ["sample --ckpt gaussian --cfg-interval 0.1,1", "two whole timesteps", "but got 0.1,1"],
    ["sample --ckpt gaussian --cfg-interval 800,100", "the smaller first", 'but got "800,100"'],
    ["sample --ckpt gaussian --cfg-interval 2000,3000", "timesteps below 1000", "got 2000,3000"],
    ["sample --ckpt plain --cfg-interval 100,800", "--cfg-interval: plain", "without a null class"],
    ["sample --ckpt plain --cfg-channels all", "--cfg-channels: plain", "without a null class"],
    ["sample --ckpt plain --cfg-scale 2", "--cfg-scale: plain", "without a null class"],
    ["sample --ckpt gaussian --internal-guidance 2", "--internal-guidance: gaussian", "early head"],
    ["sample --ckpt gaussian --weights 0.9", "expected weights 0.9 but it has ema"],
    ["sample --ckpt sit.pt --weights 0.9", "sit.pt: expected ema or model weights", "but got 0.9"],
    ["sample --ckpt flow --sampler heun --eta 1", "--eta: expected --sampler ddim", "got heun"],
  ]);
});

commandTest("a run begins with weights of its family, or with none", async (folder) => {
  await writeTinyDigits(`${folder}/digits`, 30);
  await writeRun(folder, "gaussian", 1, variant({ earlyHead: 1 }));
  await saveSafetensors(`${folder}/vae.safetensors`, await smallVaeWeights());
  await writeNames(`${folder}/random.safetensors`, "a", "b");
  await writeNames(`${folder}/inception.safetensors`, "Mixed_5b.branch1x1.conv.weight");
  await writeNames(`${folder}/unet.safetensors`, "down_blocks.0.resnets.0.conv1.weight");
  await Deno.writeTextFile(`${folder}/short.txt`, "hello");
  await Deno.writeTextFile(`${folder}/long.txt`, "these are no weights at all");
  await Deno.mkdir(`${folder}/empty`);
  await Deno.mkdir(`${folder}/unet`);
  await Deno.writeTextFile(`${folder}/unet/config.json`, '{"_class_name":"UNet2DConditionModel"}');
  await Deno.mkdir(`${folder}/pipeline`);
  const index = '{"_class_name":"StableDiffusionPipeline"}';
  await Deno.writeTextFile(`${folder}/pipeline/model_index.json`, index);
  const of = (what: string) => `train --data digits --device wasm --batch-size 4 --init ${what}`;
  const ofDiT = "expected weights of a DiT (x_embedder";
  await assertRefused(folder, [
    [of("vae.safetensors"), "--init: vae.safetensors", ofDiT, "found those of an autoencoder: "],
    [of("inception.safetensors"), ofDiT, "found those of an Inception network: "],
    [of("unet.safetensors"), ofDiT, "found those of a U-Net: "],
    [of("random.safetensors"), ofDiT, 'but found "a", "b"'],
    [of("short.txt"), "--init: short.txt", "a safetensors file", 'begins with "hello"'],
    [of("long.txt"), "--init: long.txt", "a safetensors file", 'begins with "these are no'],
    [of("empty"), "--init: empty: expected a run with a checkpoint in it but found none"],
    [of("nowhere"), "--init: nowhere: expected a checkpoint or a folder of one but found nothing"],
    [of("unet"), "--init: unet", "to be DiTTransformer2DModel", 'got "UNet2DConditionModel"'],
    [of("pipeline"), "expected a DiTPipeline", 'says "StableDiffusionPipeline"'],
    [of("inception"), "--init: expected the weights of a DiT", "inception is the Inception-v3"],
    [of("DiT-XL-2-256x256"), "which are not there", "deno task download DiT-XL-2-256x256"],
    [
      of("gaussian --hidden-size 64 --patch-size 8"),
      "--init: expected weights with a hiddenSize of 64",
      "have 128",
    ],
    [of("gaussian --model-guidance 1"), "--model-guidance: expected a model with one head"],
    [of("gaussian --process flow --sample-sampler ddpm"), "ddpm needs", "the process is flow"],
    [of("gaussian --process flow --noise-schedule linear"), "--noise-schedule: --process flow has"],
    [of("gaussian --freeze blocks --lr-scale blocks=2"), "--lr-scale", "blocks stay as they are"],
    [of("gaussian --lr-scale *=0"), "--lr-scale: expected some weights", "*=0 gives all of them"],
    [of("gaussian --resume latest"), "results: expected a run with a checkpoint"],
  ]);
});

commandTest(
  "what cannot be written is refused before the work, by the name of its flag",
  async (folder) => {
    await writeRun(folder, "run", 1);
    await Deno.writeTextFile(`${folder}/file`, "");
    await Deno.mkdir(`${folder}/folder.pt`);
    const long = "x".repeat(300); // no system has names that long
    const isFile = "--out: file: expected a folder to write to but a file is there";
    const tooLong = `--out: ${long}: expected a folder to write to but `;
    const original = "export --to original --ckpt run --out";
    const diffusers = "export --to diffusers --ckpt run --out";
    const trainVae = "train-vae --data nowhere --image-size 32 --out";
    const extract = "extract-features --data nowhere --image-size 32 --out";
    await assertRefused(folder, [
      [`${original} folder.pt`, "--out: expected a file to write but folder.pt is a folder"],
      [`${original} file/a.pt`, isFile],
      [`${original} ${long}.pt`, `--out: could not write ${long}.pt: `],
      ...[diffusers, trainVae, extract].flatMap((line): Refused[] => [
        [`${line} file`, isFile],
        [`${line} ${long}`, tooLong],
      ]),
      [`build-page ${long}`, `${long}: expected a folder to write to but `],
      [`sample-many --ckpt run --sample-dir ${long}`, `--sample-dir: ${long}: expected a folder`],
    ]);
  },
);
