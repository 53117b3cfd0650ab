import { assert, assertEquals } from "@std/assert";
import { mpiTest } from "../tests/mpi.ts";
import { run } from "./distributed.ts";
import { Report } from "./measure.ts";

const TINY = { tiny: true, only: undefined, seconds: Infinity };

mpiTest("all-reduces and training steps are measured in miniature", async (mpi) => {
  const report = new Report();
  await run(report, TINY, [mpi]);
  const reduced = report.tables[`all-reduce, ${mpi.name}, 2 ranks`]!;
  assertEquals(reduced.map((row) => row["KB"]), [4, 256]);
  const trained = report.tables[`training DiT-Mini/8, batch 4, ${mpi.name}`]!;
  assertEquals(trained.map((row) => row[""]), [
    "one process",
    "2 ranks, sent never",
    "2 ranks, sent after backward",
    "2 ranks, sent during backward",
  ]);
  for (const row of [...reduced, ...trained]) {
    for (const [head, value] of Object.entries(row)) {
      assert(typeof value === "string" || Number.isFinite(value), `${head}: ${value}`);
    }
  }
});

Deno.test("an MPI that is not installed is left out", async () => {
  const report = new Report();
  await run(report, TINY, [{ name: "MPICH", program: null }]);
  assertEquals(report.facts["MPICH"], "not installed");
  assertEquals(report.tables, {});
});
