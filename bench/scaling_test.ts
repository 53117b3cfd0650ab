import { assert, assertEquals, assertThrows } from "@std/assert";
import { contents, DOCUMENT, PICTURE, withTables } from "./distributed/document.ts";
import { Measurements } from "./distributed/results.ts";

Deno.test("docs/scaling.md has the tables and the picture that the plan gives", async () => {
  const { tables, picture } = await contents();
  const text = await Deno.readTextFile(DOCUMENT);
  assertEquals(text, withTables(text, tables));
  assertEquals(await Deno.readTextFile(PICTURE), picture);
});

Deno.test("the simulation reproduces what was measured with 2 and 4 ranks", async () => {
  const measured = await Measurements.read();
  for (const mpi of ["Open MPI", "MPICH"]) {
    const rows = measured.training("DiT-S/4", 16, mpi)
      .filter((row) => row["simulated images/s"] !== undefined);
    assertEquals(rows.length, 4);
    for (const row of rows) {
      const ratio = Number(row["simulated images/s"]) / Number(row["images/s"]);
      assert(Math.abs(ratio - 1) < 1 / 8, `${mpi}, ${row[""]}: ${ratio}`);
    }
  }
});

Deno.test("a table without a place in the document is an error", () => {
  const tables = new Map([["Speed", [{ a: 1, b: "x" }]]]);
  const text = "Words.\n\n**Speed**\n\n| old |\n| --- |\n\nMore.\n";
  const table = "|   a | b   |\n| --: | --- |\n|   1 | x   |\n";
  assertEquals(withTables(text, tables), `Words.\n\n**Speed**\n\n${table}\nMore.\n`);
  assertEquals(withTables("**Speed**\n\n", tables), `**Speed**\n\n${table}`);
  assertThrows(() => withTables("Speed", tables), Error, 'expected a line "**Speed**"');
});
