/**
 * Files on a web server, read by ranges (RFC 9110, section 14), so that of a file of gigabytes only
 * the tensors that are asked for are fetched.
 */
import { FormatError } from "./errors.ts";
import { bytesSource, type RandomAccess } from "./source.ts";

/** How a file is fetched. */
export interface HttpOptions {
  /** Ends all that is under way. */
  readonly signal?: AbortSignal;
  /** Called with the number of bytes that have arrived so far. */
  readonly onProgress?: (bytes: number) => void;
  /** In place of the runtime's own. */
  readonly fetch?: (url: URL, init: RequestInit) => Promise<Response>;
}

/** Bytes of the first request, which usually hold the header; no request is for less. */
const FIRST_BYTES = 1 << 16;
/** Bytes that are fetched ahead, at most, where a file is read from one end to the other. */
const MOST_AHEAD = 1 << 22;

/**
 * Opens a file on a web server. The first request takes its beginning; where the server sends the
 * whole file instead, as those do that know no ranges, that is kept and nothing else is asked for.
 *
 * @param url Of the file, `http:` or `https:`; a text is relative to the page.
 * @throws {FormatError} If the server has no such file, sends other bytes than were asked for, or
 * (when it is read) the file has changed since it was opened.
 */
export async function openHttp(
  url: string | URL,
  options: HttpOptions = {},
): Promise<RandomAccess> {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  const file = new HttpFile(new URL(url, base), options);
  return await file.open();
}

/** What tells one state of a file on a server from another. */
interface Version {
  readonly size: number;
  readonly tag: string | null;
}

/** Bytes of the file that have been fetched. */
interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

class HttpFile implements RandomAccess {
  readonly name: string;
  size = 0;
  readonly #url: URL;
  readonly #options: HttpOptions;
  readonly #closing = new AbortController();
  #version: Version = { size: 0, tag: null };
  #received = 0;
  #first: Piece = { offset: 0, bytes: new Uint8Array() };
  /** What was fetched last, and the bytes to fetch at once if reading goes on from its end. */
  #last: Piece = this.#first;
  #ahead = FIRST_BYTES;

  constructor(url: URL, options: HttpOptions) {
    this.#url = url;
    this.name = url.href;
    this.#options = options;
  }

