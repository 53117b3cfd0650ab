/** Ranks within one process, for tests of what they do together. */
import type { ReducibleArray, Reduction, World } from "./world.ts";

/** An operation that some ranks have begun. */
interface Meeting {
  readonly what: string;
  readonly values: unknown[];
  readonly all: PromiseWithResolvers<unknown[]>;
  came: number;
}

const COMBINE: Readonly<Record<Reduction, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  min: (a, b) => Math.min(a, b),
  max: (a, b) => Math.max(a, b),
};

/**
 * Runs `run` as each of `size` ranks at the same time; gives what each returned, by rank. It fails
 * where one of them fails, where they do not begin the same operations in the same order, or where
 * one touches numbers that are being reduced.
 */
export async function onRanks<T>(
  size: number,
  run: (world: World) => Promise<T>,
): Promise<T[]> {
  let broken: unknown;
  const meetings: Meeting[] = [];
  const failed = Promise.withResolvers<never>();
  const worlds = Array.from({ length: size }, (_, rank): World => {
    let begun = 0;
    const meet = async <V>(what: string, value: V): Promise<V[]> => {
      if (broken !== undefined) throw broken;
      const meeting = meetings[begun++] ??= {
        what,
        values: [],
        all: Promise.withResolvers(),
        came: 0,
      };
      if (meeting.what !== what) {
        throw new Error(`rank ${rank} began ${what} where another one began ${meeting.what}`);
      }
      meeting.values[rank] = value;
      if (++meeting.came === size) meeting.all.resolve(meeting.values);
      return await meeting.all.promise as V[];
    };
    return {
      rank,
      size,
      localRank: rank,
      localSize: size,
      machine: 0,
      threads: 1,
      transport: "ranks of a test",
      async allReduce(values: ReducibleArray, reduction: Reduction = "sum"): Promise<void> {
        const own = values.slice();
        const all = await meet(`allReduce ${reduction} ${values.length}`, own);
        if (!values.every((value, i) => Object.is(value, own[i]))) {
          throw new Error(`rank ${rank} touched what it was reducing`);
        }
        values.set(values.map((_, i) => all.map((its) => its[i]!).reduce(COMBINE[reduction])));
      },
      async broadcast(bytes: Uint8Array, root = 0): Promise<void> {
        const all = await meet(`broadcast ${bytes.length} from ${root}`, bytes.slice());
        bytes.set(all[root]!);
      },
      allGather: (bytes: Uint8Array) => meet("allGather", bytes.slice()),
      async barrier(): Promise<void> {
        await meet("barrier", null);
      },
      abort(reason: string): never {
        const error = new Error(`rank ${rank} aborted: ${reason}`);
        failed.reject(error);
        throw error;
      },
      close: () => Promise.resolve(),
    };
  });
  const runs = worlds.map((world) => run(world));
  try {
    return await Promise.race([failed.promise, Promise.all(runs)]);
  } catch (error) {
    // ranks that wait for the failed one end, and nothing they still write outlives the test's folder
    broken = error;
    for (const { all } of meetings) all.reject(error);
    await Promise.allSettled(runs);
    throw error;
  }
}
