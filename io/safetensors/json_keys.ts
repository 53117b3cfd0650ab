/**
 * Finds a key that occurs twice in one object of valid JSON, which `JSON.parse` would silently
 * resolve in favour of the later one.
 *
 * @param text JSON that `JSON.parse` accepts.
 * @returns The first repeated key and its offset in the text, or undefined.
 */
export function findRepeatedKey(text: string): { key: string; offset: number } | undefined {
  // One entry per open bracket: the keys seen in an object, or null for an array.
  const open: (Set<string> | null)[] = [];
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "{") open.push(new Set());
    else if (c === "[") open.push(null);
    else if (c === "}" || c === "]") open.pop();
    else if (c === '"') {
      const start = i++;
      while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
      const keys = open.at(-1);
      if (!keys || !isBeforeColon(text, i + 1)) continue;
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      if (keys.has(key)) return { key, offset: start };
      keys.add(key);
    }
  }
  return undefined;
}

function isBeforeColon(text: string, at: number): boolean {
  while (" \t\n\r".includes(text[at] ?? ".")) at++;
  return text[at] === ":";
}
