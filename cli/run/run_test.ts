import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { type Device, init } from "@dit/core/tensor";
import type { Dataset } from "@dit/data";
import { diskTest } from "../../tests/fixtures.ts";
import { fit, POINTS, resumeFit } from "../../tests/line/command.ts";
import { LINE, type LineTrainee } from "../../tests/line/trainee.ts";
import { CommandError } from "../shared/errors.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { checkpointPath, findCheckpoint, listCheckpoints } from "./find.ts";

/** Registers a test of runs, whose output is not shown; gets what was said. */
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

const stepsOf = async (run: string): Promise<number[]> =>
  (await listCheckpoints(run)).map(({ step }) => step);

async function measured(run: string): Promise<number[]> {
  const lines = (await Deno.readTextFile(`${run}/metrics.jsonl`)).trim().split("\n");
  return lines.map((line) => JSON.parse(line).step);
}

/** Whether two runs end in the same bits. */
async function assertSameEnd(a: string, b: string): Promise<void> {
  const [x, y] = await Promise.all(
    [a, b].map(async (run) => Deno.readFile(await findCheckpoint(run))),
  );
  assertEquals(x, y);
}

/** Data that are gone from the batch on that has the number `from`. */
function vanishing(from: number): Dataset {
  let batch = 0;
  return {
    ...POINTS,
    read: (indices) =>
      ++batch < from ? POINTS.read(indices) : Promise.reject(new Error("the points are gone")),
  };
}

runTest(
  "a trainee of a file of its own has a folder, curves, pictures and results",
  async (folder, device) => {
    assertEquals(await fit(folder, { device, steps: 12 }), 0);
    const run = `${folder}/000-Line`;
    assertEquals(await stepsOf(run), [8, 12]);
    assertEquals(await measured(run), [2, 4, 6, 8, 10, 12]);
    assert(Number(await Deno.readTextFile(`${run}/slope.txt`)) > 0.2);
    const page = await Deno.readTextFile(`${run}/report.html`);
    for (
      const text of ["a line", "Loss", "Gradient norm", "finished: 12 steps", "plots/0000008.png"]
    ) {
      assertStringIncludes(page, text);
    }
    assertStringIncludes(await Deno.readTextFile(`${run}/log.txt`), "step 12/12  loss");
    assertEquals(JSON.parse(await Deno.readTextFile(`${run}/config.json`)).trainee, "line");
  },
);

runTest(
  "a run whose data vanish saves its last whole step, and ends in the same bits",
  async (folder, device, said) => {
    await fit(`${folder}/whole`, { device, steps: 12 });
    const failed = fit(`${folder}/parts`, { device, steps: 12, dataset: vanishing(8) });
    await assertRejects(() => failed, Error, "the points are gone");
    const run = `${folder}/parts/000-Line`;
    assertEquals(await stepsOf(run), [4, 7]);
    assert(said.includes("saved step 7 before ending"));
    assertStringIncludes(await Deno.readTextFile(`${run}/report.html`), "the points are gone");
    assertEquals(await resumeFit(folder, await findCheckpoint(run), { device, steps: 12 }), 0);
    await assertSameEnd(`${folder}/whole/000-Line`, run);
    assertEquals(await measured(run), [2, 4, 6, 8, 10, 12]);
  },
);

for (
  const [name, prepare] of Object.entries<(trainee: LineTrainee) => void>({
    "in the loss": (trainee) => {
      const { model } = trainee;
      const { forward } = model;
      model.forward = (x) => {
        if (trainee.step === 6 && trainee.model.weight.grad) throw new Error("out of memory");
        return forward.call(model, x);
      };
    },
    "while it draws": (trainee) => {
      trainee.draw = async () => await Promise.reject(new Error("out of memory"));
    },
    "after a step": (trainee) => {
      trainee.afterStep = async () => {
        if (trainee.step === 7) await Promise.reject(new Error("out of memory"));
      };
    },
  })
) {
  runTest(
    `a run that fails ${name} saves first, and ends in the same bits`,
    async (folder, device) => {
      const settings = { gradAccum: 2, ckptEvery: 100 };
      await fit(`${folder}/whole`, { device, steps: 12, settings });
      const failed = fit(`${folder}/parts`, { device, steps: 12, settings, prepare });
      await assertRejects(() => failed, Error, "out of memory");
      const run = `${folder}/parts/000-Line`;
      const [step] = await stepsOf(run);
      assert([4, 6, 7].includes(step!), `saved step ${step}`);
      assertEquals(await resumeFit(folder, await findCheckpoint(run), { device, steps: 12 }), 0);
      await assertSameEnd(`${folder}/whole/000-Line`, run);
    },
  );
}

