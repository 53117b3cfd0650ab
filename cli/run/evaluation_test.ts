import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { type Device, init } from "@dit/core/tensor";
import { diskTest } from "../../tests/fixtures.ts";
import { fit, resumeFit } from "../../tests/line/command.ts";
import type { LineTrainee } from "../../tests/line/trainee.ts";
import { stepOf } from "./checkpoint.ts";
import { type Evaluation, evaluationText, isComparable } from "./evaluation.ts";
import { checkpointPath, findCheckpoint, listCheckpoints } from "./find.ts";

/** An evaluation of a step that came to a distance. */
const evaluation = (step: number, frechetDistance: number): Evaluation => ({
  kind: "evaluation",
  step,
  features: "classifier 0123456789abcdef",
  samples: 40,
  sampling: "ddim, 5 steps, no guidance",
  frechetDistance,
  kid: frechetDistance / 100,
  precision: 0.5,
  recall: 0.25,
  accuracy: 0.125,
  seconds: 1,
});

/** Lets a line be evaluated: distances by step. */
function evaluating(distances: Readonly<Record<number, number>>) {
  return (trainee: LineTrainee): void => {
    trainee.evaluate = () =>
      Promise.resolve(evaluation(trainee.step, distances[trainee.step] ?? NaN));
  };
}

/** Registers a test of runs, whose output is not shown; gets what was said. */
function runTest(
  name: string,
  run: (folder: string, device: Device, said: string[]) => Promise<void>,
): void {
  diskTest(name, async (folder) => {
    const device = await init({ device: "wasm" });
    const { log } = console;
    const said: string[] = [];
    console.log = (text: string) => said.push(text);
    try {
      await run(folder, device, said);
    } finally {
      console.log = log;
    }
  });
}

async function lines(run: string): Promise<(Evaluation | { kind?: undefined; step: number })[]> {
  return (await Deno.readTextFile(`${run}/metrics.jsonl`)).trim().split("\n").map((line) =>
    JSON.parse(line)
  );
}

const settings = { evalEvery: 3, ckptEvery: 4, keep: 1 };

runTest("the best checkpoint is kept, said and shown", async (folder, device, said) => {
  const prepare = evaluating({ 3: 5, 6: 2, 9: 3, 12: 2 });
  assertEquals(await fit(folder, { device, steps: 12, settings, prepare }), 0);
  const run = `${folder}/000-Line`;
  assertEquals((await listCheckpoints(run)).map(({ step }) => step), [12]);
  assertEquals(await stepOf(`${run}/best.safetensors`), 6);
  const all = await lines(run);
  assertEquals(all.filter(({ kind }) => kind).map(({ step }) => step), [3, 6, 9, 12]);
  assertEquals(all.filter(({ kind }) => !kind).map(({ step }) => step), [2, 4, 6, 8, 10, 12]);
  const notes = said.filter((line) => line.includes("Fréchet"));
  assertEquals(notes.map((line) => line.includes("kept as best.safetensors")), [
    true,
    true,
    false,
    false,
  ]);
  assertStringIncludes(
    notes[1]!,
    "step 6: Fréchet distance 2.000 in features of a classifier, KID 0.0200, accuracy 12.5 %, " +
      "precision 0.500, recall 0.250, 40 samples; the best so far",
  );
  const page = await Deno.readTextFile(`${run}/report.html`);
  for (
    const text of [
      "<h2>Evaluation</h2>",
      "40 samples (ddim, 5 steps, no guidance) by features of classifier 0123456789abcdef",
      "Step 6 has the least Fréchet distance",
      'aria-label="Fréchet distance"',
      'aria-label="Accuracy"',
    ]
  ) {
    assertStringIncludes(page, text);
  }
  assertEquals(page.includes("Nearest training picture"), false, "a curve without points");
});

runTest(
  "a run resumed from its best ends in the bits of one that was not",
  async (folder, device) => {
    const distances = { 3: 5, 6: 2, 9: 1, 12: 3 };
    const options = { device, steps: 12, settings, prepare: evaluating(distances) };
    await fit(`${folder}/whole`, options);
    await fit(`${folder}/parts`, { ...options, prepare: evaluating({ ...distances, 9: 7 }) });
    const [whole, run] = [`${folder}/whole/000-Line`, `${folder}/parts/000-Line`];
    assertEquals(await resumeFit(folder, `${run}/best.safetensors`, options), 0);
    const ends = [whole, run].map(async (path) => Deno.readFile(await findCheckpoint(path)));
    const [expected, got] = await Promise.all(ends);
    assertEquals(got, expected);
    const measured = async (path: string) =>
      (await lines(path)).map(({ kind, step }) => [kind, step]);
    assertEquals(await measured(run), await measured(whole));
    // what came after the best is put aside, and the best is known by its figures
    assertEquals((await listCheckpoints(`${run}/retired-000`)).map(({ step }) => step), [12]);
    assertEquals(await stepOf(`${run}/best.safetensors`), 9);
  },
);

runTest("a run that goes back behind its best puts that aside", async (folder, device) => {
  const options = { device, steps: 12, settings: { ...settings, keep: 0 } };
  await fit(folder, { ...options, prepare: evaluating({ 3: 5, 6: 4, 9: 1, 12: 2 }) });
  const run = `${folder}/000-Line`;
  const prepare = evaluating({ 9: 8, 12: 9 });
  assertEquals(await resumeFit(folder, checkpointPath(run, 8), { ...options, prepare }), 0);
  assertEquals(await stepOf(`${run}/best.safetensors`), 9);
  assertEquals(await stepOf(`${run}/retired-000/best.safetensors`), 9);
  assertEquals(await stepOf(`${run}/nothing.safetensors`), null);
});

runTest("evaluations that were measured otherwise are not compared", async (folder, device) => {
  const prepare = (trainee: LineTrainee) => {
    trainee.evaluate = () => {
      const { step } = trainee;
      return Promise.resolve({ ...evaluation(step, step), samples: step < 6 ? 40 : 80 });
    };
  };
  await fit(folder, { device, steps: 9, settings, prepare });
  assertEquals(await stepOf(`${folder}/000-Line/best.safetensors`), 6);
  assert(isComparable(evaluation(1, 2), evaluation(3, 4)));
  assert(!isComparable(evaluation(1, 2), { ...evaluation(3, 4), features: "inception" }));
});

runTest("an evaluation that fails saves the run first", async (folder, device) => {
  const prepare = (trainee: LineTrainee) => {
    trainee.evaluate = () => Promise.reject(new Error("out of memory"));
  };
  const failed = fit(folder, { device, steps: 12, settings, prepare });
  await assertRejects(() => failed, Error, "out of memory");
  assertEquals((await listCheckpoints(`${folder}/000-Line`)).map(({ step }) => step), [3]);
});

Deno.test("an evaluation without a classifier says no accuracy", () => {
  const { accuracy: _, ...rest } = evaluation(3, 12.3456);
  assertEquals(
    evaluationText({ ...rest, features: "inception (6726825d)" }),
    "Fréchet distance 12.35 in features of inception, KID 0.123, precision 0.500, recall 0.250, " +
      "40 samples",
  );
});
