/** Being asked to stop: Ctrl-C, a signal, or the end of the process that started this one. */
import { EXIT } from "../shared/errors.ts";

/** Two signals closer than this, in milliseconds, are one: a terminal and `launch.ts` both send it. */
const SAME = 300;

/** Whether a stop was asked for; `using` ends the listening. */
export interface StopRequests extends Disposable {
  /** Whether it was. */
  readonly requested: boolean;
}

/**
 * Listens for requests to stop. The second Ctrl-C ends the process at once.
 *
 * @param answer Printed at the first one; null for none.
 */
export function stopRequests(
  answer: string | null = "stopping after this step, with a checkpoint; Ctrl-C again stops at once",
): StopRequests {
  let first: number | undefined;
  const ask = (): void => {
    const now = performance.now();
    if (first === undefined) {
      first = now;
      if (answer !== null) console.error(`\n${answer}`);
    } else if (now - first > SAME) {
      Deno.exit(EXIT.interrupted);
    }
  };
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  for (const signal of signals) Deno.addSignalListener(signal, ask);
  if (wasLaunched()) askAtEndOfInput(() => first ??= performance.now());
  return {
    get requested() {
      return first !== undefined;
    },
    [Symbol.dispose]() {
      for (const signal of signals) Deno.removeSignalListener(signal, ask);
    },
  };
}

function wasLaunched(): boolean {
  const name = "DIT_LAUNCHED";
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return state === "granted" && Deno.env.get(name) === "1";
}

/** `launch.ts` holds the other end of this process's input, and nothing comes from there. */
async function askAtEndOfInput(ask: () => void): Promise<void> {
  const buffer = new Uint8Array(64);
  while (await Deno.stdin.read(buffer) !== null) { /* what is typed has no meaning */ }
  ask();
}
