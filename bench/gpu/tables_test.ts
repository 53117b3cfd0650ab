import { assert, assertStringIncludes } from "@std/assert";
import { readResults, tablesOf } from "./tables.ts";

Deno.test("the tables of a card in the document are those of its files", async () => {
  const document = await Deno.readTextFile(new URL("README.md", import.meta.url));
  const tables = tablesOf(await readResults("nvidia-h200"));
  assert(tables.size > 0);
  for (const [title, table] of tables) assertStringIncludes(document, `${title}\n\n${table}\n`);
});
