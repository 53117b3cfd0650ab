/** Being asked to stop: Ctrl-C, a signal, a terminal that closes, or the end of the starting process. */
import { EXIT } from "../shared/errors.ts";
import { WRITES_TO_TERMINAL } from "../shared/terminal.ts";

/**
 * Signals that ask a command to stop. SIGUSR2 is for `mpirun` of Open MPI, which passes it on and
 * leaves the ranks the time that they need; after SIGTERM it kills them a second later.
 * (SIGUSR1 makes Deno open a port for its debugger.) SIGHUP says that the terminal was closed. Where
 * no output goes to one it stays as it was: `nohup` ignores it, which a listener would undo.
 *
 * @param writesToTerminal Whether any output of this process goes to a terminal.
 */
export function stopSignals(os: typeof Deno.build.os, writesToTerminal: boolean): Deno.Signal[] {
  if (os === "windows") return ["SIGINT"];
  return ["SIGINT", "SIGTERM", "SIGUSR2", ...(writesToTerminal ? ["SIGHUP" as const] : [])];
}

/** Those of this process. */
export const STOP_SIGNALS: readonly Deno.Signal[] = stopSignals(
  Deno.build.os,
  WRITES_TO_TERMINAL,
);

/** Two signals closer than this, in milliseconds, are one: a terminal and `launch.ts` both send it. */
const SAME = 300;

/** Whether a stop was asked for; `using` ends the listening. */
export interface StopRequests extends Disposable {
  /** Whether it was. */
  readonly requested: boolean;
  /** Resolves when it is. */
  readonly whenRequested: Promise<void>;
}

/**
 * Listens for requests to stop. The second Ctrl-C ends the process at once; other signals may come
 * several times, from each process above this one.
 *
 * @param answer Printed at the first one; null for none.
 */
export function stopRequests(
  answer: string | null = "stopping after this step, with a checkpoint; Ctrl-C again stops at once",
): StopRequests {
  let first: number | undefined;
  const { promise: whenRequested, resolve } = Promise.withResolvers<void>();
  const ask = (signal: Deno.Signal): void => {
    const now = performance.now();
    if (first === undefined) {
      first = now;
      resolve();
      if (answer !== null) console.error(`\n${answer}`);
    } else if (signal === "SIGINT" && now - first > SAME) {
      Deno.exit(EXIT.interrupted);
    }
  };
  const handlers = STOP_SIGNALS.map((signal) => [signal, () => ask(signal)] as const);
  for (const [signal, handler] of handlers) Deno.addSignalListener(signal, handler);
  if (wasLaunched()) {
    askAtEndOfInput(() => {
      first ??= performance.now();
      resolve();
    });
  }
  return {
    get requested() {
      return first !== undefined;
    },
    whenRequested,
    [Symbol.dispose]() {
      for (const [signal, handler] of handlers) Deno.removeSignalListener(signal, handler);
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
