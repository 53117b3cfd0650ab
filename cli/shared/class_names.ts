/** Which class a name means, for every command and page that takes one. */
import { CommandError, didYouMean, UsageError } from "./errors.ts";

/** What each class is called, by its number: one name, or several that mean the same. */
export type ClassLabels = readonly (readonly string[])[];

/** Names that a message shows. */
const SHOWN_NAMES = 3;

/**
 * The class that a word means: one of its names as it is written, or its number, or a name but for
 * case, `_`, `-` and spaces. A class of several names has them joined by commas as well, as in
 * ImageNet's `tench, Tinca tinca`.
 *
 * @param where The flag or field, for messages.
 * @throws {UsageError} where no class is meant.
 * @throws {CommandError} where several could be meant, with their numbers.
 */
export function resolveClass(
  word: string,
  numClasses: number,
  labels: ClassLabels,
  where = "--classes",
): number {
  const meant = classesOf(word, numClasses, labels);
  if (meant.length === 1) return meant[0]!;
  if (meant.length > 1) {
    throw new CommandError(
      `${where}: expected one class but "${word}" fits several (${
        meant.join(", ")
      }); give a number`,
    );
  }
  const names = labels.map(([first = ""]) => first);
  const range = `a number from 0 to ${numClasses - 1}`;
  const some = names.slice(0, SHOWN_NAMES).join(", ");
  const known = names.length > 0 ? ` or a name such as ${some}` : "";
  const near = /^-?[\d.]*$/.test(word) ? "" : didYouMean(word, labels.flat());
  const got = word === "" ? "nothing" : `"${word}"`;
  throw new UsageError(`${where}: expected ${range}${known} but got ${got}${near}`);
}

/**
 * The classes of a list such as `3,cat,"salt, coarse"`: names and numbers with commas between them. A
 * name that has commas itself may be quoted, and need not be where nothing else could be meant.
 *
 * @throws {CommandError} as {@linkcode resolveClass}, and for a list that can be read in two ways.
 */
export function resolveClasses(
  list: string,
  numClasses: number,
  labels: ClassLabels,
  where = "--classes",
): number[] {
  const words = splitList(list);
  const found: number[] = [];
  for (let i = 0; i < words.length;) {
    let end = words.length;
    for (; end > i + 1; end--) {
      const part = words.slice(i, end);
      if (part.some(({ quoted }) => quoted)) continue;
      const joined = part.map(({ text }) => text).join(", ");
      const [whole, ...others] = classesOf(joined, numClasses, labels);
      if (whole === undefined || others.length > 0) continue;
      const single = part.map(({ text }) => classesOf(text, numClasses, labels));
      if (single.every((meant) => meant.length > 0 && !meant.includes(whole))) {
        throw new UsageError(
          `${where}: expected "${joined}" in quotes for class ${whole}, or numbers, since its ` +
            "parts are classes too",
        );
      }
      found.push(whole);
      break;
    }
    if (end === i + 1) found.push(resolveClass(words[i]!.text, numClasses, labels, where));
    i = end;
  }
  return found;
}

/** Every class that a word can mean, by the closest way in which it means one. */
function classesOf(word: string, numClasses: number, labels: ClassLabels): number[] {
  const written = (name: string): string =>
    name.normalize("NFC").replaceAll(/\s*,\s*/g, ", ").trim();
  const simple = (name: string): string => written(name).toLowerCase().replaceAll(/[\s_-]+/g, " ");
  const named = (key: (name: string) => string): number[] => {
    const wanted = key(word);
    return Array.from({ length: Math.min(numClasses, labels.length) }, (_, i) => i)
      .filter((i) => [...labels[i]!, labels[i]!.join(", ")].some((name) => key(name) === wanted));
  };
  if (word === "") return [];
  const exact = named(written);
  if (exact.length > 0) return exact;
  if (/^\d+$/.test(word)) return Number(word) < numClasses ? [Number(word)] : [];
  return named(simple);
}

/** Words between commas; quotes keep commas in a word, and `""` in them is a quote. */
function splitList(list: string): { text: string; quoted: boolean }[] {
  const words: { text: string; quoted: boolean }[] = [];
  const word = /\s*(?:"((?:[^"]|"")+)"\s*(?=,|$)|([^,]*))(?:,|$)/gy;
  for (let match = word.exec(list); match; match = word.exec(list)) {
    const [whole, inner, plain = ""] = match;
    words.push(
      inner === undefined
        ? { text: plain.trim(), quoted: false }
        : { text: inner.replaceAll('""', '"'), quoted: true },
    );
    if (!whole.endsWith(",") || word.lastIndex > list.length) break;
  }
  return words;
}