  /** Fetches the beginning; the whole file in memory where the server knows no ranges. */
  async open(): Promise<RandomAccess> {
    const response = await this.#fetch(0, FIRST_BYTES);
    if (response.status === 200) return bytesSource(await this.#bytesOf(response), this.name);
    if (response.status === 416) { // nothing at all, where even the first byte is out of range
      await response.body?.cancel();
      if (totalOf(response) === 0) return bytesSource(new Uint8Array(), this.name);
      throw this.#wrong("response", "a range that begins at byte 0", "status 416");
    }
    const range = rangeOf(response);
    if (range === undefined || range.total === undefined) return await this.#openWhole(response);
    const { start, end, total } = range;
    const length = Math.min(FIRST_BYTES, total);
    if (start !== 0 || end !== length) throw this.#otherRange(0, length, start, end);
    const bytes = await this.#bytesOf(response, length);
    this.#first = this.#last = { offset: 0, bytes };
    this.#version = { size: total, tag: tagOf(response) };
    this.size = total;
    return this;
  }

  /** From a server of another origin that does not let a page see the size. */
  async #openWhole(response: Response): Promise<RandomAccess> {
    await response.body?.cancel();
    const whole = await this.#fetch();
    if (whole.status !== 200) throw this.#status(whole);
    return bytesSource(await this.#bytesOf(whole), this.name);
  }

  async readInto(offset: number, target: Uint8Array): Promise<void> {
    const length = target.byteLength;
    if (offset < 0 || offset + length > this.size) {
      throw this.#wrong(
        `byte ${offset}`,
        `${length} more bytes`,
        `a file of ${this.size} bytes`,
      );
    }
    let filled = 0;
    while (filled < length) {
      const at = offset + filled;
      const piece = [this.#first, this.#last].find((known) => holds(known, at)) ??
        await this.#piece(at, length - filled);
      const from = at - piece.offset;
      const part = piece.bytes.subarray(from, Math.min(piece.bytes.length, from + length - filled));
      target.set(part, filled);
      filled += part.length;
    }
  }

  close(): void {
    this.#closing.abort(new Error(`${this.name}: read after it was closed`));
    this.#first = this.#last = { offset: 0, bytes: new Uint8Array() };
  }

  /** Fetches bytes from `at` on: more and more ahead where the file is read in order. */
  async #piece(at: number, length: number): Promise<Piece> {
    const follows = at === this.#last.offset + this.#last.bytes.length;
    this.#ahead = follows ? Math.min(MOST_AHEAD, 2 * this.#ahead) : FIRST_BYTES;
    const wanted = Math.min(this.size - at, Math.max(length, this.#ahead));
    const response = await this.#fetch(at, wanted);
    if (response.status !== 206) {
      await response.body?.cancel();
      if (response.status === 200 || response.status === 416) throw this.#changed();
      throw this.#status(response);
    }
    const range = rangeOf(response);
    const isSame = (range?.total ?? this.size) === this.#version.size &&
      tagOf(response) === this.#version.tag;
    if (!isSame) {
      await response.body?.cancel();
      throw this.#changed();
    }
    if (range?.start !== at || range.end !== at + wanted) {
      await response.body?.cancel();
      throw this.#otherRange(at, wanted, range?.start ?? NaN, range?.end ?? NaN);
    }
    const piece = { offset: at, bytes: await this.#bytesOf(response, wanted) };
    this.#last = piece;
    return piece;
  }

  /** Asks for `length` bytes from `offset` on, or for all. */
  async #fetch(offset?: number, length?: number): Promise<Response> {
    const { signal, fetch: get = fetch } = this.#options;
    const ends = [this.#closing.signal, ...(signal ? [signal] : [])];
    const headers: Record<string, string> = offset === undefined
      ? {}
      : { range: `bytes=${offset}-${offset + length! - 1}` };
    const response = await get(this.#url, { headers, signal: AbortSignal.any(ends) });
    if (![200, 206, 416].includes(response.status)) {
      await response.body?.cancel();
      throw this.#status(response);
    }
    return response;
  }

  /** The body of an answer, which must have `length` bytes where that is known. */
  async #bytesOf(response: Response, length?: number): Promise<Uint8Array<ArrayBuffer>> {
    const parts: Uint8Array[] = [];
    let size = 0;
    const reader = response.body?.getReader(); // Safari has no other way to read one
    while (reader) {
      const { done, value: part } = await reader.read();
      if (done) break;
      parts.push(part);
      size += part.length;
      if (length !== undefined && size > length) { // it is not what was asked for
        await reader.cancel();
        break;
      }
      this.#received += part.length;
      this.#options.onProgress?.(this.#received);
    }
    const announced = Number(response.headers.get("content-length") ?? NaN);
    const isEncoded = (response.headers.get("content-encoding") ?? "identity") !== "identity";
    const expected = length ?? (isEncoded || Number.isNaN(announced) ? size : announced);
    if (size !== expected) {
      throw this.#wrong("response", `${expected} bytes`, size > expected ? "more" : `${size}`);
    }
    const bytes = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  #wrong(place: string, expected: string, found: string): FormatError {
    return new FormatError(this.name, place, expected, found);
  }

  #status({ status, statusText }: Response): FormatError {
    return this.#wrong("response", "a file", `status ${status} ${statusText}`.trimEnd());
  }

  #otherRange(offset: number, length: number, start: number, end: number): FormatError {
    const found = Number.isNaN(start) ? "others" : `${start} to ${end - 1}`;
    return this.#wrong("response", `bytes ${offset} to ${offset + length - 1}`, found);
  }

  #changed(): FormatError {
    return this.#wrong(
      "response",
      "the file as it was when it was opened",
      "another, written since then; open it again",
    );
  }
}

function holds({ offset, bytes }: Piece, at: number): boolean {
  return at >= offset && at < offset + bytes.length;
}

/** The bytes that an answer says it holds, `[start, end)`, and the size of the file. */
function rangeOf(
  response: Response,
): { start: number; end: number; total: number | undefined } | undefined {
  const text = response.headers.get("content-range");
  const found = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(text ?? "");
  if (found === null) return undefined;
  const [start, last] = [Number(found[1]), Number(found[2])];
  return { start, end: last + 1, total: found[3] === "*" ? undefined : Number(found[3]) };
}

/** The size of the file in an answer that no range fits. */
function totalOf(response: Response): number | undefined {
  const found = /^bytes \*\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  return found === null ? undefined : Number(found[1]);
}

/** What changes with the file, as far as the server tells. */
function tagOf(response: Response): string | null {
  return response.headers.get("etag") ?? response.headers.get("last-modified");
}
