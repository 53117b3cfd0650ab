/** Work that takes each rank its own time, watched by all until all are done. */
import type { StopRequests } from "../run/stop.ts";
import type { World } from "./world.ts";

/** How the work is watched. */
export interface Watch {
  /** How much of its work this rank has done. */
  readonly done?: () => number;
  /** Is told how much all ranks have done. */
  readonly onTotal?: (total: number) => void;
  /** Whether this rank is asked to stop, which is to stop all. */
  readonly stop?: Pick<StopRequests, "requested">;
}

/** Thrown by work that ends before it is done, because all ranks are to stop. */
export class Stopped extends Error {}

/** Milliseconds between two times that ranks tell each other: few at first, so that short work is short. */
const PAUSE = { first: 10, longest: 1000 } as const;

/**
 * Runs this rank's part of the work, and ends when all ranks have done theirs. Ranks tell each other
 * how far they are meanwhile, so that one that has long to work is not taken for one that is lost:
 * the work has to let other tasks run now and then. Collective.
 *
 * @param work Gets a function to ask between its steps, which says whether some rank is to stop; it
 * may throw {@linkcode Stopped} then.
 * @returns Whether no rank threw that.
 * @throws What else the work throws.
 */
export async function workTogether(
  world: World,
  work: (isStopped: () => boolean) => Promise<void>,
  { done = () => 0, onTotal, stop }: Watch = {},
): Promise<boolean> {
  let [isBusy, isStopped, isWhole] = [true, false, true];
  const working = work(() => isStopped ||= stop?.requested ?? false).catch((error) => {
    if (!(error instanceof Stopped)) throw error;
    isWhole = false;
  }).finally(() => isBusy = false);
  const watch = async (): Promise<boolean> => {
    for (let next: number = PAUSE.first;; next = Math.min(2 * next, PAUSE.longest)) {
      const state = Float64Array.of(
        done(),
        isBusy ? 1 : 0,
        stop?.requested ? 1 : 0,
        isWhole ? 0 : 1,
      );
      await world.allReduce(state);
      onTotal?.(state[0]!);
      isStopped ||= state[2]! > 0;
      if (state[1] === 0) return state[3] === 0;
      await pause(isBusy ? working : null, next);
    }
  };
  const [, isWholeEverywhere] = await Promise.all([working, watch()]);
  return isWholeEverywhere;
}

/**
 * Work of rank 0, for which the others wait however long it takes. Collective.
 *
 * @throws What the work throws.
 */
export async function onRankZero(world: World, work: () => Promise<void>): Promise<void> {
  if (world.size === 1) return await work();
  await workTogether(world, world.rank === 0 ? work : async () => {});
}

/** Waits, or until the work has ended. */
async function pause(working: Promise<void> | null, milliseconds: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<void>((resolve) => timer = setTimeout(resolve, milliseconds));
  await Promise.race([timeout, ...(working ? [working.catch(() => {})] : [])]);
  clearTimeout(timer);
}
