/** `deno task train` from end to end: trained, killed, continued, and given nonsense. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { expect } from "@std/expect";
import { loadNpz } from "@dit/core/io";
import { denoArguments } from "../cli/launch.ts";
import { command, commandLines, commandTest, type Ended, pngSize, words } from "./commands.ts";
import { requireWebGpu, webgpuMissing } from "./devices.ts";
import { numbers } from "./numbers.ts";
import { writeTinyDigits } from "./tiny_digits.ts";

/** A model of a few thousand parameters, on the CPU. */
const TINY = words(
  "--data digits --device wasm --hidden-size 16 --depth 1",
  "--num-heads 2 --patch-size 8 --batch-size 4 --sample-every 0",
  "--final-samples 0 --log-every 1",
);

async function digitsIn(folder: string): Promise<void> {
  await writeTinyDigits(`${folder}/digits`, 30);
}

function train(folder: string, ...args: string[]): Promise<Ended> {
  return command("train", args, folder);
}

function lastCheckpoint(run: string): string {
  const names = Array.from(Deno.readDirSync(`${run}/checkpoints`), ({ name }) => name);
  return `${run}/checkpoints/${names.filter((n) => n.endsWith(".safetensors")).sort().at(-1)}`;
}

/** Starts the process that does the work, as `launch.ts` does. */
function spawn(folder: string, args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command("deno", {
    args: denoArguments("train", args),
    cwd: folder,
    env: { NO_COLOR: "1", NODEVICE_SELECT: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
}

/** Reads the output until `count` steps have been reported, or its end. */
async function steps(child: Deno.ChildProcess, count: number): Promise<void> {
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let seen = 0;
  while (seen < count) {
    const { done, value } = await reader.read();
    if (done) return;
    seen += value.match(/^step /gm)?.length ?? 0;
  }
  // what comes after is read and thrown away, so that the process does not wait for us
  (async () => {
    while (!(await reader.read()).done) { /* nothing */ }
  })();
}

function webGpuTest(name: string, run: (folder: string) => Promise<void>): void {
  if (requireWebGpu || !webgpuMissing) commandTest(name, run);
  else Deno.test({ name: `${name} (${webgpuMissing})`, ignore: true, fn() {} });
}

commandTest("train leaves a folder with all that there is to show", async (folder) => {
  await digitsIn(folder);
  const unwritable = `demo/${"x".repeat(300)}`; // no system has names that long
  const { code, out, err } = await train(
    folder,
    ...TINY,
    ...words(
      "--steps 7 --ckpt-every 2 --keep 2 --sample-every 5",
      `--sample-steps 3 --final-samples 2 --export-demo ${unwritable}`,
    ),
  );
  assertEquals(code, 1, err);
  assertStringIncludes(err, `could not write ${unwritable}`);
  assertMatch(out, /^model {4}DiT-Mini\/4, [\d,]+ parameters, predicts xstart\n/);
  assertMatch(out, /device {3}wasm \(.*\), about [\d.]+ [kMG]?B of memory/);
  assertMatch(out, /step 7\/7 {2}loss [\d.]+, [\d.]+ steps\/s, [\d.]+ images\/s/);
  const run = `${folder}/results/000-DiT-Mini-4`;
  const checkpoints = Array.from(Deno.readDirSync(`${run}/checkpoints`), ({ name }) => name).sort();
  assertEquals(checkpoints, ["0000006.safetensors", "0000007.safetensors"]);
  const lines = (await Deno.readTextFile(`${run}/metrics.jsonl`)).trim().split("\n");
  const metrics = lines.map((line) => JSON.parse(line));
  assertEquals(metrics.map(({ step }) => step), [1, 2, 3, 4, 5, 6, 7]);
  assert(metrics.every((m) => m.loss > 0 && m.gradNorm >= 0 && m.imagesPerSecond > 0));
  assertStringIncludes(await Deno.readTextFile(`${run}/log.txt`), "step 7/7");
  const config = JSON.parse(await Deno.readTextFile(`${run}/config.json`));
  assertEquals([config.settings.batchSize, config.model.dit.depth], [4, 1]);
  for (const step of ["0000005", "0000007"]) {
    const size = pngSize(await Deno.readFile(`${run}/samples/${step}.png`));
    assertEquals(size, [10 * 34 + 2, 4 * 34 + 2]);
  }
  const npz = await loadNpz(`${run}/samples.npz`);
  assertEquals(npz.get("arr_0")!.shape, [20, 32, 32, 1]);
  assertEquals(npz.get("arr_1")!.shape, [20]);
  const report = await Deno.readTextFile(`${run}/report.html`);
  assertStringIncludes(report, 'src="samples/0000005.png"');
  assertStringIncludes(report, `could not write ${unwritable}`);
  assertEquals(report.includes('http-equiv="refresh"'), false, "a page that waits for nothing");
  assertEquals(/(?:src|href)="(?!samples\/)/.test(report), false, "the page needs another file");
});

commandTest("weights that train exports are small and can be sampled from", async (folder) => {
  await digitsIn(folder);
  // into a folder that is not there
  const asked = words("--steps 2 --cfg-scale 2.7 --export-demo made/now/demo.safetensors");
  const trained = await train(folder, ...TINY, ...asked);
  assertEquals(trained.code, 0, trained.err);
  const full = Deno.statSync(lastCheckpoint(`${folder}/results/000-DiT-Mini-4`)).size;
  assert(Deno.statSync(`${folder}/made/now/demo.safetensors`).size < full / 4);
  const ended = await command(
    "sample",
    [
      "--ckpt",
      "made/now/demo.safetensors",
      "--out",
      "out.png",
      "--num-sampling-steps",
      "2",
      "--n",
      "1",
    ],
    folder,
  );
  assertEquals(ended.code, 0, ended.err);
  assertStringIncludes(ended.out, "guidance 2.7"); // as the run has drawn them
  // a run that has all of its steps makes what it is asked for
  const more = ["--export-demo", "again.safetensors", "--final-samples", "1"];
  const finished = await train(folder, "--resume", "latest", ...more);
  assertEquals(finished.code, 0, finished.err);
  const npz = await loadNpz(`${folder}/results/000-DiT-Mini-4/samples.npz`);
  assertEquals(npz.get("arr_0")!.shape, [10, 32, 32, 1]);
  assertEquals(
    await Deno.readFile(`${folder}/again.safetensors`),
    await Deno.readFile(`${folder}/made/now/demo.safetensors`),
  );
  const fewer = await train(folder, "--resume", "latest", "--steps", "1", "--final-samples", "1");
  assertEquals(fewer.code, 2, fewer.out);
  assertMatch(fewer.err, /--steps: expected \d+ steps or more, which .* has already, but got 1;/);
  const resumed = await train(folder, "--resume", "made/now/demo.safetensors");
  assertEquals(resumed.code, 1);
  assertStringIncludes(resumed.err, "cannot be trained on");
});

commandTest("a run killed at any moment ends in the bits of one that was not", async (folder) => {
  await digitsIn(folder);
  const total = 50;
  const args = [...TINY, "--steps", `${total}`, "--ckpt-every", "1", "--keep", "2"];
  const next = numbers(20);
  const [run, kills] = [`${folder}/killed/000-DiT-Mini-4`, 6];
  const whole = train(folder, ...args, "--results-dir", "whole");
  let reached = 0;
  for (let kill = 0; kill < kills; kill++) {
    const first = reached === 0 ? [...args, "--results-dir", "killed"] : ["--resume", run];
    const child = spawn(folder, first);
    await steps(child, 1 + Math.floor(next() * 5));
    await new Promise((resolve) => setTimeout(resolve, next() * 20));
    child.kill("SIGKILL");
    assertEquals((await child.status).signal, "SIGKILL");
    const step = Number(/(\d+)\.safetensors$/.exec(lastCheckpoint(run))![1]);
    assert(step >= reached, "a checkpoint was lost");
    reached = step;
  }
  expect(reached).toBeGreaterThan(kills / 2);
  const last = await train(folder, "--resume", run);
  assertEquals([last.code, (await whole).code], [0, 0], last.err);
  // settings and random state are in there too
  const files = [lastCheckpoint(`${folder}/whole/000-DiT-Mini-4`), lastCheckpoint(run)];
  const [expected, got] = await Promise.all(files.map((file) => Deno.readFile(file)));
  assertEquals(got!.length, expected!.length);
  assert(got!.every((byte, i) => byte === expected![i]), "the checkpoints differ");
  const lines = (await Deno.readTextFile(`${run}/metrics.jsonl`)).trim().split("\n");
  assertEquals(
    lines.map((line) => JSON.parse(line).step),
    Array.from({ length: total }, (_, i) => i + 1),
  );
  const left = Array.from(Deno.readDirSync(`${run}/checkpoints`), ({ name }) => name);
  assertEquals(left.length, 2, `left over: ${left}`);
});

commandTest("samples of fewer steps than a run has are made again", async (folder) => {
  await digitsIn(folder);
  const flags = words("--steps 2 --final-samples 1 --sample-steps 2");
  assertEquals((await train(folder, ...TINY, ...flags)).code, 0);
  const samples = `${folder}/results/000-DiT-Mini-4/samples.npz`;
  const whole = await Deno.readFile(samples);
  // as a run leaves it that went on to these steps and was killed before it had sampled
  await Deno.writeTextFile(samples, "of fewer steps");
  await Deno.utime(samples, 1, 1);
  const again = await train(folder, ...TINY, ...flags, "--resume", "auto");
  assertEquals(again.code, 0, again.err);
  assertEquals(await Deno.readFile(samples), whole);
  const done = await train(folder, "--resume", "latest");
  assertStringIncludes(done.out, "has all of its 2 steps");
  await Deno.remove(samples);
  await Deno.mkdir(samples);
  await Deno.utime(samples, 1, 1);
  const { err } = await train(folder, "--resume", "latest");
  assertMatch(err, /^train: samples: expected a file to write but .*samples\.npz is a folder$/m);
});

webGpuTest("on WebGPU a run continues in the bits of one that was not stopped", async (folder) => {
  await digitsIn(folder);
  const args = [...TINY, "--ckpt-every", "3", "--device", "webgpu", "--steps", "6"];
  const whole = await train(folder, ...args);
  assertEquals(whole.code, 0, whole.err);
  assertMatch(whole.out, /device {3}webgpu/);
  const run = `${folder}/results/000-DiT-Mini-4`;
  const expected = await Deno.readFile(lastCheckpoint(run));
  await Deno.remove(lastCheckpoint(run));
  const again = await train(folder, "--resume", run, "--device", "webgpu");
  assertEquals(again.code, 0, again.err);
  const got = await Deno.readFile(lastCheckpoint(run));
  assert(got.every((byte, i) => byte === expected[i]), "the checkpoints differ");
});

commandTest(
  "Ctrl-C saves and exits with 130, and the run is resumed from there",
  async (folder) => {
    if (Deno.build.os === "windows") return; // there one process cannot interrupt another
    await digitsIn(folder);
    const run = `${folder}/results/000-DiT-Mini-4`;
    const child = spawn(folder, [...TINY, "--steps", "5000", "--ckpt-every", "100000"]);
    await steps(child, 3);
    child.kill("SIGINT");
    assertEquals((await child.status).code, 130);
    const step = Number(/(\d+)\.safetensors$/.exec(lastCheckpoint(run))![1]);
    expect(step).toBeGreaterThan(2);
    assertStringIncludes(await Deno.readTextFile(`${run}/report.html`), `stopped at step ${step}`);
    await Deno.rename(`${folder}/digits`, `${folder}/moved`);
    const more = ["--steps", `${step + 2}`, "--data", "moved"];
    const { code, out, err } = await train(folder, "--resume", "latest", ...more);
    assertEquals(code, 0, err);
    assertStringIncludes(out, `from step ${step} to ${step + 2}`);
  },
);

commandTest("train says what is wrong with a command line", async (folder) => {
  await digitsIn(folder);
  const cases: [string[], number, RegExp][] = [
    [["--stepps", "3"], 2, /unknown flag --stepps; did you mean --steps\?/],
    [["--modl=DiT-B\/4"], 2, /unknown flag --modl; did you mean --model\?/],
    [["--model", "DiT-B4"], 2, /did you mean DiT-B\/4\?/],
    [["--schedule", "cosin"], 2, /constant, cosine but got "cosin"; did you mean cosine\?/],
    [["--steps", "many"], 2, /--steps: expected a whole number of 1 or more but got "many"/],
    [["--steps", "3", "--epochs", "2"], 2, /--steps or --epochs but got both/],
    [["--global-seed", "1", "--seed", "2"], 2, /--seed is another name of --global-seed/],
    [["--batch-size", "6", "--grad-accum", "4"], 2, /--grad-accum: expected .* 6 but got 4/],
    [["--data", "digits", "--patch-size", "5"], 2, /--patch-size: expected a divisor of 32/],
    [["--data", "digits", "--num-heads", "3"], 2, /--hidden-size: expected a multiple/],
    [["--data", "digits", "--num-classes", "4"], 2, /--num-classes: expected 10 or more/],
    [["--data", "digits", "--batch-size", "31"], 2, /expected 30 at most/],
    [["--data", "digits", "--export-demo", "digits"], 2, /--export-demo: .*digits is a folder/],
    [["--data", "nowhere"], 1, /--data nowhere: expected mnist, emoji or a folder/],
    [["--resume", "nowhere"], 1, /nowhere: expected a run's folder or a checkpoint/],
    [["--resume", "latest"], 1, /results: expected a run with a checkpoint/],
    [["--resume", "latest", "--lr", "1"], 1, /expected a run/],
    [["3"], 2, /expected flags only but got "3"/],
  ];
  const ends = await commandLines(cases.map(([args]) => ["train", ...args]), folder);
  for (const [i, ended] of ends.entries()) {
    const [args, code, message] = cases[i]!;
    assertMatch(ended.err, message);
    assertEquals(ended.code, code, `${args}: ${ended.err}`);
    assertEquals(ended.err.includes("at file:"), false, "a stack is no answer");
  }
});

commandTest("every flag of train has a line in its help", async (folder) => {
  const { code, out } = await train(folder, "--help");
  assertEquals(code, 0);
  const { TRAIN_FLAGS } = await import("../cli/commands/train/flags.ts");
  for (const name of Object.keys(TRAIN_FLAGS)) assertMatch(out, new RegExp(`^  --${name}\\b`, "m"));
});

commandTest("train refuses a results folder that it cannot write to", async (folder) => {
  await digitsIn(folder);
  await Deno.writeTextFile(`${folder}/file`, "");
  const { code, err } = await train(folder, ...TINY, "--steps", "1", "--results-dir", "file/runs");
  assertEquals(code, 1);
  assertMatch(err, /could not make a folder in file\/runs: .* Choose another with --results-dir/);
  if (Deno.build.os === "windows" || Deno.uid() === 0) return; // root writes everywhere
  await Deno.mkdir(`${folder}/locked`, { mode: 0o555 });
  const locked = await train(folder, ...TINY, "--steps", "1", "--results-dir", "locked/runs");
  assertEquals(locked.code, 1);
  assertStringIncludes(locked.err, "Choose another with --results-dir");
});

commandTest("train says which checkpoint is damaged, and resumes from another", async (folder) => {
  await digitsIn(folder);
  assertEquals((await train(folder, ...TINY, "--steps", "4", "--ckpt-every", "2")).code, 0);
  const run = "results/000-DiT-Mini-4";
  const path = lastCheckpoint(`${folder}/${run}`);
  const bytes = await Deno.readFile(path);
  for (
    const damaged of [bytes.subarray(0, bytes.length / 2), new Uint8Array(100), bytes.slice(1)]
  ) {
    await Deno.writeFile(path, damaged);
    const { code, err } = await train(folder, "--resume", run, "--steps", "6");
    assertEquals(code, 1);
    assertMatch(err, /0000004\.safetensors.*damaged: use another one/s);
  }
  const auto = await train(folder, ...TINY, "--steps", "4", "--resume", "auto");
  assertEquals(auto.code, 0, auto.err);
  assertMatch(auto.err, /0000004\.safetensors.*damaged.*looks for an earlier one/s);
  assertStringIncludes(auto.out, "from step 2 to 4");
  const older = `${run}/checkpoints/0000002.safetensors`;
  const { code, out, err } = await train(folder, "--resume", older, "--steps", "6");
  assertEquals(code, 0, err);
  assertStringIncludes(out, "from step 2 to 6");
  const { err: refused, code: usage } = await train(folder, "--resume", older, "--lr", "1");
  assertEquals(usage, 2);
  assertStringIncludes(
    refused,
    "--lr: the run has 0.001 but got 1; --resume continues a run as it was",
  );
});

commandTest("a run that goes wrong stops with the step and the tensor named", async (folder) => {
  await digitsIn(folder);
  const { code, err } = await train(
    folder,
    ...TINY,
    ...words("--steps 40 --lr 1e30 --grad-clip 0 --warmup 0 --log-every 5"),
  );
  assertEquals(code, 1);
  assertMatch(err, /step \d+: the (loss|weight [\w.]+|gradient of [\w.]+) is not a finite number/);
  const run = `${folder}/results/000-DiT-Mini-4`;
  assertMatch(await Deno.readTextFile(`${run}/report.html`), /is not a finite number/);
});
