/**
 * The README's second example, whole: its commands, one after the other in an empty folder, timed.
 * The pictures that it shows are made by this: they stay in bench/results/emoji-3d.
 */
import type { Report, Row } from "./measure.ts";
import { readmeCommands } from "../tests/readme.ts";

/** The commands choose the tier by themselves. */
export const tiered = false;

const FOLDER = new URL("results/emoji-3d/", import.meta.url);
const LAUNCH = new URL("../cli/launch.ts", import.meta.url);
/** What the example is made to fit in. */
const MINUTES = 45;

/** Runs the suite. */
export async function run(report: Report): Promise<void> {
  await Deno.remove(FOLDER, { recursive: true }).catch(() => {});
  await Deno.mkdir(FOLDER, { recursive: true });
  const rows: Row[] = [];
  for (const { task, args } of await readmeCommands("Pictures in colour")) {
    const start = performance.now();
    console.log(`\n> deno task ${[task, ...args].join(" ")}`);
    const { success } = await new Deno.Command("deno", {
      args: ["run", "--quiet", "--allow-run", "--allow-env", LAUNCH.href, task, ...args],
      cwd: FOLDER,
    }).spawn().status;
    if (!success) throw new Error(`deno task ${task} failed`);
    rows.push({ "deno task": task, minutes: (performance.now() - start) / 60_000 });
  }
  const minutes = rows.reduce((sum, row) => sum + Number(row["minutes"]), 0);
  report.add("the README's second example", [...rows, { "deno task": "all", minutes }]);
  if (minutes > MINUTES) {
    console.log(`expected ${MINUTES} minutes on two cores, it took ${minutes}`);
  }
}
