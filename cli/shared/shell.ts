/** Command lines that are shown to be copied. */

/**
 * A word of a command line, in quotes where shells would take it for several or for something else:
 * paths have spaces in them.
 */
export function shellWord(word: string): string {
  if (/^[\p{L}\p{N}\p{M}_@%+=:,./\\-]+$/u.test(word)) return word;
  if (!/["$`\\!]/.test(word)) return `"${word}"`; // which all shells read alike
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
