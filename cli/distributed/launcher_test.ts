import { assertEquals } from "@std/assert";
import { findLauncher } from "./launcher.ts";

function launcherIn(variables: Readonly<Record<string, string>>) {
  return findLauncher((name) => variables[name]);
}

Deno.test("findLauncher() finds none where a process was started alone", () => {
  assertEquals(launcherIn({}), null);
  // a job's allocation is no step of it: the batch script itself runs once
  assertEquals(launcherIn({ SLURM_JOB_ID: "7", SLURM_NTASKS: "4" }), null);
  // and the shell of an interactive job is a step of its own
  assertEquals(launcherIn({ SLURM_STEP_ID: "0", SLURM_STEP_NUM_TASKS: "1" }), null);
});

Deno.test("findLauncher() knows who started a process, as which of how many", () => {
  const openMpi = {
    OMPI_COMM_WORLD_SIZE: "4",
    OMPI_COMM_WORLD_RANK: "3",
    PMIX_RANK: "3",
  };
  assertEquals(launcherIn(openMpi), {
    name: "mpirun of Open MPI",
    families: ["Open MPI"],
    size: 4,
    rank: 3,
  });
  const mpich = {
    HYDI_CONTROL_FD: "6",
    PMI_FD: "7",
    PMI_SIZE: "2",
    PMI_RANK: "0",
  };
  const launcher = launcherIn(mpich);
  assertEquals(launcher?.families, ["MPICH"]);
  assertEquals([launcher?.rank, launcher?.size], [0, 2]);
});

Deno.test("findLauncher() takes mpirun's word in a job of Slurm's, and srun's by what it speaks", () => {
  const step = {
    SLURM_JOB_ID: "7",
    SLURM_STEP_ID: "0",
    SLURM_STEP_NUM_TASKS: "8",
    SLURM_PROCID: "5",
  };
  assertEquals(launcherIn({ ...step, PMIX_RANK: "5" }), {
    name: "srun of Slurm",
    families: ["Open MPI", "MPICH"],
    size: 8,
    rank: 5,
  });
  assertEquals(launcherIn({ ...step, PMI_RANK: "5" })?.families, ["MPICH", "Open MPI"]);
  const inStep = { ...step, OMPI_COMM_WORLD_SIZE: "2", OMPI_COMM_WORLD_RANK: "1" };
  assertEquals(launcherIn(inStep)?.size, 2);
});
