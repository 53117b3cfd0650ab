import { assertEquals, assertRejects } from "@std/assert";
import { diskTest } from "../../../tests/fixtures.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { openOutput } from "./output.ts";

diskTest("what cannot be written is refused before anything is drawn", async (folder) => {
  await Deno.writeTextFile(`${folder}/file`, "");
  for (const kind of ["png", "npz"]) {
    await Deno.mkdir(`${folder}/folder.${kind}`);
    await assertRejects(
      () => openOutput(`${folder}/folder.${kind}`, 1),
      UsageError,
      `--out: expected a file to write but ${folder}/folder.${kind} is a folder`,
    );
    await assertRejects(
      () => openOutput(`${folder}/${"x".repeat(300)}.${kind}`, 1), // no system has names that long
      CommandError,
      "--out: could not write ",
    );
  }
  for (const below of ["a.png", "a.npz"]) {
    await assertRejects(
      () => openOutput(`${folder}/file/${below}`, 1),
      CommandError,
      `${folder}/file: expected a folder to write to but a file is there`,
    );
  }
  await assertRejects(
    () => openOutput(`${folder}/file`, 1),
    CommandError,
    `${folder}/file: expected a folder to write to but a file is there`,
  );
  await using _ = await openOutput(`${folder}/new/a.png`, 1);
  assertEquals(Array.from(Deno.readDirSync(`${folder}/new`)), []);
});
