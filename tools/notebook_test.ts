import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { encodePng } from "@dit/data";
import { fromFileUrl } from "@std/path";
import { diskTest, granted, tempDir } from "../tests/fixtures.ts";
import { packagesMissing } from "../tests/npm.ts";
import { differences } from "./notebook/compare.ts";
import { type Cell, linesOf, type Notebook, type Output, readNotebook } from "./notebook/format.ts";
import { PARSER } from "./notebook/program.ts";
import { runNotebook } from "./notebook/run.ts";
import { run } from "./notebook.ts";
import { CommandError, UsageError } from "../cli/shared/errors.ts";

/** Where the notebook is that people open. */
const NOTEBOOK = fromFileUrl(new URL("../run_DiT.ipynb", import.meta.url));

const missing = granted({ name: "run", command: "deno" }) &&
    granted({ name: "write", path: new URL("../.tmp/", import.meta.url) })
  ? await packagesMissing(PARSER)
  : "needs --allow-read, --allow-write and --allow-run=deno";

function processTest(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: missing ? `${name} (${missing})` : name,
    ignore: missing !== undefined,
    fn,
  });
}

function code(source: string, outputs: Output[] = [], ...tags: string[]): Cell {
  return { cell_type: "code", source: linesOf(source), metadata: { tags }, outputs };
}

function notebook(...cells: Cell[]): Notebook {
  return { nbformat: 4, cells };
}

const stream = (text: string): Output => ({ output_type: "stream", name: "stdout", text });
const value = (data: Record<string, unknown>): Output => (
  { output_type: "execute_result", data, metadata: {}, execution_count: 1 }
);

async function picture(level: number, width = 4): Promise<string> {
  return (await encodePng(new Uint8Array(width * 4).fill(level), width, 4, 1)).toBase64();
}

diskTest("what is no notebook for Deno is refused by its name", async (folder) => {
  const path = `${folder}/a.ipynb`;
  const refused = (message: string) =>
    assertRejects(() => run([path]), CommandError, `${path}: expected a ${message}`);
  await refused("JSON file but found nothing there");
  const cases = {
    "# Words": "JSON object but found something else",
    '{"a": 1}': "notebook but found another JSON file",
    '{"nbformat": 3}': "notebook of format 4 but got 3",
    '{"nbformat": 4, "cells": []}': "notebook for Deno's kernel but it is for undefined",
  };
  for (const [text, message] of Object.entries(cases)) {
    await Deno.writeTextFile(path, text);
    await refused(message);
  }
  await assertRejects(() => run([]), UsageError, "Usage: deno task notebook");
  await assertRejects(() => run(["--chekc", path]), UsageError, "mean --check?");
});

processTest("run_DiT.ipynb gives the outputs that it has", async () => {
  const kept = await readNotebook(NOTEBOOK);
  const ran = await runNotebook(NOTEBOOK, kept, { hidden: ["pretrained_models"], fast: true });
  assertEquals(ran.length, kept.cells.filter(({ cell_type }) => cell_type === "code").length);
  assertEquals(await differences(kept, ran), []);
  const pictures = ran.filter(({ outputs }) =>
    outputs.some((o) => "data" in o && "image/png" in o.data)
  );
  assertEquals(pictures.length, 3);
  const [first, second] = pictures.map(({ cell }) => cell);
  const other = structuredClone(kept);
  other.cells[first!]!.outputs = kept.cells[second!]!.outputs!;
  assertStringIncludes(
    (await differences(other, ran)).join(),
    `cell ${first}: expected`,
  );
});

processTest(
  "cells share a scope, and give lines, pictures and the values they end with",
  async () => {
    await using folder = await tempDir();
    const cells = [
      code(
        'const x: number = 1;\nconsole.log("x is", x);\nconsole.log({ x });\nconsole.error("oh");',
      ),
      { cell_type: "markdown", source: "# x" },
      code("x + 1; // two"),
      code(
        "const png = Uint8Array.of(0x89, 1);\nawait Deno.jupyter.display(Deno.jupyter.image(png));",
      ),
      code("Deno.jupyter.md`**${x}**`"),
      code("await Promise.resolve(undefined);"),
      code('throw new TypeError("no more");\nx;'),
      code("console.log('never')"),
    ];
    const path = `${folder.path}/cells.ipynb`;
    const ran = await runNotebook(path, notebook(...cells));
    const [lines, sum, png, bold, nothing, error, never] = ran;
    assertEquals(lines, {
      cell: 0,
      outputs: [
        { output_type: "stream", name: "stdout", text: ["x is 1\n", "{ x: 1 }\n"] },
        { output_type: "stream", name: "stderr", text: ["oh\n"] },
      ],
    });
    assertEquals(sum, {
      cell: 2,
      outputs: [
        {
          output_type: "execute_result",
          data: { "text/plain": ["2"] },
          metadata: {},
          execution_count: 2,
        },
      ],
    });
    assertEquals(png!.outputs, [
      { output_type: "display_data", data: { "image/png": "iQE=" }, metadata: {} },
    ]);
    assertEquals((bold!.outputs[0] as { data: object }).data, { "text/markdown": "**1**" });
    assertEquals(nothing!.outputs, []);
    const failed = error!.outputs[0]!;
    assert(failed.output_type === "error");
    assertEquals([failed.ename, failed.evalue], ["TypeError", "no more"]);
    assertEquals(never, undefined);
    assertEquals(await differences(notebook(...cells), ran.slice(-1)), [
      "cell 6 failed: TypeError: no more",
    ]);
    const wrong = notebook(code("const = 1;"));
    await assertRejects(() => runNotebook(path, wrong), SyntaxError, "cell 0: ");
    const missing = notebook(code('import { no } from "./no.ts";'));
    await assertRejects(() => runNotebook(path, missing), Error, "no.ts");
  },
);

Deno.test("outputs are compared: text exactly, pictures to the last bits of their sums", async () => {
  const compare = (kept: Output, given: Output, ...tags: string[]) =>
    differences(notebook(code("", [kept], ...tags)), [{ cell: 0, outputs: [given] }]);
  assertEquals(await compare(stream("a\nb"), { ...stream(""), text: ["a\n", "b"] } as Output), []);
  assertEquals((await compare(stream("a"), stream("b"))).length, 1);
  assertEquals(await compare(stream("a"), stream("b"), "nbval-ignore-output"), []);
  assertEquals((await compare(stream("a"), value({ "text/plain": "a" }))).length, 1);
  assertEquals(
    (await compare(value({ "text/html": "a" }), value({ "text/plain": "a" }))).length,
    1,
  );
  assertEquals(
    (await compare(value({ "text/html": "a" }), value({ "text/html": ["b"] }))).length,
    1,
  );
  const png = async (level: number, width?: number) =>
    value({ "image/png": await picture(level, width) });
  assertEquals(await compare(await png(7), await png(8)), []);
  assertStringIncludes(
    (await compare(await png(7), await png(20)))[0]!,
    "13.0 levels of 256 apart",
  );
  assertStringIncludes((await compare(await png(7), await png(7, 8)))[0]!, "a picture of 4x4x1");
});
