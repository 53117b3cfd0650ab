/** `deno task sample` from end to end. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { hostTensor, loadNpz, saveSafetensors, saveTorch } from "@dit/core/io";
import type { ModelConfig } from "@dit/core/pipeline";
import { vaeConfigOf } from "@dit/core/vae";
import {
  command,
  commandLines,
  commandTest,
  type Ended,
  pngSize,
  SMALL,
  SMALL_VAE,
  smallLatents,
  smallVaeWeights,
  smallWeights,
  words,
  writeRun,
} from "./commands.ts";
import { goldenPath } from "./fixtures.ts";

/** Runs the command on the CPU, where results do not depend on the machine's GPU. */
const USUAL = ["--device", "wasm", "--num-sampling-steps", "3"];

function sample(folder: string, ...args: string[]): Promise<Ended> {
  return command("sample", [...USUAL, ...args], folder);
}

function assertDone({ code, out, err }: Ended): void {
  assertEquals(code, 0, out + err);
}

async function archive(
  path: string,
): Promise<{ pixels: Uint8Array; shape: number[]; labels: number[] }> {
  const { arr_0, arr_1 } = Object.fromEntries(await loadNpz(path));
  const labels = Array.from(new BigInt64Array(arr_1!.data.buffer), Number);
  return { pixels: arr_0!.data, shape: [...arr_0!.shape], labels };
}

async function writeVae(folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(vaeConfigOf(SMALL_VAE)));
  await saveSafetensors(`${folder}/diffusion_pytorch_model.safetensors`, await smallVaeWeights());
}

commandTest("sample without flags draws a grid from the newest run", async (folder) => {
  await writeRun(`${folder}/results`, "000-old", 20);
  const newest = await writeRun(`${folder}/results`, "001-new", 10);
  await writeRun(`${folder}/results`, "001-new", 5);
  await Deno.mkdir(`${folder}/results/002-empty/checkpoints`, { recursive: true });
  const ended = await command("sample", [], folder);
  assertDone(ended);
  assertStringIncludes(ended.out, newest.slice(folder.length + 1));
  assertStringIncludes(ended.out, "written  samples/sample.png");
  const size = pngSize(await Deno.readFile(`${folder}/samples/sample.png`));
  assertEquals(size, [6 * 10 + 2, 4 * 10 + 2]); // six classes side by side, four of each
});

commandTest("a sample is the same picture whatever is drawn beside it", async (folder) => {
  await writeRun(`${folder}/results`, "000-run", 1);
  const runs = [["8", "8"], ["8", "1"], ["5", "5"]] as const;
  const archives = await Promise.all(runs.map(async ([n, batch]) => {
    const path = `${folder}/${n}-${batch}.npz`;
    assertDone(await sample(folder, "--n", n, "--batch-size", batch, "--seed", "9", "--out", path));
    return await archive(path);
  }));
  const [whole, single, fewer] = archives as [typeof archives[0], ...typeof archives];
  assertEquals(whole!.shape, [8, 8, 8, 1]);
  assertEquals(whole!.labels, [0, 1, 2, 3, 4, 5, 0, 1]);
  assertEquals(single, whole);
  assertEquals(fewer!.pixels, whole!.pixels.slice(0, 5 * 64));
  assert(new Set(whole!.pixels).size > 50, "expected pictures that are not all alike");
});

commandTest("classes are given by number or by name", async (folder) => {
  await writeRun(`${folder}/results`, "000-run", 1);
  assertDone(await sample(folder, "--classes", "3,Four,one", "--n", "4", "--out", "a.npz"));
  assertEquals((await archive(`${folder}/a.npz`)).labels, [3, 4, 1, 3]);
});

commandTest("pictures go into a folder one by one, or step by step into a grid", async (folder) => {
  await writeRun(`${folder}/results`, "000-run", 1);
  assertDone(await sample(folder, "--n", "3", "--out", "deep/folder"));
  const names = Array.from(Deno.readDirSync(`${folder}/deep/folder`), ({ name }) => name).sort();
  assertEquals(names, ["000000.png", "000001.png", "000002.png"]);
  assertEquals(pngSize(await Deno.readFile(`${folder}/deep/folder/000001.png`)), [8, 8]);
  const fewer = await sample(folder, "--n", "2", "--out", "deep/folder");
  assertEquals(fewer.code, 2);
  assertStringIncludes(fewer.err, "--out: expected a folder without pictures but found ");
  const steps = ["--num-sampling-steps", "12", "--progressive", "--n", "2", "--out", "strip.png"];
  assertDone(await sample(folder, ...steps));
  assertEquals(pngSize(await Deno.readFile(`${folder}/strip.png`)), [10 * 10 + 2, 2 * 10 + 2]);
});

