/** `deno task train --eval-every`: samples compared with the data, and training none the wiser. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { loadSafetensors, saveSafetensors } from "@dit/core/io";
import { vaeConfigOf } from "@dit/core/vae";
import { denoArguments } from "../cli/launch.ts";
import { command, commandLines, commandTest, vaeWeights, words } from "./commands.ts";
import { launched, mpiTest, runRanks } from "./mpi.ts";
import { writePictures } from "./pictures.ts";
import { writeTinyDigits } from "./tiny_digits.ts";

/** A model of a few thousand parameters. */
const TINY = words(
  "--device wasm --hidden-size 16 --depth 1 --num-heads 2 --patch-size 8 --batch-size 4",
  "--sample-every 0 --final-samples 0 --log-every 1 --sample-steps 2 --num-workers 1",
);
const EVALUATED = words("--eval-every 2 --eval-samples 20 --keep 2 --ckpt-every 2");
const RUN = "000-DiT-Mini-4";

async function evaluationsOf(run: string): Promise<Record<string, number>[]> {
  const lines = (await Deno.readTextFile(`${run}/metrics.jsonl`)).trim().split("\n");
  return lines.map((line) => JSON.parse(line)).filter(({ kind }) => kind === "evaluation");
}

commandTest(
  "evaluation leaves no trace in training, and resumed runs are exact",
  async (folder) => {
    await writeTinyDigits(`${folder}/digits`, 40);
    const args = ["--data", "digits", ...TINY, "--steps", "6"];
    const whole = await command("train", [...args, ...EVALUATED], folder);
    assertEquals(whole.code, 0, whole.err);
    assertMatch(
      whole.out,
      /^evaluate 20 samples, by features of a classifier [0-9a-f]{16}, trained now: [\d.]+ %/m,
    );
    assertMatch(
      whole.out,
      /^step 2: Fréchet distance [\d.]+ in features of a classifier, KID .*best so/m,
    );
    const run = `${folder}/results/${RUN}`;
    const evaluations = await evaluationsOf(run);
    assertEquals(evaluations.map(({ step, samples }) => [step, samples]), [[2, 20], [4, 20], [
      6,
      20,
    ]]);
    for (const { frechetDistance, precision, recall, accuracy, nearestRatio } of evaluations) {
      assert(frechetDistance! > 0 && nearestRatio! > 0);
      assert([precision, recall, accuracy].every((share) => share! >= 0 && share! <= 1));
    }
    assertStringIncludes(await Deno.readTextFile(`${run}/report.html`), 'aria-label="Accuracy"');

    // the same weights without evaluation
    const plain = words("--results-dir plain --ckpt-every 2");
    const [without, sampled] = await commandLines([
      ["train", ...args, ...plain],
      ["sample", "--ckpt", `${run}/best.safetensors`, "--out", "best.png", "--n", "1"],
    ], folder);
    assertEquals([without!.code, sampled!.code], [0, 0], without!.err + sampled!.err);
    const last = `${run}/checkpoints/0000006.safetensors`;
    const expected = await Deno.readFile(last);
    const tensors = await loadSafetensors(last);
    const others = await loadSafetensors(`${folder}/plain/${RUN}/checkpoints/0000006.safetensors`);
    assertEquals([...tensors.keys()], [...others.keys()]);
    for (const [name, { data }] of tensors) assertEquals(data, others.get(name)!.data, name);

    // a run that was killed after step 4 ends in the same bits, figures included
    await Deno.remove(last);
    const again = await command("train", ["--resume", run], folder);
    assertEquals(again.code, 0, again.err);
    assertStringIncludes(again.out, "kept from before");
    assertEquals(await Deno.readFile(last), expected);
    const timeless = (all: Record<string, number>[]) => all.map(({ seconds: _, ...rest }) => rest);
    assertEquals(timeless(await evaluationsOf(run)), timeless(evaluations));

    // and so does one that goes back to its best
    const back = await command("train", ["--resume", `${run}/best.safetensors`], folder);
    assertEquals(back.code, 0, back.err);
    if (back.out.includes("from step")) assertEquals(await Deno.readFile(last), expected);
  },
);

