/**
 * Who started this process: a launcher of MPI says so in the environment. Reads nothing else, and
 * loads nothing, so that a command that was started alone stays free of MPI.
 */

/** Families of MPI libraries. */
export type Family = "Open MPI" | "MPICH";

/** A launcher that started this process as one of several. */
export interface Launcher {
  /** Such as `mpirun of Open MPI`. */
  readonly name: string;
  /** Which libraries it can be spoken to with, the likeliest first. */
  readonly families: readonly Family[];
  /** How many processes it started; null where it does not say. */
  readonly size: number | null;
  /** This one among them; null where it does not say. */
  readonly rank: number | null;
}

/** Reads one variable of the environment. */
export type Environment = (name: string) => string | undefined;

/** Launchers, with the variable that shows each: the first that is set counts. */
const LAUNCHERS = [
  {
    shown: "OMPI_COMM_WORLD_SIZE",
    name: "mpirun of Open MPI",
    families: ["Open MPI"],
    size: "OMPI_COMM_WORLD_SIZE",
    rank: "OMPI_COMM_WORLD_RANK",
  },
  // before Slurm: under `srun mpirun`, and in a job's allocation, both are there
  {
    shown: "HYDI_CONTROL_FD",
    name: "mpirun of MPICH",
    families: ["MPICH"],
    size: "PMI_SIZE",
    rank: "PMI_RANK",
  },
  {
    shown: "SLURM_STEP_ID",
    name: "srun of Slurm",
    families: ["Open MPI", "MPICH"],
    size: "SLURM_STEP_NUM_TASKS",
    rank: "SLURM_PROCID",
  },
  {
    shown: "PMI_RANK",
    name: "a launcher of MPICH's kind (PMI_RANK is set)",
    families: ["MPICH", "Open MPI"],
    size: "PMI_SIZE",
    rank: "PMI_RANK",
  },
  {
    shown: "PMIX_RANK",
    name: "a launcher that speaks PMIx (PMIX_RANK is set)",
    families: ["Open MPI", "MPICH"],
    size: "",
    rank: "PMIX_RANK",
  },
] as const;

/**
 * The launcher that started this process; null for a process that was started alone.
 *
 * @param get Reads a variable; by default of this process.
 */
export function findLauncher(get: Environment = (name) => Deno.env.get(name)): Launcher | null {
  const row = LAUNCHERS.find(({ shown }) => get(shown) !== undefined);
  if (!row) return null;
  const number = (name: string): number | null => {
    const text = name === "" ? undefined : get(name);
    return text !== undefined && /^\d+$/.test(text) ? Number(text) : null;
  };
  // the shell of an interactive job is a step of one process too
  if (row.shown === "SLURM_STEP_ID" && number(row.size) === 1) return null;
  return {
    name: row.name,
    // srun speaks PMIx to Open MPI and PMI to MPICH, as a rule
    families: row.shown === "SLURM_STEP_ID" && get("PMI_RANK") !== undefined
      ? [...row.families].reverse()
      : row.families,
    size: number(row.size),
    rank: number(row.rank),
  };
}
