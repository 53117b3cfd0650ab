/** What paths of both families share once the root is split off: lists of names. */

/** A path taken apart: `root` is all that stays put when names are joined or go up. */
export interface Parts {
  /** `""`, `/`, `C:`, `C:\` or `\\host\share\`, separators normalised. */
  readonly root: string;
  readonly absolute: boolean;
  /** The names after the root, empty ones left out. */
  readonly names: readonly string[];
  /** Whether a separator follows the last name. */
  readonly trailing: boolean;
}

/** How one family of systems takes paths apart. */
export interface Family {
  readonly separator: string;
  split(path: string): Parts;
  /** Names as they are compared: Windows ignores case. */
  fold(name: string): string;
}

/** Names with `.` dropped and `..` applied; `..` above the start stays unless the path is absolute. */
function reduce(names: readonly string[], absolute: boolean): string[] {
  const out: string[] = [];
  for (const name of names) {
    if (name === ".") continue;
    if (name !== "..") out.push(name);
    else if (out.length > 0 && out.at(-1) !== "..") out.pop();
    else if (!absolute) out.push(name);
  }
  return out;
}

/** A path in its shortest form; a trailing separator is kept. */
export function normalize(path: string, family: Family): string {
  if (path === "") return ".";
  const { root, absolute, names, trailing } = family.split(path);
  const text = reduce(names, absolute).join(family.separator);
  if (text === "") return absolute ? root : `${root}.${trailing ? family.separator : ""}`;
  return root + text + (trailing ? family.separator : "");
}

/** The path without its last name. */
export function dirname(path: string, family: Family): string {
  const { root, names } = family.split(path);
  if (names.length <= 1) return root === "" ? "." : root;
  return root + names.slice(0, -1).join(family.separator);
}

/** The last name, without a suffix that is not all of it. */
export function basename(path: string, suffix: string, family: Family): string {
  const { root, absolute, names } = family.split(path);
  const name = names.at(-1) ?? (absolute && root === family.separator ? root : "");
  return suffix !== name && name.endsWith(suffix)
    ? name.slice(0, name.length - suffix.length)
    : name;
}

/** The names that lead from one absolute path to another, or `to` itself across roots. */
export function relative(from: string, to: string, family: Family): string {
  const [a, b] = [family.split(from), family.split(to)];
  if (family.fold(a.root) !== family.fold(b.root)) return to;
  let shared = 0;
  while (
    shared < a.names.length && shared < b.names.length &&
    family.fold(a.names[shared]!) === family.fold(b.names[shared]!)
  ) shared++;
  const up = a.names.slice(shared).map(() => "..");
  return [...up, ...b.names.slice(shared)].join(family.separator);
}

/** A `file:` URL, parsed and checked. */
export function fileUrl(url: string | URL): URL {
  const parsed = new URL(url);
  if (parsed.protocol !== "file:") {
    throw new TypeError(`URL must be a file URL: received "${parsed.protocol}"`);
  }
  return parsed;
}

/** A URL's path with its escapes resolved, a stray `%` standing for itself. */
export function unescape(pathname: string): string {
  return decodeURIComponent(pathname.replace(/%(?![0-9A-Fa-f]{2})/g, "%25"));
}

/** A path with everything escaped that a URL would not read as part of a name. */
export function escape(path: string): string {
  return path.replace(/[%\\\s?#]/g, encodeURIComponent);
}
