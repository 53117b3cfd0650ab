/** How ranks of one machine share its cores. */

/** Where a process may run. */
export interface Cores {
  /** The machine, by any name that its processes alone have. */
  readonly machine: number;
  /** Processors that the process may run on, by number; null where systems do not bind processes. */
  readonly bound: readonly number[] | null;
  /** How many it may use at once: fewer than those where its group is limited. */
  readonly usable: number;
  /** How many the machine has; null where it is not known. */
  readonly online: number | null;
}

/** What the system says of this process. */
export function ownCores(machine: number): Cores {
  const { bound, online } = fromSystem();
  return { machine, bound, usable: navigator.hardwareConcurrency, online };
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

/**
 * What to say where the launcher has bound ranks so that most cores of the first one's machine are
 * idle, as Open MPI does by default with one or two ranks; null where it has not.
 */
export function idleCoresText(all: readonly Cores[]): string | null {
  const { machine, online } = all[0]!;
  const used = new Set<number>();
  for (const { bound } of all.filter((its) => its.machine === machine)) {
    if (bound === null) return null;
    for (const core of bound) used.add(core);
  }
  if (online === null || 2 * used.size > online) return null; // half of them: hyper-threading
  return `mpirun lets the ranks of a machine run on ${used.size} of its ${online} cores only; ` +
    `mpirun --bind-to none lets them share all`;
}

/** Bytes of the set of processors that Linux is asked for: 8192 of them. */
const SET_BYTES = 1024;

/** _SC_NPROCESSORS_ONLN of Linux's C libraries. */
const ONLINE = 84;

/** Where this process may run and how many cores there are; null where systems do not bind. */
function fromSystem(): Pick<Cores, "bound" | "online"> {
  const unknown = { bound: null, online: null };
  if (Deno.build.os !== "linux") return unknown;
  for (const name of ["libc.so.6", `libc.musl-${Deno.build.arch}.so.1`]) {
    try {
      return fromLibrary(name);
    } catch { // another C library, or none that can be asked
      continue;
    }
  }
  return unknown;
}

function fromLibrary(name: string): Pick<Cores, "bound" | "online"> {
  const library = Deno.dlopen(name, {
    sched_getaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
    sysconf: { parameters: ["i32"], result: "isize" },
  });
  try {
    const online = Number(library.symbols.sysconf(ONLINE));
    const set = new Uint8Array(SET_BYTES);
    const code = library.symbols.sched_getaffinity(Deno.pid, BigInt(SET_BYTES), set);
    const bound = Array.from({ length: SET_BYTES * 8 }, (_, core) => core)
      .filter((core) => (set[core >> 3]! >> (core & 7) & 1) === 1);
    return { bound: code < 0 ? null : bound, online: online > 0 ? online : null };
  } finally {
    library.close();
  }
}
