/**
 * The terminal that a command writes to, which may be closed while it is at work. What is said then is
 * lost; the work goes on to its checkpoint.
 */

/** Whether any output of this process goes to a terminal; one that was closed no longer seems to be. */
export const WRITES_TO_TERMINAL: boolean = Deno.stdout.isTerminal() || Deno.stderr.isTerminal();

/**
 * Writes, and does without where the terminal was closed.
 *
 * @throws whatever `write` does for other reasons, such as a pipe that nobody reads.
 */
export function unlessClosed(write: () => void, toTerminal: boolean = WRITES_TO_TERMINAL): void {
  try {
    write();
  } catch (error) {
    if (!toTerminal || (error as { code?: unknown } | null)?.code !== "EIO") throw error;
  }
}

/** Lets what is said through `console` do without a terminal that was closed. */
export function outliveTerminal(): void {
  for (const name of ["log", "warn", "error"] as const) {
    const write = console[name];
    console[name] = (...parts: unknown[]) => unlessClosed(() => write.apply(console, parts));
  }
}