runTest("a step that moved some weights only is not saved", async (folder, device) => {
  const prepare = (trainee: LineTrainee) => {
    const { ema } = trainee;
    const { updateBut } = ema;
    ema.updateBut = (moved) => { // once the optimiser has moved the weights
      if (trainee.step === 6) throw new Error("device lost");
      updateBut.call(ema, moved);
    };
  };
  const failed = fit(folder, { device, steps: 12, prepare });
  await assertRejects(() => failed, Error, "device lost");
  assertEquals(await stepsOf(`${folder}/000-Line`), [4]);
});

runTest("a run whose numbers are wrong is not saved", async (folder, device) => {
  const failed = fit(folder, { device, steps: 12, settings: { lr: 1e30 } });
  await assertRejects(() => failed, Error, "is not a finite number");
  const page = await Deno.readTextFile(`${folder}/000-Line/report.html`);
  assertStringIncludes(page, "is not a finite number");
  assertEquals((await stepsOf(`${folder}/000-Line`)).length, 0);
});

runTest(
  "a disk that is full ends a run with its older checkpoint",
  async (folder, device, said) => {
    const prepare = (trainee: LineTrainee) => {
      const { state } = trainee;
      trainee.state = async () => {
        if (trainee.step >= 8) throw new Error("No space left on device");
        return await state.call(trainee);
      };
    };
    const failed = fit(folder, { device, steps: 12, settings: { keep: 1 }, prepare });
    await assertRejects(() => failed, Error, "No space left");
    assertEquals(await stepsOf(`${folder}/000-Line`), [4]);
    assert(said.includes("could not save step 8: No space left on device"));
  },
);

runTest(
  "a checkpoint that lies elsewhere is continued in a new folder, files of others stay",
  async (folder, device) => {
    await fit(`${folder}/results`, { device, steps: 4 });
    await Deno.mkdir(`${folder}/models/checkpoints`, { recursive: true });
    const path = `${folder}/models/checkpoints/0000004.safetensors`;
    await Deno.copyFile(await findCheckpoint(`${folder}/results/000-Line`), path);
    await Deno.writeTextFile(`${folder}/models/config.json`, '{"mine": 1}');
    await Deno.writeTextFile(`${folder}/models/metrics.jsonl`, '{"step": 9}\n');
    assertEquals(await resumeFit(`${folder}/results`, path, { device, steps: 8 }), 0);
    assertEquals(await Deno.readTextFile(`${folder}/models/config.json`), '{"mine": 1}');
    assertEquals(await Deno.readTextFile(`${folder}/models/metrics.jsonl`), '{"step": 9}\n');
    assertEquals(await stepsOf(`${folder}/models`), [4]);
    assertEquals(await stepsOf(`${folder}/results/001-Line`), [8]);
  },
);

runTest(
  "a run that goes back continues from there, and the other branch is kept",
  async (folder, device) => {
    await fit(folder, { device, steps: 12, settings: { ckptEvery: 3, keep: 0 } });
    const run = `${folder}/000-Line`;
    const options = { device, steps: 7, settings: { keep: 2 } };
    assertEquals(await resumeFit(folder, checkpointPath(run, 6), options), 0);
    assertEquals([await stepsOf(run), await stepsOf(`${run}/retired-000`)], [[6, 7], [9, 12]]);
    assertEquals(await measured(run), [2, 4, 6, 7]);
    // the branch that was left is a run of its own
    const left = await findCheckpoint(`${run}/retired-000`);
    assertEquals(await resumeFit(folder, left, { device, steps: 13 }), 0);
    assertEquals(await stepsOf(`${run}/retired-000`), [9, 12, 13]);
  },
);