commandTest(
  "a checkpoint of the original's train.py is sampled through an autoencoder",
  async (folder) => {
    const path = goldenPath("checkpoint/train/0000003.pt");
    const ckpt = path ?? `${folder}/0000003.pt`;
    if (!path) { // as train.py writes weights, without its settings, where its own file is not here
      const config = smallLatents({ inputSize: 32, patchSize: 8, hiddenSize: 16 }, "ema");
      const ema = await smallWeights(config);
      await saveTorch(ckpt, new Map([["model", ema], ["ema", ema]]));
    }
    const without = await sample(folder, "--ckpt", ckpt);
    assertEquals(without.code, 1);
    assertMatch(without.err, /deno task download sd-vae-ft-(ema|mse)/);
    await writeVae(`${folder}/vae`);
    const ended = await sample(folder, "--ckpt", ckpt, "--vae", "vae", "--n", "1");
    assertDone(ended);
    assertStringIncludes(ended.out, path ? "ema weights" : "(PyTorch, ema)");
    assertEquals(pngSize(await Deno.readFile(`${folder}/samples/sample.png`)), [256, 256]);
    assertDone(await sample(folder, "--ckpt", ckpt, "--vae", "none", "--n", "1"));
    assertEquals(pngSize(await Deno.readFile(`${folder}/samples/sample.png`)), [32, 32]);
    if (!path) return;
    const overrides = words("--num-heads 2 --num-classes 6 --vae none --n 1");
    const corrected = await sample(folder, "--ckpt", ckpt, ...overrides);
    assertDone(corrected);
    assert(!corrected.out.includes("attention head"), corrected.out);
    const { err } = await sample(folder, "--ckpt", ckpt, "--num-classes", "1000");
    assertStringIncludes(err, "--num-classes: expected 6, which");
  },
);

commandTest(
  "what a state dict does not say can be given by flags, and gives the checkpoint's pictures",
  async (folder) => {
    const config: ModelConfig = {
      ...SMALL,
      dit: { ...SMALL.dit, hiddenSize: 48, numHeads: 3, classDropoutProb: 0 },
      diffusion: {
        objective: "v",
        noiseSchedule: "squaredcos_cap_v2",
        diffusionSteps: 500,
        minSnrGamma: null,
      },
      nullClass: null,
      classNames: [],
    };
    const ckpt = await writeRun(`${folder}/results`, "000-run", 1, config);
    await saveTorch(`${folder}/bare.pt`, await smallWeights(config));
    const how = ["--classes", "5,0", "--out", "a.npz"];
    assertDone(await sample(folder, ...how, "--ckpt", ckpt));
    const want = await archive(`${folder}/a.npz`);
    const overrides = words(
      "--num-heads 3 --num-classes 6 --objective v",
      "--noise-schedule squaredcos_cap_v2 --diffusion-steps 500",
    );
    const ended = await sample(folder, ...how, "--ckpt", "bare.pt", ...overrides);
    assertDone(ended);
    assert(!ended.out.includes("assuming"), ended.out);
    assertEquals(await archive(`${folder}/a.npz`), want);
    assertDone(await sample(folder, ...how, "--ckpt", ckpt, ...overrides)); // as it says itself
    const guessed = await sample(folder, "--ckpt", "bare.pt", "--classes", "0", "--out", "a.npz");
    assertDone(guessed);
    assertStringIncludes(guessed.out, "assuming 1 attention head: the file does not say how many");
    assertStringIncludes(guessed.out, "assuming that it predicts the noise");
    const cases: [string, string[], string][] = [
      [ckpt, ["--num-heads", "4"], "--num-heads: expected 3, which"],
      [ckpt, ["--objective", "epsilon"], "--objective: expected v, which"],
      [ckpt, ["--model", "DiT-S/2"], "--model: expected small, which"],
      [
        "bare.pt",
        ["--model", "DiT-S/2"],
        "--model: DiT-S/2 has a depth of 12 but bare.pt one of 2",
      ],
      ["bare.pt", ["--num-classes", "7"], "--num-classes: expected 5, or 6 without one for none"],
    ];
    const lines = cases.map(([path, flags]) => ["sample", ...USUAL, "--ckpt", path, ...flags]);
    for (const [i, { code, err }] of (await commandLines(lines, folder)).entries()) {
      assertStringIncludes(err, cases[i]![2]);
      assertEquals(code, 2, err);
    }
  },
);

commandTest("sample --image-size draws what the original's sample.py draws", async (folder) => {
  const shape = { inputSize: 32, patchSize: 8, hiddenSize: 32, depth: 1, numClasses: 1000 };
  await writeVae(`${folder}/pretrained_models/sd-vae-ft-mse`);
  const weights = `${folder}/pretrained_models/DiT-XL-2-256x256.pt`;
  await saveTorch(weights, await smallWeights(smallLatents(shape, "mse")));
  const ended = await sample(folder, "--image-size", "256");
  assertDone(ended);
  assertStringIncludes(ended.out, "8, ddpm, 3 steps, guidance 4, seed 0");
  const size = pngSize(await Deno.readFile(`${folder}/samples/sample.png`));
  assertEquals(size, [4 * 258 + 2, 2 * 258 + 2]);
  const labels = [207, 360, 387, 974, 88, 979, 417, 279];
  assertDone(await sample(folder, "--image-size", "256", "--vae", "none", "--out", "a.npz"));
  assertEquals((await archive(`${folder}/a.npz`)).labels, labels);
});

