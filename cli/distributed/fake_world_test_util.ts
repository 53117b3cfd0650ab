/** Worlds of several ranks in one process, for tests of what ranks do together. */
import { ALONE, type ReducibleArray, type Reduction, type World } from "./world.ts";

const COMBINE: Readonly<Record<Reduction, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  min: Math.min,
  max: Math.max,
};

/** One operation, as far as ranks have begun it. */
interface Meeting {
  readonly what: string;
  readonly arrived: Map<number, ReducibleArray | Uint8Array>;
  /** What the arrays held when they came. */
  readonly copies: Map<number, ReducibleArray | Uint8Array>;
  readonly done: PromiseWithResolvers<ReadonlyMap<number, ReducibleArray | Uint8Array>>;
}

/** What ranks have done together. */
export interface FakeWorlds {
  /** One a rank. */
  readonly worlds: readonly World[];
  /** Operations in the order in which they were begun: `allReduce sum Float32Array[16]`. */
  readonly operations: readonly string[];
}

/**
 * Worlds of `size` ranks that check what MPI leaves unchecked: that all begin the same operations in
 * the same order, and touch no array that is under way.
 */
export function fakeWorlds(size: number): FakeWorlds {
  const meetings: Meeting[] = [];
  const operations: string[] = [];
  const meet = (
    rank: number,
    at: number,
    what: string,
    values: ReducibleArray | Uint8Array,
  ): Meeting["done"]["promise"] => {
    const meeting = meetings[at] ??= {
      what,
      arrived: new Map(),
      copies: new Map(),
      done: Promise.withResolvers(),
    };
    if (meeting.arrived.size === 0) operations.push(what);
    if (meeting.what !== what) {
      throw new Error(`operation ${at}: rank ${rank} began ${what}, another one ${meeting.what}`);
    }
    meeting.arrived.set(rank, values);
    meeting.copies.set(rank, values.slice());
    if (meeting.arrived.size === size) {
      // later, as messages take a while
      setTimeout(() => {
        for (const [rank, values] of meeting.arrived) {
          if (meeting.copies.get(rank)!.every((value, i) => Object.is(value, values[i]))) continue;
          meeting.done.reject(new Error(`${what}: rank ${rank} changed what was under way`));
        }
        meeting.done.resolve(meeting.copies);
      }, 0);
    }
    return meeting.done.promise;
  };
  const worlds = Array.from({ length: size }, (_, rank): World => {
    let begun = 0;
    return {
      ...ALONE,
      rank,
      size,
      localRank: rank,
      localSize: size,
      transport: "fake",
      async allReduce(values, reduction = "sum") {
        const what = `allReduce ${reduction} ${values.constructor.name}[${values.length}]`;
        const all = await meet(rank, begun++, what, values);
        const [first, ...rest] = Array.from({ length: size }, (_, r) => all.get(r)!);
        values.set(first!);
        for (const other of rest) {
          for (let i = 0; i < values.length; i++) {
            values[i] = COMBINE[reduction](values[i]!, other[i]!);
          }
        }
      },
      async broadcast(bytes, root = 0) {
        const all = await meet(rank, begun++, `broadcast ${root} [${bytes.length}]`, bytes);
        bytes.set(all.get(root)!);
      },
      async allGather(bytes) {
        const all = await meet(rank, begun++, "allGather", bytes);
        return Array.from({ length: size }, (_, r) => all.get(r) as Uint8Array);
      },
      async barrier() {
        await meet(rank, begun++, "barrier", new Uint8Array());
      },
      abort(reason) {
        throw new Error(`rank ${rank}: ${reason}`);
      },
    };
  });
  return { worlds, operations };
}
