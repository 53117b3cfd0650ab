/** Paths with `\`, drives and shares, as Windows writes them; `/` is read as `\`. */
import * as lexical from "./_lexical.ts";

/** Stands between two names. */
export const SEPARATOR = "\\" as const;

/** A share with its host, or a drive, or neither, and whether a separator follows. */
const ROOT = /^(?:(\\\\[^\\]+\\+[^\\]+)|([A-Za-z]:))?(\\?)/;

const WINDOWS: lexical.Family = {
  separator: SEPARATOR,
  fold: (name) => name.toLowerCase(),
  split(path) {
    const text = path.replaceAll("/", SEPARATOR);
    const [whole, share, drive = "", slash] = ROOT.exec(text)!;
    const absolute = share !== undefined || slash !== "";
    const device = share === undefined ? drive : share.replace(/(?<=[^\\])\\+/, SEPARATOR);
    const rest = text.slice(whole.length);
    return {
      root: device + (absolute ? SEPARATOR : ""),
      absolute,
      names: rest.split(SEPARATOR).filter((name) => name !== ""),
      trailing: rest.endsWith(SEPARATOR),
    };
  },
};

function text(path: string | URL): string {
  return path instanceof URL ? fromFileUrl(path) : path;
}

/** Whether a path starts at the root of a drive or share, or of the current one. */
export function isAbsolute(path: string): boolean {
  return WINDOWS.split(path).absolute;
}

/** A path without `.`, doubled separators, and `..` as far as it goes. */
export function normalize(path: string | URL): string {
  return lexical.normalize(text(path), WINDOWS);
}

/** Paths put one after the other, and normalised. */
export function join(path: string | URL, ...paths: string[]): string {
  const parts = [text(path), ...paths].filter((part) => part !== "");
  const joined = parts.join(SEPARATOR);
  // Only the first part may name a share: "/" and "/x" must not make one by meeting.
  const isShare = /^[\\/]{2}[^\\/]/.test(parts[0] ?? "");
  return normalize(isShare ? joined : joined.replace(/^[\\/]+/, SEPARATOR));
}

/** The absolute path that the segments lead to from the working directory. */
export function resolve(...pathSegments: string[]): string {
  let path = Deno.cwd();
  for (const segment of pathSegments.filter((part) => part !== "")) {
    const { root, absolute } = WINDOWS.split(segment);
    const drive = /^[A-Za-z]:/.exec(root)?.[0];
    if (absolute && (drive !== undefined || root.length > 1)) path = segment;
    else if (absolute) path = join(device(path), segment);
    else if (drive === undefined) path = join(path, segment);
    else if (WINDOWS.fold(drive) === WINDOWS.fold(device(path))) {
      path = join(path, segment.slice(2));
    } else path = join(drive + SEPARATOR, segment.slice(2));
  }
  const full = normalize(path);
  return full.endsWith(SEPARATOR) && full !== WINDOWS.split(full).root ? full.slice(0, -1) : full;
}

function device(path: string): string {
  return WINDOWS.split(path).root.replace(/(?<=[^\\])\\$/, "");
}

/** The way from one path to another, or the other whole when it is on another drive. */
export function relative(from: string, to: string): string {
  return lexical.relative(resolve(from), resolve(to), WINDOWS);
}

/** The path without its last name. */
export function dirname(path: string | URL): string {
  return lexical.dirname(text(path), WINDOWS);
}

/** The last name of a path, without `suffix` at its end. */
export function basename(path: string | URL, suffix = ""): string {
  return lexical.basename(text(path), suffix, WINDOWS);
}

/**
 * The path of a `file:` URL.
 *
 * @throws {TypeError} for a URL of another kind
 */
export function fromFileUrl(url: string | URL): string {
  const { hostname, pathname } = lexical.fileUrl(url);
  const path = lexical.unescape(pathname).replaceAll("/", SEPARATOR);
  if (hostname !== "") return `${SEPARATOR}${SEPARATOR}${hostname}${path}`;
  return path.replace(/^\\+(?=[A-Za-z]:)/, "");
}

/**
 * The `file:` URL of an absolute path.
 *
 * @throws {TypeError} for a relative path, or a share without its host
 */
export function toFileUrl(path: string): URL {
  if (!isAbsolute(path)) throw new TypeError(`Path must be absolute: received "${path}"`);
  const [, host, rest] = /^(?:[\\/]{2}([^\\/]+)(?=[\\/][^\\/]))?(.*)$/s.exec(path)!;
  const url = new URL("file:///");
  url.pathname = lexical.escape(rest!.replaceAll(SEPARATOR, "/"));
  if (host !== undefined && host !== "localhost") url.hostname = host;
  return url;
}
