/** Finds classes by what is typed: by name, by a part of it, or by number. */

/** Looks classes up; made once a model, since a thousand names take a while to fold. */
export class ClassSearch {
  readonly #names: readonly string[];
  /** Lower case, without accents. */
  readonly #folded: readonly string[];

  /** Of classes called so, by index. */
  constructor(names: readonly string[]) {
    this.#names = names;
    this.#folded = names.map(folded);
  }

  /** What a class is called. */
  nameOf(label: number): string {
    return this.#names[label] ?? String(label);
  }

  /** How many classes there are. */
  get size(): number {
    return this.#names.length;
  }

  /**
   * Classes that what is typed could mean, the likeliest first: the number itself, a whole name, the
   * beginning of a name, of a word, any part; words may come in any order. All where it is empty.
   */
  find(typed: string, most = Infinity): number[] {
    const query = folded(typed.trim());
    if (query === "") return this.#names.map((_, label) => label).slice(0, most);
    const words = query.split(/\s+/);
    const ranked: [rank: number, label: number][] = [];
    this.#folded.forEach((name, label) => {
      const rank = String(label) === query ? 0 : rankOf(name, query, words);
      if (rank !== undefined) ranked.push([rank, label]);
    });
    return ranked.sort(([a, i], [b, j]) => a - b || i - j).slice(0, most).map(([, label]) => label);
  }
}

function rankOf(name: string, query: string, words: readonly string[]): number | undefined {
  const synonyms = name.split(/\s*,\s*/);
  if (synonyms.includes(query)) return 1;
  if (synonyms.some((synonym) => synonym.startsWith(query))) return 2;
  if (name.includes(` ${query}`) || name.includes(`-${query}`)) return 3;
  if (name.includes(query)) return 4;
  return words.length > 1 && words.every((word) => name.includes(word)) ? 5 : undefined;
}

function folded(text: string): string {
  return text.normalize("NFD").replaceAll(/\p{M}/gu, "").toLowerCase().replaceAll("_", " ");
}
