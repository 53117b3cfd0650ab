/** `deno task sample-many` from end to end, alone and on several ranks. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { NpzFile, saveSafetensors, saveTorch } from "@dit/core/io";
import type { ModelConfig } from "@dit/core/pipeline";
import { decodePng } from "@dit/data";
import { vaeConfigOf } from "@dit/core/vae";
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
  words,
  writeRun,
} from "./commands.ts";
import { webgpuMissing } from "./devices.ts";
import { launched, mpiTest, runRanks } from "./mpi.ts";

const USUAL = words("--device wasm --num-sampling-steps 3");

function sampleMany(folder: string, ...args: string[]): Promise<Ended> {
  return command("sample-many", [...USUAL, ...args], folder);
}

function assertDone({ code, out, err }: Ended): void {
  assertEquals(code, 0, out + err);
}

const names = (folder: string): string[] =>
  Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();

/** Every file below a folder, with what is in it. */
async function contents(folder: string): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) {
      for (const [inner, text] of Object.entries(await contents(path))) {
        all[`${name}/${inner}`] = text;
      }
    } else all[name] = (await Deno.readFile(path)).toBase64();
  }
  return all;
}

/** Pixels, classes and what made them. */
async function archive(path: string) {
  using file = await NpzFile.open(path);
  const images = await file.read("arr_0");
  const labels = await file.read("arr_1");
  return {
    shape: [...images.shape],
    pixels: images.data,
    labels: Array.from(new BigInt64Array(labels.data.buffer), Number),
    madeBy: JSON.parse(file.texts.get("made_by")!),
  };
}

commandTest("sample-many writes pictures and their archive, and goes on", async (folder) => {
  await writeRun(`${folder}/results`, "000-run", 1);
  const first = await sampleMany(folder, ...words("--num-fid-samples 7 --per-proc-batch-size 3"));
  assertDone(first);
  const name = "small-0000001-size-8-vae-none-cfg-1.5-seed-0";
  const [pictures, npz] = [`${folder}/samples/${name}`, `${folder}/samples/${name}.npz`];
  const files = Array.from({ length: 7 }, (_, i) => `00000${i}.png`);
  assertEquals(names(pictures), [...files, "made_by.json"]);
  const whole = await archive(npz);
  assertEquals([whole.shape, whole.labels.length], [[7, 8, 8, 1], 7]);
  for (const [i, file] of files.entries()) {
    const { pixels } = await decodePng(await Deno.readFile(`${pictures}/${file}`));
    assertEquals(pixels, whole.pixels.slice(i * 64, (i + 1) * 64), file);
  }
  const { images, sampler, steps, cfgScale, weightSet, seed, labels, device } = whole.madeBy;
  assertEquals([images, sampler, steps, cfgScale], [7, "ddpm", 3, 1.5]);
  assertEquals([weightSet, seed, labels, device], ["ema", 0, "random", "wasm"]);
  assert(/^[0-9a-f]{64}$/.test(whole.madeBy.weights));

  // some were lost, one was half written, and the batch is another one
  const before = await contents(`${folder}/samples`);
  const { ino } = await Deno.stat(`${pictures}/000000.png`);
  await Deno.remove(npz);
  await Deno.remove(`${pictures}/000002.png`);
  await Deno.remove(`${pictures}/000005.png`);
  for (const path of [`${pictures}/000002.png.0123abcd.tmp`, `${npz}.0123abcd.tmp`]) {
    await Deno.writeTextFile(path, "half");
    await Deno.utime(path, 0, 0); // nobody is writing it any more
  }
  const again = await sampleMany(folder, "--num-fid-samples", "7");
  assertDone(again);
  assertStringIncludes(again.out, "where 5 samples are already");
  assertStringIncludes(again.out, "sampled  2 in ");
  assertEquals(await contents(`${folder}/samples`), before);
  assertEquals((await Deno.stat(`${pictures}/000000.png`)).ino, ino);

  // whatever else is asked for is refused, and what is there is left alone
  const bare = await writeRun(`${folder}/other`, "000-run", 1, {
    ...SMALL,
    diffusion: { ...SMALL.diffusion, objective: "epsilon" },
  });
  const cases: [string, string][] = [
    ["--num-fid-samples 7 --sampler ddim", "--sampler was ddpm and is ddim"],
    ["--num-fid-samples 7 --no-png", "--png was on and is off"],
    [
      "--num-fid-samples 9 --half --balanced-labels",
      "--balanced-labels was random and is balanced",
    ],
    ["--num-fid-samples 9 --num-sampling-steps 4", "--num-sampling-steps was 3 and is 4"],
    [`--num-fid-samples 9 --ckpt ${bare}`, "--objective was xstart and is epsilon"],
    ["--num-fid-samples 5", "has 7 samples already"],
    [
      `--num-fid-samples 9 --sample-dir ${bare}`,
      `${bare}: expected a folder to write to but a file is there`,
    ],
  ];
  const lines = cases.map(([line]) => ["sample-many", ...USUAL, ...words(line)]);
  for (const [i, { code, err }] of (await commandLines(lines, folder)).entries()) {
    assertStringIncludes(err, cases[i]![1]);
    assertEquals(code, 1, err);
  }
  assertEquals(await contents(`${folder}/samples`), before);
  const [finished, more] = await commandLines([
    ["sample-many", ...USUAL, "--num-fid-samples", "7"],
    ["sample-many", ...USUAL, "--num-fid-samples", "9"],
  ], folder) as [Ended, Ended];
  assertDone(finished);
  assertStringIncludes(finished.out, `finished samples/${name}.npz has all 7 samples already`);
  assertDone(more);
  const larger = await archive(npz);
  assertEquals(larger.shape, [9, 8, 8, 1]);
  assertEquals(larger.pixels.slice(0, 7 * 64), whole.pixels);
});

