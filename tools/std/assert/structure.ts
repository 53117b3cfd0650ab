import { AssertionError, because, show } from "./assertion_error.ts";
import { equal } from "./equal.ts";

/** Beyond this many lines on a side the table of common lines would cost more than it is worth. */
const DIFF_LINES = 1000;

/** The lines of both texts in order, marked `-` (only actual), `+` (only expected) or blank. */
function diff(actual: string, expected: string): string {
  const a = actual.split("\n");
  const b = expected.split("\n");
  if (a.length > DIFF_LINES || b.length > DIFF_LINES) {
    const at = a.findIndex((line, i) => line !== b[i]);
    const from = at < 0 ? a.length : at;
    const part = (lines: string[], mark: string): string[] =>
      lines.slice(from, from + 20).map((line) => mark + line);
    return [`    (from line ${from + 1})`, ...part(a, "-   "), ...part(b, "+   ")].join("\n");
  }
  // common[i][j]: length of the longest common subsequence of a[i..] and b[j..].
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i]![j] = a[i] === b[j]
        ? common[i + 1]![j + 1]! + 1
        : Math.max(common[i + 1]![j]!, common[i]![j + 1]!);
    }
  }
  const out: string[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push(`    ${a[i]}`);
      i++;
      j++;
    } else if (j >= b.length || (i < a.length && common[i + 1]![j]! >= common[i]![j + 1]!)) {
      out.push(`-   ${a[i++]}`);
    } else {
      out.push(`+   ${b[j++]}`);
    }
  }
  return out.join("\n");
}

function differ(what: string, actual: unknown, expected: unknown, msg?: string): AssertionError {
  const lines = diff(show(actual), show(expected));
  return new AssertionError(
    `${what}${because(msg)}\n\n    [Diff] -Actual / +Expected\n\n${lines}\n`,
  );
}

/** Asserts that two values have the same structure. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!equal(actual, expected)) throw differ("Values are not equal", actual, expected, msg);
}
