/**
 * Work in steps that ranks take side by side without needing each other's results: how far they
 * are all together, and stopping together.
 */
import type { StopRequests } from "../run/stop.ts";
import type { World } from "./world.ts";

/** A rank's share of some work. */
export interface Share {
  /** Each does a step, and gives how many items it was. */
  readonly steps: AsyncGenerator<number>;
  /** How many steps there are. */
  readonly count: number;
  /** How many items they are together. */
  readonly items: number;
}

/** What is watched and told meanwhile. */
export interface RoundOptions {
  readonly stop: Pick<StopRequests, "requested">;
  /** Called as work is done, with how many items all ranks have done. */
  readonly onProgress: (done: number) => void;
}

/**
 * Works through the shares of all ranks. Collective. A rank tells the others of its step while it
 * takes the next one, and is never more than a step ahead: where one is asked to stop, all do after
 * the steps they are at.
 *
 * @returns Whether everything was done.
 */
export async function inRounds(
  world: World,
  { steps, count, items }: Share,
  { stop, onProgress }: RoundOptions,
): Promise<boolean> {
  const rounds = Int32Array.of(count);
  await world.allReduce(rounds, "max");
  const wanted = Float64Array.of(items);
  await world.allReduce(wanted);
  let done = 0;
  /** Whether a rank was asked to stop, in the round before. */
  let before = Promise.resolve(false);
  for (let round = 0; round < rounds[0]!; round++) {
    const next = round < count && !stop.requested ? await steps.next() : undefined;
    const told = Float64Array.of(next?.done === false ? next.value : 0, stop.requested ? 1 : 0);
    const now = world.allReduce(told).then(() => {
      done += told[0]!;
      onProgress(done);
      return told[1]! > 0;
    });
    now.catch(() => {}); // it is reported when its turn comes
    const stopped = await before;
    before = now;
    if (stopped) break;
  }
  await before;
  await steps.return(undefined);
  return done === wanted[0];
}
