/** Giving way to what waits beside a computation that blocks this thread. */

/** What a read awaits one after the other, to come on between two blocks of work. */
const TURNS = 8;

/**
 * Lets the event loop turn, so that signals, timers that are due, and files and threads that have
 * answered get their turn. Unlike a timer's, which is 2 ms at least, its time is next to none.
 */
export async function giveWay(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
