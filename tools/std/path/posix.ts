/** Paths with `/`, as Linux and macOS write them. */
import * as lexical from "./_lexical.ts";

/** Stands between two names. */
export const SEPARATOR = "/" as const;

const POSIX: lexical.Family = {
  separator: SEPARATOR,
  fold: (name) => name,
  split: (path) => ({
    root: path.startsWith("/") ? "/" : "",
    absolute: path.startsWith("/"),
    names: path.split("/").filter((name) => name !== ""),
    trailing: path.endsWith("/"),
  }),
};

function text(path: string | URL): string {
  return path instanceof URL ? fromFileUrl(path) : path;
}

/** Whether a path starts at the root. */
export function isAbsolute(path: string): boolean {
  return POSIX.split(path).absolute;
}

/** A path without `.`, doubled separators, and `..` as far as it goes. */
export function normalize(path: string | URL): string {
  return lexical.normalize(text(path), POSIX);
}

/** Paths put one after the other, and normalised. */
export function join(path: string | URL, ...paths: string[]): string {
  return normalize([text(path), ...paths].filter((part) => part !== "").join(SEPARATOR));
}

/** The absolute path that the segments lead to from the working directory. */
export function resolve(...pathSegments: string[]): string {
  const start = pathSegments.findLastIndex(isAbsolute);
  const base = start < 0 ? [Deno.cwd()] : [];
  const path = join("", ...base, ...pathSegments.slice(Math.max(start, 0)));
  return path.length > 1 && path.endsWith(SEPARATOR) ? path.slice(0, -1) : path;
}

/** The way from one path to another. */
export function relative(from: string, to: string): string {
  return lexical.relative(resolve(from), resolve(to), POSIX);
}

/** The path without its last name. */
export function dirname(path: string | URL): string {
  return lexical.dirname(text(path), POSIX);
}

/** The last name of a path, without `suffix` at its end. */
export function basename(path: string | URL, suffix = ""): string {
  return lexical.basename(text(path), suffix, POSIX);
}

/**
 * The path of a `file:` URL.
 *
 * @throws {TypeError} for a URL of another kind
 */
export function fromFileUrl(url: string | URL): string {
  return lexical.unescape(lexical.fileUrl(url).pathname);
}

/**
 * The `file:` URL of an absolute path.
 *
 * @throws {TypeError} for a relative path
 */
export function toFileUrl(path: string): URL {
  if (!isAbsolute(path)) throw new TypeError(`Path must be absolute: received "${path}"`);
  const url = new URL("file:///");
  url.pathname = lexical.escape(path.replace(/^\/+/, SEPARATOR));
  return url;
}
