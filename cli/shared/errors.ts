/** Errors that a command shows to the user, and exit codes. */

/** Exit codes of the commands, as shells know them. */
export const EXIT = {
  /** Something failed. */
  failed: 1,
  /** The command line makes no sense. */
  usage: 2,
  /** A kernel of the fast tier gave wrong numbers: start again without V8's experimental flags. */
  unfit: 70,
  /** Ended by Ctrl-C: 128 + SIGINT. */
  interrupted: 130,
} as const;

/** A failure whose message is all that the user needs: no stack is shown. */
export class CommandError extends Error {
  static {
    this.prototype.name = "CommandError";
  }
}

/** A command line that makes no sense. */
export class UsageError extends CommandError {
  static {
    this.prototype.name = "UsageError";
  }

  /** For a value that is none of a few, with the nearest right one. */
  static choice(flag: string, got: string, choices: readonly string[]): UsageError {
    return new UsageError(
      `${flag}: expected one of ${choices.join(", ")} but got "${got}"${didYouMean(got, choices)}`,
    );
  }
}

/** "; did you mean X?" where one of the words is close, otherwise nothing. */
export function didYouMean(got: string, words: readonly string[]): string {
  const simple = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, "");
  const ranked = words
    .map((word) => ({ word, distance: editDistance(simple(got), simple(word)) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  if (!best || best.distance > Math.max(2, Math.floor(best.word.length / 2))) return "";
  return `; did you mean ${best.word}?`;
}

/** Letters to insert, delete, replace or swap to make one word of another (Damerau-Levenshtein). */
export function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(row[j - 1]! + 1, rows[i - 1]![j]! + 1, rows[i - 1]![j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, rows[i - 2]![j - 2]! + 1);
      }
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