commandTest("wrong flags are refused by name, with the nearest right one", async (folder) => {
  await writeRun(`${folder}/results`, "000-run", 1);
  const cases: [string[], string][] = [
    [["--clases", "3"], "unknown flag --clases; did you mean --classes?"],
    [
      ["--sampler", "dmp++"],
      'expected one of ddpm, ddim, dpm++, heun, euler, euler-maruyama but got "dmp++"; did you mean dpm++?',
    ],
    [["--classes", "6"], "--classes: expected a number from 0 to 5"],
    [["--classes", "fife"], "did you mean five?"],
    [["--n", "0"], "--n: expected a whole number of 1 or more"],
    [["--seed", "x"], "--seed: expected a whole number"],
    [["--eta", "2"], "--eta: expected a number from 0 to 1"],
    [["--sampler", "ddpm", "--eta", "1"], "expected --sampler ddim with it"],
    [["--cfg-interval", "5"], "--cfg-interval: expected two timesteps"],
    [["--cfg-channels", "2"], "--cfg-channels: expected one of 3, all"],
    [["--image-size", "128"], "--image-size: expected one of 256, 512"],
    [["--image-size", "256", "--ckpt", "results"], "makes pictures of 8x8, not 256x256"],
    [["--num-sampling-steps", "2000"], "expected 1000 at most"],
    [
      ["--sampler", "ddpm", "--num-sampling-steps", "1"],
      "--num-sampling-steps: expected 2 or more with --sampler ddpm but got 1",
    ],
    [["--vae", "mse"], "makes pixels and needs no autoencoder"],
    [["--out", "a.jpg"], "--out: expected FILE.png, FILE.npz or a folder"],
    [["--out", "a.npz", "--progressive"], "--progressive: expected --out FILE.png"],
    [["picture"], "expected flags only"],
  ];
  const lines = cases.map(([flags]) => ["sample", "--device", "wasm", ...flags]);
  for (const [i, { code, err }] of (await commandLines(lines, folder)).entries()) {
    assertStringIncludes(err, cases[i]![1]);
    assertEquals(code, 2, err);
  }
  assertEquals(Array.from(Deno.readDirSync(folder), ({ name }) => name), ["results"]);
});

commandTest("what is no checkpoint, or damaged, is refused in a sentence", async (folder) => {
  const good = await Deno.readFile(await writeRun(`${folder}/results`, "000-run", 1));
  const write = (name: string, bytes: Uint8Array) => Deno.writeFile(`${folder}/${name}`, bytes);
  await write("cut.safetensors", good.subarray(0, good.length - 100));
  await write("empty.pt", new Uint8Array(0));
  await write("page.pt", new TextEncoder().encode("<html>"));
  const vae = await smallVaeWeights();
  await saveSafetensors(`${folder}/vae.safetensors`, vae);
  const missing = new Map(await smallWeights(smallLatents({ inputSize: 8 }, "mse")));
  missing.delete("blocks.1.mlp.fc2.weight");
  await saveSafetensors(`${folder}/missing.safetensors`, missing);
  const diverged = new Map(await smallWeights(smallLatents({ inputSize: 8 }, "mse")));
  diverged.set("final_layer.linear.bias", hostTensor(new Float32Array(32).fill(NaN)));
  await saveSafetensors(`${folder}/diverged.safetensors`, diverged);
  const cases: [string, string][] = [
    ["diverged.safetensors", "pictures have numbers that are not finite"],
    ["nothing", "nothing: expected a checkpoint or a folder of one but found nothing"],
    ["cut.safetensors", "cut.safetensors"],
    ["empty.pt", "an empty file"],
    ["page.pt", "expected a PyTorch checkpoint"],
    ["vae.safetensors", "expected weights of a DiT"],
    ["missing.safetensors", "blocks.1.mlp.fc2.weight"],
    ["results/000-run/checkpoints", "found"],
  ];
  const lines = cases.map(([path]) => ["sample", ...USUAL, "--vae", "none", "--ckpt", path]);
  for (const [i, { code, err }] of (await commandLines(lines, folder)).entries()) {
    assertStringIncludes(err, cases[i]![1]);
    assertEquals(err.includes("    at "), false, `a stack: ${err}`);
    assertEquals(code, 1, err);
  }
});

commandTest("sample --help names each flag in a line", async (folder) => {
  const { code, out } = await command("sample", ["--help"], folder);
  assertEquals(code, 0);
  for (const flag of ["--ckpt PATH", "--cfg-interval LO,HI", "--progressive", "--seed N"]) {
    assertStringIncludes(out, flag);
  }
});
