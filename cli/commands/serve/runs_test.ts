import { assert, assertEquals } from "@std/assert";
import { diskTest, makeLinks } from "../../../tests/fixtures.ts";
import { idOf, isWithin } from "./folders.ts";
import { RunFolders } from "./runs.ts";

const PNG = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3);

/** A run's folder as training writes it. */
async function writeRun(path: string, description: object, lines = ""): Promise<void> {
  await Deno.mkdir(`${path}/samples`, { recursive: true });
  await Deno.mkdir(`${path}/checkpoints`, { recursive: true });
  await Deno.writeTextFile(`${path}/config.json`, JSON.stringify(description));
  if (lines !== "") await Deno.writeTextFile(`${path}/metrics.jsonl`, lines);
}

const DESCRIPTION = {
  trainee: "dit",
  steps: 100,
  model: { name: "DiT-Mini/4" },
  settings: {
    data: "/home/somebody/photos",
    out: "C:\\photos",
    lr: 0.001,
    schedule: "cosine",
    epochs: null,
    flip: true,
    nested: { a: 1 },
  },
};

const LINE = '{"step":40,"loss":0.5,"seconds":3}\n';

diskTest(
  "runs are listed with how far they are, and without paths of their machine",
  async (results) => {
    await writeRun(`${results}/000-DiT-Mini-4`, DESCRIPTION, LINE);
    await writeRun(`${results}/001-done`, { ...DESCRIPTION, steps: 40 }, LINE);
    await writeRun(`${results}/002-begun`, { ...DESCRIPTION, steps: undefined });
    const run = `${results}/000-DiT-Mini-4`;
    await Deno.writeFile(`${run}/samples/0000020.png`, PNG);
    await Deno.writeFile(`${run}/samples/0000010.png`, PNG);
    await Deno.writeTextFile(`${run}/samples/notes.txt`, "");
    await Deno.writeTextFile(`${run}/checkpoints/0000050.safetensors`, "");
    const runs = await new RunFolders(results).list();
    assertEquals(runs.map(({ id }) => id).toSorted(), ["000-DiT-Mini-4", "001-done", "002-begun"]);
    const [first, done, begun] = runs.toSorted((a, b) => a.id < b.id ? -1 : 1);
    const { written, ...rest } = first!;
    assert(Math.abs(Date.now() - written) < 60_000);
    assertEquals(rest, {
      id: "000-DiT-Mini-4",
      title: "000-DiT-Mini-4",
      model: "DiT-Mini/4",
      trainee: "dit",
      step: 50,
      steps: 100,
      state: "going",
      settings: { lr: 0.001, schedule: "cosine", epochs: null, flip: true },
      drawn: [10, 20],
      checkpoint: "000-DiT-Mini-4.50",
    });
    assertEquals([done!.state, done!.checkpoint, begun!.steps, begun!.step], [
      "finished",
      null,
      null,
      0,
    ]);
    const old = new Date(Date.now() - 3_600_000);
    for (const name of ["", "/metrics.jsonl", "/checkpoints", "/config.json"]) {
      await Deno.utime(run + name, old, old);
    }
    const later = (await new RunFolders(results).list()).find(({ id }) => id === first!.id);
    assertEquals(later!.state, "ended");
  },
);

diskTest(
  "what is no run, half written, or removed while it is looked at, is left out",
  async (results) => {
    const broken = [
      "",
      "{",
      "[]",
      "null",
      '{"settings":1,"model":{}}',
      '{"settings":{},"model":[]}',
    ];
    for (const [i, text] of broken.entries()) {
      await Deno.mkdir(`${results}/00${i}-x`);
      await Deno.writeTextFile(`${results}/00${i}-x/config.json`, text);
    }
    await Deno.mkdir(`${results}/010-empty/config.json`, { recursive: true });
    await Deno.writeTextFile(`${results}/file`, "");
    await writeRun(`${results}/020-large`, { ...DESCRIPTION, more: "x".repeat(2 ** 20) });
    assertEquals(await new RunFolders(results).list(), []);
    assertEquals(await new RunFolders(`${results}/none`).list(), []);
    await writeRun(`${results}/030-removed`, DESCRIPTION, LINE);
    const runs = new RunFolders(results);
    assertEquals((await runs.list()).length, 1);
    assertEquals((await runs.metrics("030-removed", ""))!.lines.length, 1);
    await Deno.remove(`${results}/030-removed`, { recursive: true });
    assertEquals((await runs.metrics("030-removed", ""))!.lines, []);
    assertEquals(await runs.picture("030-removed", 10), undefined);
    assertEquals(await runs.metrics("nothing", ""), undefined);
    assertEquals(await runs.picture("nothing", 1), undefined);
  },
);

diskTest("nothing outside of the folder is shown, whatever leads there", async (folder) => {
  const results = `${folder}/results`;
  const secret = `${folder}/secret`;
  await writeRun(secret, DESCRIPTION, LINE);
  await Deno.writeFile(`${secret}/samples/0000010.png`, PNG);
  await writeRun(`${results}/000-links`, DESCRIPTION);
  await writeRun(`${results}/001-text`, DESCRIPTION, LINE);
  await Deno.writeTextFile(`${results}/001-text/samples/0000010.png`, "no picture");
  await makeLinks({
    [`${results}/002-link`]: secret,
    [`${results}/000-links/metrics.jsonl`]: `${secret}/metrics.jsonl`,
    [`${results}/000-links/samples/0000010.png`]: `${secret}/samples/0000010.png`,
  });
  const runs = new RunFolders(results);
  assertEquals((await runs.list()).map(({ id }) => id).toSorted(), ["000-links", "001-text"]);
  const links = (await runs.list()).find(({ id }) => id === "000-links")!;
  assertEquals([links.step, links.state], [0, "going"]);
  assertEquals((await runs.metrics("000-links", ""))!.lines, []);
  assertEquals(await runs.picture("000-links", 10), undefined);
  assertEquals(await runs.picture("001-text", 10), undefined);
  assertEquals(await isWithin(`${results}/../secret`, results), false);
  assertEquals(await isWithin(results, results), false);
  assertEquals(await isWithin(`${results}/000-links`, results), true);
  await Deno.writeFile(`${results}/001-text/samples/0000020.png`, PNG);
  assertEquals(await runs.picture("001-text", 20), PNG);
});

Deno.test("ids are made of names, and differ where names do", () => {
  assertEquals(idOf("003-DiT-Mini-4", "1000"), "003-DiT-Mini-4.1000");
  const ids = ["a b", "a_b", "a/b", "..", ".", "ü", "x".repeat(200), "x".repeat(201)].map((n) =>
    idOf(n)
  );
  assertEquals(new Set(ids).size, ids.length);
  for (const id of ids) assert(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/.test(id), id);
});
