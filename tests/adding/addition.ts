/**
 * An addition to the project as a recipe of `docs/adding.md` describes it: what each file gains, and
 * a program that uses the result. The additions are scratch ones, made in a copy of the sources.
 */

/** A change of a file's text; throws where the text is not as it expects. */
export type Edit = (text: string) => string;

/** One addition. */
export interface Addition {
  /** The heading of its recipe. */
  readonly heading: string;
  /** What becomes of each file that has to be touched: its whole text if new, otherwise edits. */
  readonly files: Readonly<Record<string, string | readonly Edit[]>>;
  /**
   * The body of a program that throws unless the addition works. It has `core` and `data`, the
   * packages, `load(path)`, which gives a module of the copy, `run(command, ...args)`, which gives what a command printed, and `assert(condition,
   * message)`; its working folder is empty.
   */
  readonly proof: string;
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
    const parts = text.split(anchor);
    if (parts.length !== 2) {
      const found = parts.length - 1;
      throw new Error(`expected one place with ${JSON.stringify(anchor)} but found ${found}`);
    }
    return parts.join(by);
  };
}
