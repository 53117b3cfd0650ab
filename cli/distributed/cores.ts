/** How ranks of one machine share its cores. */

/** Where a process may run. */
export interface Cores {
  /** The machine, by any name that its processes alone have. */
  readonly machine: number;
  /** Processors that the process may run on, by number; null where systems do not bind processes. */
  readonly bound: readonly number[] | null;
  /** How many it may use at once: fewer than those where its group is limited. */
  readonly usable: number;
}

/**
 * Threads for a rank, so that those of all ranks of its machine together use each core once: its
 * own cores where the launcher binds ranks to them, as Open MPI does, and its share of those that
 * it has in common with others.
 *
 * @param all Of every rank, by rank.
 */
export function threadsFor(rank: number, all: readonly Cores[]): number {
  const { machine, bound, usable } = all[rank]!;
  const neighbours = all.filter((its) => its.machine === machine);
  if (bound === null) return Math.max(1, Math.floor(usable / neighbours.length));
  let share = 0;
  for (const core of bound) {
    share += 1 / neighbours.filter((its) => its.bound === null || its.bound.includes(core)).length;
  }
  const allowed = Math.min(1, usable / bound.length);
  return Math.max(1, Math.floor(share * allowed + 1e-6)); // thirds may add up to 0.9999...
}

/** Bytes of the set of processors that Linux is asked for: 8192 of them. */
const SET_BYTES = 1024;

/** The processors that this process may run on; null where the system does not bind processes. */
export function boundCores(): number[] | null {
  if (Deno.build.os !== "linux") return null;
  for (const name of ["libc.so.6", `libc.musl-${Deno.build.arch}.so.1`]) {
    try {
      return coresOf(name);
    } catch { // another C library, or none that can be asked
      continue;
    }
  }
  return null;
}

function coresOf(cLibrary: string): number[] | null {
  const library = Deno.dlopen(cLibrary, {
    sched_getaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  });
  try {
    const set = new Uint8Array(SET_BYTES);
    if (library.symbols.sched_getaffinity(Deno.pid, BigInt(SET_BYTES), set) < 0) return null;
    return Array.from({ length: SET_BYTES * 8 }, (_, core) => core)
      .filter((core) => (set[core >> 3]! >> (core & 7) & 1) === 1);
  } finally {
    library.close();
  }
}
