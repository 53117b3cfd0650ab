/** Runs that several ranks share, in one process. */
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { type Device, init } from "@dit/core/tensor";
import { diskTest } from "../../tests/fixtures.ts";
import { fit, POINTS, resumeFit } from "../../tests/line/command.ts";
import { LINE, LineTrainee, SETTINGS } from "../../tests/line/trainee.ts";
import { onRanks } from "../distributed/world_test_util.ts";
import { ALONE } from "../distributed/world.ts";
import { checkpointPath, listCheckpoints } from "./find.ts";
import { RunFolder } from "./folder.ts";
import { TrainingLoop } from "./loop.ts";
import { newFolder } from "./run.ts";
import { agreeOnData, refuseUneven } from "./shares.ts";

/** Registers a test of runs; gets what they said. */
function runTest(
  name: string,
  run: (folder: string, device: Device, said: string[]) => Promise<void>,
): void {
  diskTest(name, async (folder) => {
    const device = await init({ device: "wasm" });
    const { log, error } = console;
    const said: string[] = [];
    console.log = console.error = (text: string) => said.push(text);
    try {
      await run(folder, device, said);
    } finally {
      Object.assign(console, { log, error });
    }
  });
}

const SETTINGS_OF_8 = { batchSize: 8, gradAccum: 2, logEvery: 1 } as const;

async function lossesOf(run: string): Promise<number[]> {
  const lines = (await Deno.readTextFile(`${run}/metrics.jsonl`)).trim().split("\n");
  return lines.map((line) => JSON.parse(line).loss);
}

async function assertSameLosses(run: string, of: string): Promise<void> {
  const [got, want] = [await lossesOf(run), await lossesOf(of)];
  assertEquals(got.length, want.length);
  got.forEach((loss, i) => assertAlmostEquals(loss, want[i]!, 1e-4 * want[i]!, `step ${i + 1}`));
}

runTest("a run goes on with other numbers of ranks, as one alone", async (folder, device, said) => {
  const settings = SETTINGS_OF_8;
  await fit(`${folder}/alone`, { device, steps: 12, settings });
  const alone = said.splice(0);
  const results = `${folder}/shared`;
  const run = `${results}/000-Line`;
  await onRanks(2, (world) => fit(results, { device, steps: 4, settings, world }));
  await resumeFit(results, checkpointPath(run, 4), { device, steps: 8 });
  await onRanks(
    4,
    (world) => resumeFit(results, checkpointPath(run, 8), { device, steps: 12, world }),
  );
  await assertSameLosses(run, `${folder}/alone/000-Line`);
  assertEquals((await listCheckpoints(run)).map(({ step }) => step), [8, 12]);
  assertEquals(Array.from(Deno.readDirSync(results)).length, 1);
  const steps = (lines: string[]) => lines.filter((line) => line.startsWith("step ")).length;
  assertEquals(steps(said), steps(alone), "one rank speaks");
});

runTest(
  "ranks that do not hold the same are told apart before they save",
  async (folder, device) => {
    const failed = onRanks(3, (world) => {
      const prepare = (trainee: LineTrainee) => {
        const { afterStep } = trainee;
        trainee.afterStep = async () => {
          await afterStep.call(trainee);
          if (world.rank !== 1 || trainee.step !== 5) return;
          // the last bit of one number
          const bias = await trainee.model.bias!.data();
          const bits = new Uint32Array(Float32Array.from(bias).buffer).map((word) => word ^ 1);
          const data = new Float32Array(bits.buffer);
          trainee.model.loadStateDict({ bias: { shape: [1], data } }, { strict: false });
        };
      };
      const settings = { batchSize: 6, gradAccum: 1 };
      return fit(folder, { device, steps: 12, settings, world, prepare });
    });
    await assertRejects(
      () => failed,
      Error,
      "what was trained, at step 8,: expected the same on all 3 ranks but rank 1 has",
    );
    assertEquals((await listCheckpoints(`${folder}/000-Line`)).map(({ step }) => step), [4]);
  },
);

runTest("all ranks stop after one step where any is asked to", async (folder, device) => {
  const ended = await onRanks(2, async (world) => {
    using trainee = new LineTrainee({ ...SETTINGS, ...SETTINGS_OF_8 }, world);
    const isFirst = world.rank === 0;
    const made = isFirst ? await RunFolder.create(folder, trainee.name, LINE.names) : null;
    await made?.describe({ trainee: LINE.trainee, settings: {}, model: {} });
    const opened = newFolder(LINE, made);
    const run = { ...opened, trainee, dataset: POINTS, device, steps: 12, summary: [] };
    const stopping = () => !isFirst && trainee.step >= 4;
    assertEquals(await new TrainingLoop({ ...run, stopping }).train(), false);
    return trainee.step;
  });
  assertEquals(ended, [5, 5]);
  assertEquals((await listCheckpoints(`${folder}/000-Line`)).map(({ step }) => step), [4, 5]);
});

runTest("numbers that go wrong on one rank stop all, with its culprit", async (folder, device) => {
  const ended = await Promise.allSettled(
    await onRanks(2, (world) => {
      let reads = 0;
      const read = async (indices: readonly number[]) => {
        const batch = await POINTS.read(indices);
        if (world.rank === 1 && ++reads > 5) batch.images.fill(NaN);
        return batch;
      };
      const settings = { ...SETTINGS_OF_8, logEvery: 2 };
      const options = { device, steps: 12, settings, dataset: { ...POINTS, read }, world };
      return Promise.resolve([fit(folder, options)]);
    }).then((all) => all.flat()),
  );
  for (const end of ended) {
    assert(end.status === "rejected");
    assert(`${end.reason}`.includes("step 6: the batch is not a finite number"), `${end.reason}`);
  }
  assertEquals((await listCheckpoints(`${folder}/000-Line`)).map(({ step }) => step), [4]);
});

Deno.test("a batch that ranks cannot share is refused, with numbers that they can", () => {
  const refuse = (size: number, batchSize: number, gradAccum: number) => {
    try {
      refuseUneven({ ...ALONE, size }, "global-batch-size", { batchSize, gradAccum });
    } catch (error) {
      return (error as Error).message;
    }
  };
  assertEquals(refuse(4, 16, 2), undefined);
  assertEquals(
    refuse(3, 16, 2),
    "--global-batch-size: expected a multiple of 6, the 3 ranks times --grad-accum 2, but got 16; " +
      "take 12 or 18, or another number of ranks",
  );
  assertEquals(
    refuse(8, 4, 1),
    "--global-batch-size: expected a multiple of 8, the 8 ranks, but got 4; take 8, or another " +
      "number of ranks",
  );
});

Deno.test("data that differ between ranks are refused, down to a pixel", async () => {
  const other = async (indices: readonly number[]) => {
    const batch = await POINTS.read(indices);
    batch.images[1]! += 0.01;
    return batch;
  };
  await onRanks(2, (world) => agreeOnData(world, "points", POINTS));
  for (const changed of [{ size: 17 }, { classNames: ["dots"] }, { read: other }]) {
    const failed = onRanks(3, (world) => {
      const data = world.rank === 2 ? { ...POINTS, ...changed } : POINTS;
      return agreeOnData(world, "points", data);
    });
    await assertRejects(
      () => failed,
      Error,
      "the data in points: expected the same on all 3 ranks",
    );
  }
});