commandTest("sample-many refuses what it cannot do, and foreign pictures", async (folder) => {
  await writeRun(`${folder}/results`, "000-run", 1);
  const name = "samples/small-0000001-size-8-vae-none-cfg-1.5-seed-0";
  await Deno.mkdir(`${folder}/${name}`, { recursive: true });
  await Deno.writeTextFile(`${folder}/${name}/000001.png`, "mine");
  const cases: [string, number, string][] = [
    ["--num-fid-samples 3", 1, "expected made_by.json beside samples but found none"],
    ["--num-fid-samples 0", 2, "--num-fid-samples: expected a whole number of 1 or more"],
    ["--per-proc-batch-size x", 2, "--per-proc-batch-size: expected a whole number"],
    ["--seed 3", 2, "unknown flag --seed"],
    ["--image-size 512 --ckpt results", 2, "--image-size: results/000-run"],
    ["--distributed mpi", 1, "expected to be started by MPI"],
    ["--vae ema", 2, "--vae: this model makes pixels"],
  ];
  const lines = cases.map(([line]) => ["sample-many", ...USUAL, ...words(line)]);
  const [balanced] = await commandLines([
    [
      "sample-many",
      ...USUAL,
      ...words("--num-fid-samples 12 --no-png --balanced-labels"),
      ...words("--global-seed 5 --cfg-scale 2"),
    ],
    ...lines,
  ], folder).then((ended) => {
    for (const [i, { code, err }] of ended.slice(1).entries()) {
      assertStringIncludes(err, cases[i]![2]);
      assertEquals(code, cases[i]![1], err);
    }
    return ended;
  });
  assertDone(balanced!);
  const other = `${folder}/samples/small-0000001-size-8-vae-none-cfg-2.0-seed-5`;
  assertEquals(names(other), ["made_by.json"]); // parts go when the archive has them
  const { labels, shape } = await archive(`${other}.npz`);
  assertEquals(labels, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
  assertEquals(shape, [12, 8, 8, 1]);
});

commandTest("sample-many --image-size samples what sample_ddp.py samples", async (folder) => {
  const shape = { inputSize: 32, patchSize: 8, hiddenSize: 32, depth: 1, numClasses: 1000 };
  const vae = `${folder}/pretrained_models/sd-vae-ft-ema`;
  await Deno.mkdir(vae, { recursive: true });
  await Deno.writeTextFile(`${vae}/config.json`, JSON.stringify(vaeConfigOf(SMALL_VAE)));
  await saveSafetensors(`${vae}/diffusion_pytorch_model.safetensors`, await smallVaeWeights());
  const weights = await smallWeights(smallLatents(shape, "mse"));
  await saveTorch(`${folder}/pretrained_models/DiT-XL-2-256x256.pt`, weights);
  const ended = await sampleMany(folder, ...words("--image-size 256 --num-fid-samples 2"));
  assertDone(ended);
  assertStringIncludes(ended.out, "2, ddpm, 3 steps, guidance 1.5, seed 0, random classes");
  const [found] = names(`${folder}/samples`).filter((name) => name.endsWith(".npz"));
  // the model is a small one, which has no name
  assertMatch(found!, /-pretrained-size-256-vae-ema-cfg-1\.5-seed-0\.npz$/);
  assertEquals((await archive(`${folder}/samples/${found}`)).shape, [2, 256, 256, 3]);
});

/** Runs the command alone and on ranks, each into a folder of its own; all write the same bytes. */
async function assertSameOnRanks(
  folder: string,
  args: readonly string[],
  ranks: readonly (() => Promise<Ended>)[],
): Promise<void> {
  assertDone(await command("sample-many", [...args, "--sample-dir", "alone"], folder));
  const alone = await contents(`${folder}/alone`);
  assert(Object.keys(alone).length > 1);
  for (const [i, run] of ranks.entries()) {
    assertDone(await run());
    assertEquals(await contents(`${folder}/ranks${i}`), alone, `run ${i}`);
  }
}

mpiTest("sample-many writes the same bytes on 1, 2 and 4 ranks", async (mpi, folder) => {
  const shape = { inputSize: 4, patchSize: 2, hiddenSize: 32, depth: 1, numHeads: 2 };
  await writeRun(`${folder}/results`, "000-run", 1, smallLatents(shape, `${folder}/vae`));
  await Deno.mkdir(`${folder}/vae`);
  await Deno.writeTextFile(`${folder}/vae/config.json`, JSON.stringify(vaeConfigOf(SMALL_VAE)));
  const vae = await smallVaeWeights();
  await saveSafetensors(`${folder}/vae/diffusion_pytorch_model.safetensors`, vae);
  const args = [...USUAL, ...words("--num-fid-samples 9")];
  const on = (ranks: number, ...more: string[]) => () =>
    runRanks(mpi, ranks, launched("sample-many", ...args, ...more), { cwd: folder });
  await assertSameOnRanks(folder, args, [
    on(2, ...words("--per-proc-batch-size 2 --sample-dir ranks0")),
    on(4, ...words("--per-proc-batch-size 1 --sample-dir ranks1")),
  ]);
});

/** Four patches of an image and few channels: as many shaders as any, and little to compute. */
const TINY: ModelConfig = {
  ...SMALL,
  dit: { ...SMALL.dit, patchSize: 4, hiddenSize: 16, depth: 1, numHeads: 1 },
};

if (webgpuMissing) {
  Deno.test({
    name: `sample-many on two ranks of WebGPU (${webgpuMissing})`,
    ignore: true,
    fn() {},
  });
} else {
  mpiTest("sample-many writes the same bytes on two ranks of WebGPU", async (mpi, folder) => {
    await writeRun(`${folder}/results`, "000-run", 1, TINY);
    // two groups, of which the second has one sample
    const args = words("--device webgpu --num-sampling-steps 2 --num-fid-samples 33 --no-png");
    const env = { GALLIVM_PERF: "nopt" }; // see prepareMesa()
    await assertSameOnRanks(folder, args, [
      () =>
        runRanks(mpi, 2, launched("sample-many", ...args, "--sample-dir", "ranks0"), {
          cwd: folder,
          env,
        }),
    ]);
  });
}
