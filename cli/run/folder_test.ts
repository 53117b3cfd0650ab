import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { diskTest } from "../../tests/fixtures.ts";
import { hostTensor } from "@dit/core/io";
import { CommandError } from "../shared/errors.ts";
import { stepOf, writeCheckpoint } from "./checkpoint.ts";
import { findCheckpoint, listCheckpoints } from "./find.ts";
import { RunFolder } from "./folder.ts";
import type { Metrics } from "./metrics.ts";

const NAMES = { description: "config.json", pictures: "samples" } as const;
const PNG = Uint8Array.of(1);
const BEST_HEADER = { trainee: "dit", step: 6, config: {}, training: null };
const BEST_WEIGHTS = new Map([["x", hostTensor(Float32Array.of(1))]]);

const line = (step: number): Metrics => ({
  step,
  loss: step,
  gradNorm: 1,
  lr: 1,
  stepsPerSecond: 1,
  imagesPerSecond: 1,
  waiting: 0,
  peakBytes: 1,
  seconds: step,
});

const open = (path: string, step: number): Promise<RunFolder> =>
  RunFolder.open(path, step, NAMES, () => {});

/** Steps of a run: a line, a picture and a checkpoint each. */
async function take(run: RunFolder, keep: number, text: string, ...steps: number[]): Promise<void> {
  for (const step of steps) {
    await run.measure(line(step));
    await run.keepPictures(step, PNG);
    await run.save(step, keep, (path) => Deno.writeTextFile(path, text));
  }
}

const stepsOf = async (run: string): Promise<number[]> =>
  (await listCheckpoints(run)).map(({ step }) => step);

async function measured(run: string): Promise<number[]> {
  const lines = (await Deno.readTextFile(`${run}/metrics.jsonl`)).trim().split("\n");
  return lines.map((line) => JSON.parse(line).step);
}

const pictures = (run: string): string[] =>
  Array.from(Deno.readDirSync(`${run}/samples`), ({ name }) => name).sort();

diskTest("runs are numbered, past 999 and beside each other", async (folder) => {
  await Deno.mkdir(`${folder}/999-a`);
  const runs = await Promise.all(
    ["b/2", "b/2", "c"].map((model) => RunFolder.create(folder, model, NAMES)),
  );
  const numbers = runs.map(({ path }) => parseInt(path.split(/[\\/]/).at(-1)!));
  assertEquals(new Set(runs.map(({ path }) => path)).size, 3);
  assertEquals(numbers.every((number) => number >= 1000), true);
  await Deno.writeTextFile(`${folder}/file`, "");
  await assertRejects(() => RunFolder.create(`${folder}/file`, "a", NAMES), CommandError, "Choose");
});

diskTest("a run keeps its newest checkpoints, and all of them with 0", async (folder) => {
  const run = await RunFolder.create(folder, "a", NAMES);
  await take(run, 0, "", 1, 2, 3);
  assertEquals(await stepsOf(run.path), [1, 2, 3]);
  await take(run, 2, "", 4);
  assertEquals(await stepsOf(run.path), [3, 4]);
  await take(run, 1, "", 5);
  assertEquals(await stepsOf(run.path), [5]);
});

diskTest("a checkpoint that cannot be written leaves those before it", async (folder) => {
  const run = await RunFolder.create(folder, "a", NAMES);
  await take(run, 1, "", 1);
  await assertRejects(() => run.save(2, 1, () => Promise.reject(new Error("disk full"))));
  assertEquals(await stepsOf(run.path), [1]);
});

