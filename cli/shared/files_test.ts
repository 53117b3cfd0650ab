import { assertEquals, assertRejects } from "@std/assert";
import { AtomicFile } from "@dit/core/io";
import { diskTest } from "../../tests/fixtures.ts";
import { CommandError } from "./errors.ts";
import { prepareFolder, readJson, removeTemporaries, writeWhole } from "./files.ts";

diskTest("what a killed process left half written goes, and nothing else", async (folder) => {
  const killed = await AtomicFile.create(`${folder}/weights`);
  await writeWhole(`${folder}/mine.tmp`, "not ours");
  await writeWhole(`${folder}/config.json`, "{}");
  await removeTemporaries(folder, { minutes: 60 }); // somebody may be writing it
  await removeTemporaries(folder, { of: "config.json" });
  assertEquals(Array.from(Deno.readDirSync(folder)).length, 3);
  await removeTemporaries(folder);
  const left = Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
  assertEquals(left, ["config.json", "mine.tmp"]);
  await killed[Symbol.asyncDispose]().catch(() => {}); // closes it; it is gone already
});

diskTest(
  "prepareFolder() makes a folder that files can be written in, and leaves none",
  async (folder) => {
    await prepareFolder(`${folder}/a/b`, "--out");
    await prepareFolder(`${folder}/a/b`);
    assertEquals(Array.from(Deno.readDirSync(`${folder}/a/b`)), []);
    await Deno.writeTextFile(`${folder}/file`, "");
    const message = "expected a folder to write to but a file is there";
    await assertRejects(() => prepareFolder(`${folder}/file`), CommandError, `file: ${message}`);
    await assertRejects(
      () => prepareFolder(`${folder}/file/below`, "--out"),
      CommandError,
      `--out: ${folder}/file/below: ${message}`,
    );
  },
);

diskTest("readJson() says what stands where a file of JSON is wanted", async (folder) => {
  const path = `${folder}/config.json`;
  const refused = (message: string) =>
    assertRejects(() => readJson(path), CommandError, `${path}: expected a JSON ${message}`);
  await refused("file but found nothing there");
  const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 27\n";
  for (const [text, found] of [[pointer, "a pointer of Git LFS"], ["[]", "something else"]]) {
    await Deno.writeTextFile(path, text!);
    await refused(`object but found ${found}`);
  }
});
