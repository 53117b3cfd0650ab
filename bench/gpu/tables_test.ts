import { assert, assertStringIncludes } from "@std/assert";
import { dawnTable, readResults, tablesOf } from "./tables.ts";

Deno.test("the tables of a card in the document are those of its files", async () => {
  const document = await Deno.readTextFile(new URL("README.md", import.meta.url));
  const tables = tablesOf(await readResults("nvidia-h200"));
  assert(tables.size > 0);
  for (const [title, table] of tables) assertStringIncludes(document, `${title}\n\n${table}\n`);
});

Deno.test("what Dawn brings on a card is what its files say", async () => {
  const document = await Deno.readTextFile(new URL("../../docs/dawn.md", import.meta.url));
  assertStringIncludes(document, `\n\n${dawnTable(await readResults("nvidia-h200"))}\n`);
});
