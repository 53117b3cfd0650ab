/**
 * The world of a command:
 *
 *     const world = await openWorld({ distributed: flags.distributed });
 *     ...
 *     await world.close();
 *
 * It is opened once, before work begins, and closed when a command is through. Whatever ends the
 * process before that ends all ranks.
 */
import { CommandError } from "../shared/errors.ts";
import { findLauncher } from "./launcher.ts";
import { ALONE, type World } from "./world.ts";

/** What `--distributed` can be: auto joins other processes where a launcher has started some. */
export const DISTRIBUTED = ["auto", "mpi", "off"] as const;

/** How a world is opened. */
export interface OpenOptions {
  readonly distributed: typeof DISTRIBUTED[number];
}

/**
 * Joins the processes that a launcher started together with this one.
 *
 * @returns `ALONE` where there is no launcher: MPI is not loaded then.
 * @throws {CommandError} where `mpi` is asked for and there is no launcher, where its library is
 * missing, or where it counts other processes than the launcher.
 */
export async function openWorld({ distributed }: OpenOptions): Promise<World> {
  if (distributed === "off") return ALONE;
  const get = (name: string) => Deno.env.get(name);
  const launcher = isReadable() ? findLauncher(get) : null;
  if (!launcher) {
    if (distributed === "auto") return ALONE;
    throw new CommandError(
      "--distributed mpi: expected to be started by MPI, such as mpirun -n 2 deno task train, " +
        "but no launcher is there",
    );
  }
  const { openLibrary } = await import("./mpi/library.ts");
  const { MpiWorld } = await import("./mpi/world.ts");
  return new MpiWorld(openLibrary(launcher, get), launcher);
}

/** `launch.ts` gives the right to the environment where it has seen a launcher. */
function isReadable(): boolean {
  return Deno.permissions.querySync({ name: "env" }).state === "granted";
}
