/**
 * Which requests are answered at all. A server on this machine is within reach of every page that its
 * user has open in a browser, so each request has to say that it comes from the studio's own page, or
 * from no page.
 */
import { HttpError } from "./http_error.ts";

/** Headers of every answer. */
export const SAFE_HEADERS: Readonly<Record<string, string>> = {
  // nothing but what comes from here; WebAssembly is made at run time, and threads start from blobs
  "content-security-policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; " +
    "style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
    "frame-ancestors 'none'",
  // so that the page is cross-origin isolated and has threads
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
};

/** Under which names the server is reached. */
export interface Names {
  /** Names that are given on the command line, beside those that are always its own. */
  readonly names: readonly string[];
  /** The address that it listens on. */
  readonly host: string;
}

/**
 * Refuses requests under another name than the server's own: a page of others can have its own name
 * point here (DNS rebinding), but cannot send another `Host` than that name. And those that a page of
 * another origin sends, by `Origin` and `Sec-Fetch-Site`, but for links to the page itself.
 *
 * @throws {HttpError}
 */
export function guard(request: Request, path: string, names: Names): void {
  const { method, headers, url } = request;
  const host = headers.get("host") ?? "";
  // the address itself may have a name as well, as those to proxies do
  if (!isOwnName(host, names) || !isOwnName(new URL(url).host, names)) {
    const known = "localhost, or by its number";
    throw new HttpError(421, `expected to be asked for as ${known}; name others with --names`);
  }
  const origin = headers.get("origin");
  if (origin !== null && origin !== `http://${host}` && origin !== `https://${host}`) {
    throw new HttpError(403, "expected a request of the studio's own page");
  }
  const site = headers.get("sec-fetch-site") ?? "none";
  if (site === "same-origin" || site === "none") return;
  const isLink = method === "GET" && path === "/" &&
    headers.get("sec-fetch-mode") === "navigate" && headers.get("sec-fetch-dest") === "document";
  if (!isLink) throw new HttpError(403, "expected a request of the studio's own page");
}

/** Whether a `Host` is one of the server's own; ports may be others, behind tunnels. */
function isOwnName(host: string, { names, host: bound }: Names): boolean {
  const [, name] = /^(\[[\da-f:.]+\]|[\w.-]+)(?::\d{1,5})?$/i.exec(host.toLowerCase()) ?? [];
  if (name === undefined) return false;
  if (name === "localhost" || name === bound.toLowerCase()) return true;
  // no name, so nobody's to point elsewhere
  if (name.startsWith("[") || /^\d+\.\d+\.\d+\.\d+$/.test(name)) return true;
  return names.some((own) => own.toLowerCase() === name);
}
