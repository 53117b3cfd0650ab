/** What ranks tell each other beside numbers: values as JSON, and whether they see one folder. */
import { join } from "@std/path";
import { CommandError, messageOf } from "../shared/errors.ts";
import type { World } from "./world.ts";

/**
 * A value of every rank, by rank. Collective.
 *
 * @param value Anything that JSON can hold.
 */
export async function gather<T>(world: World, value: T): Promise<T[]> {
  if (world.size === 1) return [value];
  const all = await world.allGather(new TextEncoder().encode(JSON.stringify(value)));
  return all.map((bytes) => JSON.parse(new TextDecoder().decode(bytes)) as T);
}

/**
 * What rank 0 makes, on every rank. Collective; nothing is made on the others, which wait.
 *
 * @param make Gives anything that JSON can hold.
 */
export async function fromRankZero<T>(world: World, make: () => Promise<T>): Promise<T> {
  if (world.size === 1) return await make();
  const own = world.rank === 0 ? JSON.stringify(await make()) : "";
  const [bytes] = await world.allGather(new TextEncoder().encode(own));
  return JSON.parse(new TextDecoder().decode(bytes)) as T;
}

/**
 * Does on every rank what may download a file: on rank 0 first, then once on each machine, so that
 * the others find it there. Collective.
 */
export async function inTurn<T>(world: World, find: () => Promise<T>): Promise<T> {
  const turn = world.rank === 0 ? 0 : world.localRank === 0 ? 1 : 2;
  let found: T | undefined;
  for (const now of [0, 1, 2]) {
    if (now === turn) found = await find();
    if (now < 2) await world.barrier();
  }
  return found!;
}

/**
 * Makes sure that a folder that all ranks write to is one folder, not one on every machine. It is
 * made where it is not there. Collective: all throw or none.
 *
 * @param flag Which flag names it, for the message: `--out`.
 * @throws {CommandError} where it cannot be written to, or ranks do not see what rank 0 writes.
 */
export async function requireSharedFolder(
  world: World,
  flag: string,
  folder: string,
): Promise<void> {
  if (world.size === 1) return;
  const name = await fromRankZero(world, () => leaveMark(folder));
  const sees = await gather(world, await exists(join(folder, name)));
  if (world.rank === 0) await Deno.remove(join(folder, name));
  const blind = [...sees.keys()].filter((rank) => !sees[rank]);
  if (blind.length === 0) return;
  throw new CommandError(
    `${flag} ${folder}: expected a folder that all machines share, but rank ${blind.join(", ")} ` +
      `${blind.length > 1 ? "do" : "does"} not see what rank 0 writes there`,
  );
}

/** Writes a file to look for; returns its name, which is that of an unfinished file. */
async function leaveMark(folder: string): Promise<string> {
  const name = `ranks.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeTextFile(join(folder, name), "", { createNew: true });
  } catch (error) {
    throw new CommandError(`could not write to ${folder}: ${messageOf(error)}`, { cause: error });
  }
  return name;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
