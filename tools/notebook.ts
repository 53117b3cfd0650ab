/**
 * Runs the cells of a notebook for Deno's Jupyter kernel, in their order, and writes what they give
 * into it; or compares that with what is there.
 *
 *     deno task notebook run_DiT.ipynb             runs, and writes the outputs
 *     deno task notebook --check run_DiT.ipynb     runs, and fails where the outputs are others
 *     deno task notebook --published run_DiT.ipynb with published weights, where they are
 *
 * Jupyter's own programs lose outputs of Deno's kernel now and then, whose "done" may come before
 * them. Published weights are hidden otherwise, so that the outputs are of the weights that come with
 * the repository.
 */
import { parseArgs } from "@std/cli";
import { differences } from "./notebook/compare.ts";
import { type Notebook, notebookText, readNotebook } from "./notebook/format.ts";
import { type CellOutputs, runNotebook } from "./notebook/run.ts";

/** Where published weights are. */
const PUBLISHED = ["pretrained_models"];

const { check, published, _: paths } = parseArgs(Deno.args, {
  boolean: ["check", "published"],
  string: ["_"],
});
if (paths.length === 0) {
  console.error("Usage: deno task notebook [--check] [--published] FILE.ipynb...");
  Deno.exit(2);
}
let failed = false;
for (const path of paths.map(String)) {
  const notebook = await readNotebook(path);
  const ran = await runNotebook(path, notebook, {
    hidden: published ? [] : PUBLISHED,
    fast: check,
  });
  const problems = await differences(check ? notebook : withOutputs(notebook, ran), ran);
  if (!check) await Deno.writeTextFile(path, notebookText(withOutputs(notebook, ran)));
  for (const problem of problems) console.error(`${path}: ${problem}`);
  if (problems.length > 0) failed = true;
  else console.log(`${path}: ${ran.length} cells ${check ? "give what it has" : "were run"}`);
}
if (failed) Deno.exit(1);

/** The notebook with what its cells gave. */
function withOutputs(notebook: Notebook, ran: readonly CellOutputs[]): Notebook {
  const given = new Map(ran.map(({ cell, outputs }, i) => [cell, { outputs, number: i + 1 }]));
  const cells = notebook.cells.map((cell, i) => {
    if (cell.cell_type !== "code") return cell;
    const { outputs = [], number = null } = given.get(i) ?? {};
    return { ...cell, execution_count: number, outputs: [...outputs] };
  });
  return { ...notebook, cells };
}
