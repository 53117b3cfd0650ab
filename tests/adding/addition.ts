/**
 * An addition to the project as a recipe of `docs/adding.md` describes it: what each file gains, and
 * a program that uses the result. The additions are scratch ones, made in a copy of the sources.
 */

/** The text of a file, made of what it was (undefined for a new file) and of other files. */
export type Edit = (text: string | undefined, files: ReadonlyMap<string, string>) => string;

/** One addition. */
export interface Addition {
  /** The heading of its recipe. */
  readonly heading: string;
  /** What becomes of each file that has to be touched, one edit after the other. */
  readonly files: Readonly<Record<string, readonly Edit[]>>;
  /** The same of files that only tests read. */
  readonly tests?: Readonly<Record<string, readonly Edit[]>>;
  /**
   * The body of a program that throws unless the addition works. It has `core` and `data`, the
   * packages, `load(path)`, which gives a module of the copy, `run(command, ...args)`, which gives
   * what a command printed, `folder`, an empty one, and `assert(condition, message)`.
   */
  readonly proof: string;
}

/** A new file with this text. */
export function file(text: string): readonly Edit[] {
  return [(before) => {
    if (before !== undefined) throw new Error("expected no such file yet");
    return text;
  }];
}

/** A new file with the text of another. */
export function copyOf(path: string): readonly Edit[] {
  return [(_, files) => files.get(path)!];
}

/** Puts `added` before the only occurrence of `anchor`. */
export function before(anchor: string, added: string): Edit {
  return replace(anchor, added + anchor);
}

/** Puts `added` after the only occurrence of `anchor`. */
export function after(anchor: string, added: string): Edit {
  return replace(anchor, anchor + added);
}

/** Puts `by` in place of the only occurrence of `anchor`. */
export function replace(anchor: string, by: string): Edit {
  return (text) => {
    const parts = text?.split(anchor) ?? [];
    if (parts.length !== 2) {
      const found = Math.max(0, parts.length - 1);
      throw new Error(`expected one place with ${JSON.stringify(anchor)} but found ${found}`);
    }
    return parts.join(by);
  };
}
