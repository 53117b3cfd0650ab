/** Runs the cells of a notebook, in their order, in a process of their own. */
import { dirname, fromFileUrl, resolve, toFileUrl } from "@std/path";
import { FAST_TIER } from "../../cli/launch.ts";
import type { Notebook, Output } from "./format.ts";
import { programOf } from "./program.ts";

/** What a cell gave. Plain JSON. */
export interface CellOutputs {
  /** Its place in the notebook, from 0. */
  readonly cell: number;
  readonly outputs: readonly Output[];
}

/** How the process may be different from that of a kernel. */
export interface RunOptions {
  /** Files that the notebook does not get to see, from its folder. */
  readonly hidden?: readonly string[];
  /** Whether kernels run in the fast tier, to the same pictures; a kernel of Jupyter's has none. */
  readonly fast?: boolean;
}

/** Where programs are for a while: in the repository, so that they find its packages. */
const TEMPORARY = new URL("../../.tmp/", import.meta.url);

/**
 * Runs a notebook. It may read, and nothing else.
 *
 * @param path Where it is: what it opens is beside it.
 * @returns The cells that were run, in their order; the last one has an error where one stopped it.
 * @throws {Error} where no cell could be run, as a cell that does not parse.
 */
export async function runNotebook(
  path: string,
  notebook: Notebook,
  { hidden = [], fast = false }: RunOptions = {},
): Promise<CellOutputs[]> {
  const kernel = new URL("kernel.ts", import.meta.url).href;
  const program = await programOf(notebook, kernel);
  await Deno.mkdir(TEMPORARY, { recursive: true });
  const file = await Deno.makeTempFile({ dir: fromFileUrl(TEMPORARY), suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, program);
    const { code, stdout, stderr } = await new Deno.Command("deno", {
      args: [
        "run",
        "--quiet",
        "--no-check",
        "--no-prompt",
        "--allow-read",
        ...(hidden.length > 0 ? [`--deny-read=${hidden.join()}`] : []),
        new URL("execute.ts", import.meta.url).href,
        toFileUrl(file).href,
      ],
      cwd: dirname(resolve(path)),
      env: {
        NO_COLOR: "1",
        NODEVICE_SELECT: "1", // keeps a layer of Mesa's from complaining
        ...(fast && Deno.build.arch === "x86_64" ? { DENO_V8_FLAGS: FAST_TIER } : {}),
      },
      stdin: "null",
    }).output();
    const text = new TextDecoder();
    const cells = text.decode(stdout).trim().split("\n").filter((line) => line !== "")
      .map((line): CellOutputs => JSON.parse(line));
    const isStopped = cells.at(-1)?.outputs.at(-1)?.output_type === "error";
    if (code !== 0 && !isStopped) throw new Error(`${path}: ${text.decode(stderr).trim()}`);
    return cells;
  } finally {
    await Deno.remove(file);
  }
}
