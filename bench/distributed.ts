/**
 * Work that ranks share under an MPI, on this machine: how long all-reduces take by size, and what
 * training loses to them, beside one process and beside the simulation.
 *
 *     deno task bench distributed --json             about ten minutes, for each MPI that is installed
 *     deno task bench distributed --only all-reduce  one part: all-reduce or training
 *     deno task bench distributed --seconds 60       for each MPI and part; 240 unless given
 *     deno task bench distributed --tiny             in miniature, to see that it works
 */
import { allReduceTable } from "./distributed/all_reduce_table.ts";
import { findMpis, type Mpi } from "./distributed/launch.ts";
import { trainingTables } from "./distributed/training_tables.ts";
import type { SuiteOptions } from "./main.ts";
import type { Report } from "./measure.ts";

/** Ranks choose the tier by themselves. */
export const tiered = false;

/** The parts, in their order: the simulation of training uses the figures of all-reduces. */
export const parts = ["all-reduce", "training"];

/** Seconds of a part unless told otherwise. */
const SECONDS = 240;

/** Runs the suite. */
export async function run(
  report: Report,
  { tiny, only, seconds }: SuiteOptions,
  mpis?: readonly Mpi[],
): Promise<void> {
  const each = Number.isFinite(seconds) ? seconds : SECONDS;
  report.note("cores", navigator.hardwareConcurrency);
  for (const mpi of mpis ?? await findMpis()) {
    if (mpi.program === null) {
      console.log(`\n${mpi.name} is not installed: left out`);
      report.note(mpi.name, "not installed");
      continue;
    }
    const options = { tiny, seconds: each };
    const reduced = await allReduceTable(report, mpi, options);
    if (only === undefined || only.includes("training")) {
      await trainingTables(report, mpi, reduced, options);
    }
  }
}
