import { assertEquals } from "@std/assert";
import { AtomicFile } from "@dit/core/io";
import { diskTest } from "../../tests/fixtures.ts";
import { removeTemporaries, writeWhole } from "./files.ts";

diskTest("what a killed process left half written goes, and nothing else", async (folder) => {
  const killed = await AtomicFile.create(`${folder}/weights`);
  await writeWhole(`${folder}/mine.tmp`, "not ours");
  await writeWhole(`${folder}/config.json`, "{}");
  await removeTemporaries(folder);
  const left = Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
  assertEquals(left, ["config.json", "mine.tmp"]);
  await killed[Symbol.asyncDispose]().catch(() => {}); // closes it; it is gone already
});
