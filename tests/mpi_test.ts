/** Ranks under a real MPI: what they tell each other, and that none outlives another. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { launched, mpiTest, runRanks, script } from "./mpi.ts";

mpiTest("three ranks combine, spread and gather values", async (mpi) => {
  const { code, out, err } = await runRanks(mpi, 3, script("mpi_rank.ts", "operations"));
  assertEquals(code, 0, err);
  for (const rank of [0, 1, 2]) {
    assertStringIncludes(out, `rank ${rank} of 3 on 3: fine, MPI (${mpi.name}`);
  }
});

/** How rank 1 ends before its time, and what is said. */
const ENDS = {
  reject: /rank 1 of 2: Error: a bug/,
  exit: /rank 1 of 2: ended before its work was done/,
  hang: /rank 0 of 2: waited 3 s for the other ranks/,
  kill: /(rank 1|EXIT CODE: 9)/i,
} as const;

mpiTest("a rank that fails, exits, hangs or is killed ends all", async (mpi) => {
  for (const [how, says] of Object.entries(ENDS)) {
    const { code, out, err } = await runRanks(mpi, 2, script("mpi_rank.ts", how), {
      env: how === "hang" ? { DIT_MPI_TIMEOUT: "3" } : {},
    });
    assert(code !== 0, how);
    assertMatch(out + err, says, how);
    assert(!out.includes("through"), how);
  }
});

mpiTest(
  "a command whose work ranks cannot share is refused",
  async (mpi) => {
    const refused = await runRanks(mpi, 2, launched("sample", "--classes", "3"));
    assertEquals(refused.code, 2, refused.err);
    assertStringIncludes(
      refused.err,
      `expected to be started once, but mpirun of ${mpi.name} started 2`,
    );
  },
);
