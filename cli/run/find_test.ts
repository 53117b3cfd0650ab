import { assertEquals, assertRejects } from "@std/assert";
import { toFileUrl } from "@std/path";
import { diskTest } from "../../tests/fixtures.ts";
import { CommandError } from "../shared/errors.ts";
import {
  findCheckpoint,
  latestRun,
  listCheckpoints,
  listRuns,
  runOf,
  unfinishedRun,
} from "./find.ts";

/** A folder with checkpoints that are empty. */
async function write(run: string, ...steps: number[]): Promise<void> {
  await Deno.mkdir(`${run}/checkpoints`, { recursive: true });
  for (const step of steps) {
    const name = `${String(step).padStart(7, "0")}.safetensors`;
    await Deno.writeTextFile(`${run}/checkpoints/${name}`, "");
  }
}

const describe = (file: string, description: unknown): Promise<void> =>
  Deno.writeTextFile(file, JSON.stringify(description));

const DIT = { trainee: "dit", names: {} } as const;
const DESCRIPTION = { settings: {}, model: {}, steps: 9 };

diskTest("the newest checkpoint of a run is the one of the last step", async (folder) => {
  await write(`${folder}/000-a`, 1, 12_345_678, 10, 9);
  await write(`${folder}/001-b`);
  await Deno.writeTextFile(`${folder}/000-a/checkpoints/0000099.safetensors.12345678.tmp`, "");
  const steps = (await listCheckpoints(`${folder}/000-a`)).map(({ step }) => step);
  assertEquals(steps, [1, 9, 10, 12_345_678]);
  const path = await findCheckpoint(`${folder}/000-a`);
  assertEquals(toFileUrl(path).href.split("/").at(-1), "12345678.safetensors");
  await assertRejects(() => findCheckpoint(`${folder}/001-b`), CommandError, "found none");
  await assertRejects(() => findCheckpoint(`${folder}/c`), CommandError, "found nothing");
});

diskTest(
  "the newest run is the one with the highest number that has a checkpoint",
  async (folder) => {
    await assertRejects(() => latestRun(`${folder}/none`), CommandError, "found none");
    await write(`${folder}/998-a`, 5);
    await write(`${folder}/1000-b`, 5);
    await write(`${folder}/1001-c`);
    await write(`${folder}/vae`, 5);
    await Deno.writeTextFile(`${folder}/1002-file`, "");
    assertEquals(await listRuns(folder, "dit"), [`${folder}/1000-b`, `${folder}/998-a`]);
    await write(`${folder}/1000-a`, 7);
    await Deno.utime(`${folder}/1000-a/checkpoints/0000007.safetensors`, 1, 2e9);
    assertEquals(await latestRun(folder), `${folder}/1000-a`, "of equals the one written last");
    await write(`${folder}/1003-vae`, 5);
    await describe(`${folder}/1003-vae/run.json`, { ...DESCRIPTION, trainee: "autoencoder" });
    assertEquals(await latestRun(folder), `${folder}/1000-a`);
    assertEquals(await listRuns(folder, "autoencoder"), [
      `${folder}/1003-vae`,
      `${folder}/1000-a`,
      `${folder}/1000-b`,
      `${folder}/998-a`,
    ]);
  },
);

diskTest("only a folder that says so is the run of a checkpoint", async (folder) => {
  await write(`${folder}/run`, 6);
  const path = `${folder}/run/checkpoints/0000006.safetensors`;
  assertEquals(await runOf(path, DIT), undefined);
  await describe(`${folder}/run/config.json`, { block_out_channels: [4] });
  assertEquals(await runOf(path, DIT), undefined, "a configuration of others");
  await Deno.writeTextFile(`${folder}/run/config.json`, "no JSON");
  assertEquals(await runOf(path, DIT), undefined);
  await describe(`${folder}/run/config.json`, DESCRIPTION);
  assertEquals(await runOf(path, DIT), `${folder}/run`);
  assertEquals(await runOf(path, { ...DIT, trainee: "autoencoder" }), undefined, "another kind");
  await Deno.copyFile(path, `${folder}/run/checkpoints/best.safetensors`);
  assertEquals(await runOf(`${folder}/run/checkpoints/best.safetensors`, DIT), undefined);
  await Deno.mkdir(`${folder}/run/other`);
  await Deno.copyFile(path, `${folder}/run/other/0000006.safetensors`);
  assertEquals(await runOf(`${folder}/run/other/0000006.safetensors`, DIT), undefined);
});

diskTest("the newest run that has steps left and is asked for is found", async (folder) => {
  for (const [run, step] of [["000-a", 3], ["001-b", 4], ["002-c", 9], ["003-d", 5]] as const) {
    await write(`${folder}/${run}`, step);
    await describe(`${folder}/${run}/config.json`, DESCRIPTION);
  }
  const asked: string[] = [];
  const find = (isSame: (path: string) => boolean | undefined) =>
    unfinishedRun(folder, "dit", (path, hasAllSteps) => {
      if (hasAllSteps) return Promise.resolve(false);
      asked.push(path);
      return Promise.resolve(isSame(path));
    });
  const lastOf = (run: string, step: number) =>
    `${folder}/${run}/checkpoints/000000${step}.safetensors`;
  assertEquals(await find((path) => !path.includes("003-d")), lastOf("001-b", 4));
  assertEquals(asked.length, 2, "a run that has all of its steps is told apart");
  assertEquals(await find(() => false), undefined);
  await write(`${folder}/003-d`, 2);
  const damaged = (path: string) => path === lastOf("003-d", 5) ? undefined : true;
  assertEquals(await find(damaged), lastOf("003-d", 2), "the one before what cannot be read");
  assertEquals(await find(() => undefined), undefined);
});
