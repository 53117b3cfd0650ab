/**
 * How long a thread polls for another before it sleeps. Waking a sleeper costs 26 us, a thread that
 * polls under 1 us; but where a core is not this process's alone, what is waited for may be a thread
 * that polling keeps from running.
 */

/** Polls at least, about 40 us: the host needs 5 to 20 us from one launch to the next. */
const LEAST = 20_000;
/** Polls at most, about 0.2 ms: threads that share a launch are done at about the same time. */
const MOST = 100_000;
/** Waits that are short after one that was long and in vain, and after several such in a row. */
const FEWEST_SHORT = 16, MOST_SHORT = 256;

/** Numbers of {@linkcode patienceOf}. */
export const PATIENCE = { LEAST, MOST, FEWEST_SHORT, MOST_SHORT } as const;

/** What a thread has learnt of its waits. */
export interface Patience {
  /** Polls before it sleeps. */
  polls(): number;
  /** Notes that a wait has taken so many polls, and whether what was waited for came by then. */
  note(polls: number, hasCome: boolean): void;
}

/** For a thread that has not waited yet. Its text is sent to workers: it uses its parameter only. */
export function patienceOf({ LEAST, MOST, FEWEST_SHORT, MOST_SHORT }: typeof PATIENCE): Patience {
  let short = 0, next: number = FEWEST_SHORT;
  return {
    polls: () => short > 0 ? LEAST : MOST,
    note(polls, hasCome) {
      if (short > 0) {
        short--;
      } else if (!hasCome) {
        short = next;
        next = Math.min(2 * next, MOST_SHORT);
      } else if (polls > LEAST) {
        next = FEWEST_SHORT;
      }
    },
  };
}
