/** Tests of several ranks, under each MPI that is installed. */
import { AS_ROOT, findMpis, type Mpi, OPTIONS } from "../bench/distributed/launch.ts";
import { type Ended, launchArguments } from "./commands.ts";
import { env, granted, tempDir } from "./fixtures.ts";

export type { Mpi };

const MPIS = granted({ name: "run", command: "mpirun" })
  ? await findMpis()
  : (["Open MPI", "MPICH"] as const).map((name): Mpi => ({ name, program: null }));

/** Whether CI, say, wants a missing MPI to be a failure. */
const required = env("DIT_REQUIRE_MPI") === "1";

/**
 * Registers a test for each MPI; it is ignored where that is not installed, unless
 * `DIT_REQUIRE_MPI=1`.
 *
 * @param run gets the MPI, and a folder of its own.
 * @param lacks Another reason to ignore it.
 */
export function mpiTest(
  name: string,
  run: (mpi: Mpi, folder: string) => Promise<void>,
  lacks: string | null = null,
): void {
  for (const mpi of MPIS) {
    const reason = mpi.program === null ? "needs its mpirun and --allow-run" : lacks;
    Deno.test({
      name: `${name}, ${mpi.name}` + (reason === null ? "" : ` (${reason})`),
      ignore: reason !== null && !(required && lacks === null),
      fn: async () => {
        if (mpi.program === null) throw new Error(`expected ${mpi.name} to be installed`);
        await using folder = await tempDir();
        await run(mpi, folder.path);
      },
    });
  }
}

/** In a container one process may not read another's memory: Open MPI would try, and complain. */
const IN_CONTAINER = { OMPI_MCA_btl_vader_single_copy_mechanism: "none" };

/** Milliseconds after which ranks are taken to hang. */
const HANGING = 120_000;

/** How ranks are started. */
export interface RanksOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Arguments of `deno` for ranks `from` and more: `[[2, [...]]]` starts two alike. */
export type RankGroup = readonly [ranks: number, denoArguments: readonly string[]];

/** Starts ranks, those of each group with arguments of their own. */
export function startRanks(
  { name, program }: Mpi,
  groups: readonly RankGroup[],
  { cwd, env }: RanksOptions = {},
): Deno.ChildProcess {
  const each = groups.map(([ranks, args]) => ["-n", String(ranks), "deno", ...args]);
  return new Deno.Command(program!, {
    args: [...OPTIONS[name], ...each.flatMap((words, i) => i === 0 ? words : [":", ...words])],
    // see prepareMesa()
    env: { NO_COLOR: "1", GALLIVM_PERF: "nopt", ...AS_ROOT, ...IN_CONTAINER, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(HANGING),
  }).spawn();
}

/** Waits for the end of ranks. */
export async function ended(child: Deno.ChildProcess): Promise<Ended> {
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

/** Runs ranks that are started alike. */
export function runRanks(
  mpi: Mpi,
  ranks: number,
  args: readonly string[],
  options?: RanksOptions,
): Promise<Ended> {
  return ended(startRanks(mpi, [[ranks, args]], options));
}

/** Arguments of `deno` for a script beside this file. */
export function script(name: string, ...args: string[]): string[] {
  return ["run", "-q", "--no-check", "-A", new URL(name, import.meta.url).href, ...args];
}

/** Arguments of `deno` for a command, as `deno task` starts it. */
export function launched(name: string, ...args: string[]): string[] {
  return launchArguments(name, args);
}