diskTest("a run that went back continues from what it wrote last", async (folder) => {
  const { path } = await RunFolder.create(folder, "a", NAMES);
  await Deno.writeTextFile(`${path}/config.json`, "{}");
  await take(await open(path, 0), 0, "left", 3, 6, 9, 12);
  const run = await open(path, 6);
  assertEquals(await stepsOf(path), [3, 6, 9, 12], "nothing goes before there is something new");
  assertEquals(run.drawn, [3, 6]);
  await run.measure(line(7));
  await run.save(7, 2, (file) => Deno.writeTextFile(file, "new"));
  assertEquals(await stepsOf(path), [6, 7]);
  assertEquals(await measured(path), [3, 6, 7]);
  assertEquals(pictures(path), ["0000003.png", "0000006.png"]);
  const aside = `${path}/retired-000`;
  assertEquals(await stepsOf(aside), [9, 12]);
  assertEquals(await measured(aside), [3, 6, 9, 12]);
  assertEquals(pictures(aside), ["0000009.png", "0000012.png"]);
  assertEquals(await Deno.readTextFile(`${aside}/checkpoints/0000012.safetensors`), "left");
  assertStringIncludes(await Deno.readTextFile(`${path}/log.txt`), "retired-000");
  await take(await open(path, 6), 2, "newer", 8);
  assertEquals([await stepsOf(path), await stepsOf(`${path}/retired-001`)], [[6, 8], [7]]);
});

diskTest("a run that went back to its best can be continued at any moment", async (folder) => {
  const run = await RunFolder.create(folder, "a", NAMES);
  await run.describe({});
  await run.saveBest((path) => writeCheckpoint(path, BEST_HEADER, { model: BEST_WEIGHTS }));
  await take(run, 1, "left", 12);
  const again = await open(run.path, 6);
  await again.measure(line(7)); // and is killed
  assertEquals(await stepsOf(run.path), [6]);
  assertEquals(await stepOf(await findCheckpoint(run.path)), 6);
  assertEquals(await stepsOf(`${run.path}/retired-000`), [12]);
  await take(again, 1, "new", 8);
  assertEquals([await stepsOf(run.path), await again.bestStep()], [[8], 6]);
});

diskTest(
  "a run that was killed takes its last steps again and puts nothing aside",
  async (folder) => {
    const { path } = await RunFolder.create(folder, "a", NAMES);
    const first = await open(path, 0);
    await take(first, 0, "", 3);
    await first.measure(line(4));
    await first.keepPictures(4, PNG);
    await take(await open(path, 3), 0, "", 4);
    assertEquals(await measured(path), [3, 4]);
    const left = Array.from(Deno.readDirSync(path), ({ name }) => name).sort();
    assertEquals(
      left,
      ["checkpoints", "log.txt", "metrics.jsonl", "samples"].filter((name) => name !== "log.txt"),
    );
  },
);

diskTest("what a run can do without does not end it, and is reported once", async (folder) => {
  const run = await RunFolder.create(folder, "a", NAMES);
  for (const name of ["log.txt", "report.html", "metrics.jsonl"]) {
    await Deno.mkdir(`${run.path}/${name}`);
  }
  await Deno.remove(`${run.path}/samples`);
  const said: string[] = [];
  const { error } = console;
  console.error = (text: string) => said.push(text);
  try {
    for (const step of [1, 2]) {
      await run.log("hello");
      await run.report("<html>");
      await take(run, 0, "", step);
    }
  } finally {
    console.error = error;
  }
  assertEquals(said.length, 4, said.join("\n"));
  for (const [i, name] of ["log.txt", "report.html", "metrics.jsonl", "samples"].entries()) {
    assertStringIncludes(said[i]!, name);
    assertStringIncludes(said[i]!, "the run continues without it");
  }
  assertEquals([await stepsOf(run.path), run.lastMetrics?.step, run.drawn], [[1, 2], 2, []]);
});

diskTest(
  "a run does without records that others have put a folder or a file over",
  async (folder) => {
    const run = await RunFolder.create(folder, "a", NAMES);
    await run.describe({});
    await take(run, 0, "", 1, 2);
    await Deno.remove(`${run.path}/metrics.jsonl`);
    await Deno.mkdir(`${run.path}/metrics.jsonl`);
    await Deno.remove(`${run.path}/samples`, { recursive: true });
    await Deno.writeTextFile(`${run.path}/samples`, "");
    await take(await open(run.path, 1), 0, "new", 2);
    assertEquals(await stepsOf(run.path), [1, 2]);
    assertEquals(await stepsOf(`${run.path}/retired-000`), [2]);
  },
);
