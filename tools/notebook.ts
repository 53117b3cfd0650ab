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
import { HELP as HELP_FLAG } from "../cli/shared/common_flags.ts";
import { CommandError, EXIT, UsageError } from "../cli/shared/errors.ts";
import { toCommandError } from "../cli/shared/failures.ts";
import { flagsHelp, parseFlags, splitPositional, toggle } from "../cli/shared/flags.ts";
import { differences } from "./notebook/compare.ts";
import { type Notebook, notebookText, readNotebook } from "./notebook/format.ts";
import { type CellOutputs, runNotebook } from "./notebook/run.ts";

/** Where published weights are. */
const PUBLISHED = ["pretrained_models"];

const FLAGS = {
  "check": toggle("compare the outputs with those in the file instead of writing them"),
  "published": toggle("with published weights, where they are"),
  "help": HELP_FLAG,
} as const;

const USAGE = "Usage: deno task notebook [FLAGS] FILE.ipynb...";

/** Runs notebooks; returns the exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const [paths, rest] = splitPositional(args, FLAGS);
  const { help, check = false, published = false } = parseFlags(rest, FLAGS);
  if (help) {
    console.log(`${USAGE}\n\n${flagsHelp({ "Flags": FLAGS })}`);
    return 0;
  }
  if (paths.length === 0) throw new UsageError(USAGE);
  let failed = false;
  for (const path of paths) {
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
  return failed ? EXIT.failed : 0;
}

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

if (import.meta.main) {
  try {
    Deno.exit(await run(Deno.args));
  } catch (thrown) {
    const error = toCommandError(thrown);
    if (!(error instanceof CommandError)) throw error;
    console.error(error.message);
    Deno.exit(error instanceof UsageError ? EXIT.usage : EXIT.failed);
  }
}