commandTest("latents are decoded to be evaluated", async (folder) => {
  const vae = {
    blockOutChannels: [4, 4, 4],
    normNumGroups: 4,
    layersPerBlock: 1,
    latentChannels: 3,
  };
  await writePictures(`${folder}/pictures`, ["discs", "spots"], 8);
  await Deno.mkdir(`${folder}/vae`);
  await Deno.writeTextFile(`${folder}/vae/config.json`, JSON.stringify(vaeConfigOf(vae)));
  await saveSafetensors(`${folder}/vae/diffusion_pytorch_model.safetensors`, await vaeWeights(vae));
  const made = await command(
    "extract-features",
    words("--data pictures --vae vae --image-size 32 --device wasm --num-workers 1 --out latents"),
    folder,
  );
  assertEquals(made.code, 0, made.err);
  const usual = [...TINY, ...words("--steps 2 --eval-every 2 --eval-samples 20 --image-size 32")];
  const patch = ["--patch-size", "2"];
  const rest = usual.filter((_, i) =>
    usual[i] !== "--patch-size" && usual[i - 1] !== "--patch-size"
  );
  const all = await commandLines([
    ["train", ...rest, ...patch, "--data", "latents", "--results-dir", "a"],
    ["train", ...rest, ...patch, "--data", "pictures", "--vae", "vae", "--results-dir", "b"],
  ], folder);
  for (const [i, { code, err }] of all.entries()) {
    assertEquals(code, 0, err);
    const [name] = Array.from(Deno.readDirSync(`${folder}/${"ab"[i]}`), (e) => e.name)
      .filter((n) => n.startsWith("000"));
    assertEquals((await evaluationsOf(`${folder}/${"ab"[i]}/${name}`)).length, 1);
  }
  await Deno.remove(`${folder}/vae/diffusion_pytorch_model.safetensors`);
  const blind = await command("train", [...rest, ...patch, "--data", "latents"], folder);
  assertEquals(blind.code, 1);
  assertStringIncludes(blind.err, "vae");
});

commandTest("train refuses evaluations that cannot be", async (folder) => {
  await writeTinyDigits(`${folder}/digits`, 40);
  await writeTinyDigits(`${folder}/few`, 12);
  await writePictures(`${folder}/one`, ["discs"], 8);
  const usual = [...TINY, ...words("--steps 2 --eval-every 1")];
  const ended = await commandLines([
    ["train", ...usual, "--data", "one", "--image-size", "32"],
    ["train", ...usual, "--data", "few"],
    ["train", ...usual, "--data", "digits", "--eval-samples", "19"],
    ["train", ...usual, "--data", "digits", "--eval-features", "inception"],
  ], folder);
  const messages = [
    "found one; --eval-features inception needs none",
    "few: expected two pictures or more of each class",
    "--eval-samples: expected a whole number of 20 or more but got",
    "--eval-features inception: expected its weights in pretrained",
  ];
  for (const [i, { code, err }] of ended.entries()) {
    assert(code === 1 || code === 2, err);
    assertStringIncludes(err, messages[i]!);
    assert(!err.includes("at file:"), err);
  }
  const found = Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
  assertEquals(found.includes("results"), false, "a folder of a run that never was");
});

mpiTest(
  "ranks share the samples of an evaluation, and one of them compares",
  async (mpi, folder) => {
    await writeTinyDigits(`${folder}/digits`, 40);
    const args = [
      "--data",
      "digits",
      ...TINY,
      ...words("--steps 2 --eval-every 2 --eval-samples 70"),
    ];
    const alone = await command("train", [...args, "--results-dir", "alone"], folder);
    assertEquals(alone.code, 0, alone.err);
    const ranks = await runRanks(mpi, 2, launched("train", ...args), { cwd: folder });
    assertEquals(ranks.code, 0, ranks.err);
    assertEquals(ranks.out.match(/^step 2: Fréchet/gm)?.length, 1, ranks.out);
    const [one] = await evaluationsOf(`${folder}/alone/${RUN}`);
    const [two] = await evaluationsOf(`${folder}/results/${RUN}`);
    const { frechetDistance, features, samples } = two!;
    assertEquals([features, samples], [one!.features, one!.samples]);
    const apart = Math.abs(frechetDistance! / one!.frechetDistance! - 1);
    assert(apart < 1e-2, `${frechetDistance} instead of ${one!.frechetDistance}`);
    assert(Deno.statSync(`${folder}/results/${RUN}/best.safetensors`).isFile);
  },
);

commandTest("Ctrl-C ends an evaluation too, and the run is resumed after it", async (folder) => {
  if (Deno.build.os === "windows") return; // there one process cannot interrupt another
  await writeTinyDigits(`${folder}/digits`, 40);
  const args = ["--data", "digits", ...TINY, ...words("--steps 9 --eval-every 1")];
  const child = new Deno.Command("deno", {
    args: denoArguments("train", [...args, "--eval-samples", "1000000"]),
    cwd: folder,
    env: { NO_COLOR: "1", NODEVICE_SELECT: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    if (text.includes("step 1/9")) child.kill("SIGINT"); // its samples would take an hour
  }
  assertEquals((await child.status).code, 130);
  const run = `${folder}/results/${RUN}`;
  assert(Deno.statSync(`${run}/checkpoints/0000001.safetensors`).isFile);
  assertEquals((await evaluationsOf(run)).length, 0);
  const rest = words("--steps 2 --eval-samples 20");
  const resumed = await command("train", ["--resume", run, ...rest], folder);
  assertEquals(resumed.code, 0, resumed.err);
  assertEquals((await evaluationsOf(run)).map(({ step }) => step), [2]);
});
