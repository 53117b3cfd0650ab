import { assert, assertEquals, assertRejects } from "@std/assert";
import { goldenPath, goldenTest, tempDir } from "./fixtures.ts";

goldenTest("goldenTest() hands over paths that can be read", ["index.json"], async ([index]) => {
  const { files } = JSON.parse(await Deno.readTextFile(index!)) as { files: unknown[] };
  assert(files.length > 0);
});

Deno.test("goldenPath() is undefined for what does not exist", () => {
  assertEquals(goldenPath("no/such/file.json"), undefined);
});

Deno.test("tempDir() leaves nothing behind", async () => {
  let kept: string;
  {
    await using folder = await tempDir();
    kept = folder.path;
    await Deno.writeTextFile(`${kept}/a.txt`, "a");
  }
  await assertRejects(() => Deno.stat(kept), Deno.errors.NotFound);
});