runTest(
  "a header that is not as expected is refused with its file and field",
  async (folder, device) => {
    await fit(folder, { device, steps: 4 });
    const path = await findCheckpoint(`${folder}/000-Line`);
    const text = new TextDecoder("latin1").decode(await Deno.readFile(path));
    const cases: [from: string, to: string, message: string][] = [
      ['\\"epoch\\":1,', '\\"epoch\\":x,', "0000004.safetensors: the checkpoint is damaged"],
      ['\\"epoch\\":1,', '\\"epoch\\":-1', "0000004.safetensors: the checkpoint is damaged"],
      ['\\"epoch\\":1,', '\\"epoch\\": [', "0000004.safetensors: the checkpoint is damaged"],
      ['\\"step\\":4', '\\"step\\":""'.slice(0, 12), "damaged"],
      ['\\"offset\\":16', '\\"offset\\":.5', "damaged"],
      ['\\"generators\\"', '\\"generatorz\\"', "generators: expected an object but found nothing"],
      ['\\"emaUpdates\\":4', '\\"emaUpdates\\":[', "damaged"],
      ['\\"position\\"', '\\"positiom\\"', "position: expected an object but found nothing"],
      ['\\"line\\"', '\\"dots\\"', "another kind of model (dots)"],
    ];
    for (const [from, to, message] of cases) {
      assert(text.includes(from), from);
      await Deno.writeFile(path, Uint8Array.from(text.replace(from, to), (c) => c.charCodeAt(0)));
      const { message: got } = await assertRejects(
        () => resumeFit(folder, path, { device, steps: 8 }),
        Error,
      );
      assertStringIncludes(got, message);
      assertStringIncludes(got, path);
    }
    await Deno.writeFile(path, Uint8Array.from(text, (c) => c.charCodeAt(0)));
    using checkpoint = await openCheckpoint(path, LINE);
    assertEquals(checkpoint.header.step, 4);
  },
);

runTest(
  "a first step that overflows is counted, and says no time",
  async (folder, device, said) => {
    const state = [["scale", 2 ** 127], ["streak", 0], ["skipped", 0]] as const;
    const prepare = ({ scaler }: LineTrainee) =>
      scaler.loadStateDict(new Map(state.map(([name, x]) => [name, { shape: [], data: [x] }])));
    const settings = { mixedPrecision: "fp16", logEvery: 1 } as const;
    assertEquals(await fit(folder, { device, steps: 2, settings, prepare }), 0);
    assertEquals(said.find((line) => line.startsWith("step ")), "step 1/2");
    assertStringIncludes(said.join("\n"), "1 step left out: gradients overflowed");
  },
);

runTest(
  "metrics of a run that was ended between two lines are those of one that was not",
  async (folder, device) => {
    const settings = { logEvery: 5, ckptEvery: 4 };
    const figures = async (run: string) => {
      const lines = (await Deno.readTextFile(`${run}/metrics.jsonl`)).trim().split("\n");
      return lines.map((line) => {
        const { step, loss, gradNorm, lr } = JSON.parse(line);
        return { step, loss, gradNorm, lr };
      });
    };
    assertEquals(await fit(`${folder}/whole`, { device, steps: 15, settings }), 0);
    const dataset = vanishing(9);
    const results = `${folder}/ended`;
    await assertRejects(() => fit(results, { device, steps: 15, settings, dataset }), Error);
    const run = `${results}/000-Line`;
    const path = await findCheckpoint(run);
    assertEquals(path, checkpointPath(run, 8));
    assertEquals(await resumeFit(results, path, { device, steps: 15 }), 0);
    assertEquals(await figures(run), await figures(`${folder}/whole/000-Line`));
    await assertSameEnd(run, `${folder}/whole/000-Line`);
  },
);

runTest("a run that another process trains is left to it", async (folder, device) => {
  if (Deno.build.os === "windows") return; // where folders cannot be locked
  assertEquals(await fit(folder, { device, steps: 8 }), 0);
  const run = `${folder}/000-Line`;
  const halfWritten = `${run}/checkpoints/0000012.safetensors.01234567.tmp`;
  await Deno.writeTextFile(halfWritten, "");
  const before = await Deno.readTextFile(`${run}/metrics.jsonl`);
  const path = await findCheckpoint(run);
  const resume = () => resumeFit(folder, path, { device, steps: 12 });
  {
    using other = await Deno.open(run); // a lock is of who opened the folder, here or elsewhere
    await other.lock(true);
    await assertRejects(resume, CommandError, "000-Line: expected a run that nobody is training");
    assertEquals(await Deno.readTextFile(`${run}/metrics.jsonl`), before);
    assertEquals((await Deno.stat(halfWritten)).isFile, true);
  }
  assertEquals(await resume(), 0);
  assertEquals(await measured(run), [2, 4, 6, 8, 10, 12]);
});
