/**
 * The world of a command:
 *
 *     const world = await openWorld({ distributed: flags.distributed });
 *
 * It is opened once, before work begins. `main.ts` closes it when the command has returned, on all
 * ranks alike; whatever ends one of them before that, with any exit code, ends all.
 */
import { CommandError, EXIT, messageOf } from "../shared/errors.ts";
import { idleCoresText } from "./cores.ts";
import { findLauncher, type Launcher } from "./launcher.ts";
import type { MpiWorld } from "./mpi/world.ts";
import { requireSameLaunch } from "./same_launch.ts";
import { ALONE, type World } from "./world.ts";

/** What `--distributed` can be: auto joins other processes where a launcher has started some. */
export const DISTRIBUTED = ["auto", "mpi", "off"] as const;

/** How a world is opened. */
export interface OpenOptions {
  /** "auto" by default. */
  readonly distributed?: typeof DISTRIBUTED[number] | undefined;
}

/** Seconds that ranks wait for each other: the first may write samples meanwhile. */
const PATIENCE = 1800;

/** The world that was joined, until it is left. */
let opened: MpiWorld | null = null;

/** Whether one was, or was to be. */
let joining = false;

/**
 * Joins the processes that a launcher started together with this one.
 *
 * @returns `ALONE` where there is no launcher: MPI is not loaded then.
 * @throws {CommandError} where `mpi` is asked for and there is no launcher, where its library is
 * missing or counts other processes than the launcher, or where ranks were started differently.
 */
export async function openWorld({ distributed = "auto" }: OpenOptions = {}): Promise<World> {
  if (distributed === "off") return ALONE;
  const launcher = isReadable() ? findLauncher() : null;
  if (!launcher) {
    if (distributed === "auto") return ALONE;
    throw new CommandError(
      "--distributed mpi: expected to be started by MPI, such as mpirun -n 2 deno task train, " +
        "but no launcher is there",
    );
  }
  const world = await join(launcher);
  await requireSameLaunch(world);
  const idle = launcher.families[0] === "Open MPI" ? idleCoresText(world.cores) : null;
  if (idle !== null && world.rank === 0) console.warn(idle);
  return world;
}

async function join(launcher: Launcher): Promise<MpiWorld> {
  if (joining) throw new Error("the world is open already");
  joining = true;
  const { TIMEOUT_VARIABLE } = await import("./mpi/library.ts");
  const { MpiWorld } = await import("./mpi/world.ts");
  opened = await MpiWorld.join({
    launcher,
    patience: 1000 * secondsOf(TIMEOUT_VARIABLE, Deno.env.get(TIMEOUT_VARIABLE)),
    onFailure: (world, message) => world.abort(message, 1),
  });
  endTogether(opened);
  return opened;
}

/** Such as "4 ranks on 2 machines, MPI (Open MPI 4.1.4)", for a summary; null for a world of one. */
export async function worldText(world: World): Promise<string | null> {
  if (world.size === 1) return null;
  const firsts = Int32Array.of(world.localRank === 0 ? 1 : 0);
  await world.allReduce(firsts);
  const [machines] = firsts;
  return `${world.size} ranks on ${machines} machine${
    machines === 1 ? "" : "s"
  }, ${world.transport}`;
}

/** Leaves the world, where one was joined. */
export async function closeWorld(): Promise<void> {
  await opened?.close();
}

/**
 * Ends all ranks because this one has failed; returns where it is alone. One that fails before it
 * has joined the others does that first: they wait for it, and MPICH's mpirun would let them.
 *
 * @param isShared Whether the command that failed is one whose work ranks share.
 */
export async function abortWorld(reason: string, code: number, isShared: boolean): Promise<void> {
  const launcher = isShared && !joining && isReadable() ? findLauncher() : null;
  if (launcher && launcher.size !== 1) {
    try {
      await join(launcher);
    } catch { // the reason to be told is the one that was given
      return;
    }
  }
  if (opened && !opened.isClosed) opened.abort(reason, code);
}

/** How long ranks wait for each other. */
function secondsOf(variable: string, text: string | undefined): number {
  const seconds = text === undefined ? PATIENCE : Number(text);
  if (seconds > 0) return seconds;
  throw new CommandError(`${variable}: expected seconds above 0 but got "${text}"`);
}

/** Whatever ends this process ends all ranks: they would wait for it for ever. */
function endTogether(world: MpiWorld): void {
  const abort = (reason: unknown): void => {
    if (world.isClosed) return;
    const text = reason instanceof Error ? reason.stack ?? reason.message : messageOf(reason);
    world.abort(text, 1);
  };
  addEventListener("error", (event) => abort(event.error ?? event.message));
  addEventListener("unhandledrejection", (event) => abort(event.reason));
  addEventListener("unload", () => abort("ended before its work was done"));
  // and so does what ends the process that started this one: MPI knows only that one's end
  const starter = Deno.ppid;
  const watch = setInterval(() => {
    if (Deno.ppid === starter) return;
    abort("the process that started it has ended");
    Deno.exit(EXIT.failed); // it was leaving the world, where the others may never come to
  }, 1000);
  Deno.unrefTimer(watch);
}

/** `launch.ts` gives the right to the environment where it has seen a launcher. */
function isReadable(): boolean {
  return Deno.permissions.querySync({ name: "env" }).state === "granted";
}
