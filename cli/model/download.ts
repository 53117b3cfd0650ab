/**
 * Downloads of files that are gigabytes large, over connections that break. What has arrived stays
 * in `NAME.part` and is continued by the next attempt, in this process or a later one; the file has
 * its name only once it is whole and checked.
 */
import { createHash } from "node:crypto";
import { dirname } from "@std/path";
import { CommandError, messageOf } from "../shared/errors.ts";

/** What is known of a file before it arrives. */
export interface Expected {
  /** Bytes, where they are known. */
  readonly bytes?: number | undefined;
  /** In hexadecimal, where it is known. */
  readonly sha256?: string | undefined;
}

/** Settings of {@link download}. */
export interface DownloadOptions extends Expected {
  /** Called as bytes arrive, with all that are there; `total` is null until a server says it. */
  readonly onProgress?: (bytes: number, total: number | null) => void;
  /** Called before each new attempt with what went wrong. */
  readonly onRetry?: (reason: string) => void;
  /** Attempts in a row that bring nothing before giving up; 5, or 3 where nothing ever came. */
  readonly attempts?: number;
  /** Milliseconds before the first new attempt, doubled for each one after it; 1000. */
  readonly pause?: number;
  /** Milliseconds without a byte after which a connection counts as broken; 30000. */
  readonly patience?: number;
}

/** A failure that may be gone a moment later: the connection, or a server that is busy. */
class Interrupted extends Error {}

/** What is remembered of a download that is not finished. */
interface PartState {
  readonly url: string;
  /** What the server calls this version of the file. */
  readonly tag: string | null;
}

/**
 * Downloads `url` to `path`. Proxies are those of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
 *
 * @throws {CommandError} where the file cannot be had, or is not the one expected.
 */
export async function download(
  url: string,
  path: string,
  options: DownloadOptions = {},
): Promise<void> {
  await Deno.mkdir(dirname(path), { recursive: true });
  const { pause = 1000 } = options;
  await using part = await PartFile.open(path, url);
  for (let failures = 0;;) {
    const before = part.length;
    try {
      await receive(part, url, options);
      break;
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      failures = part.length > before ? 1 : failures + 1;
      if (failures >= (options.attempts ?? (part.length > 0 ? 5 : 3))) {
        throw new CommandError(`${url}: ${error.message}${part.kept()}`, { cause: error });
      }
      options.onRetry?.(error.message);
      await new Promise((resume) => setTimeout(resume, pause * 2 ** (failures - 1)));
    }
  }
  await part.finish(options);
}

/** One request: continues the part, or begins it anew where it cannot be continued. */
async function receive(part: PartFile, url: string, options: DownloadOptions): Promise<void> {
  const { bytes, patience = 30_000 } = options;
  if (bytes !== undefined && part.length > bytes) await part.restart(null);
  if (bytes !== undefined && part.length === bytes) return;
  const abort = new AbortController();
  let alarm = setTimeout(() => abort.abort(), patience);
  const alive = (): void => {
    clearTimeout(alarm);
    alarm = setTimeout(() => abort.abort(), patience);
  };
  let response: Response | undefined;
  try {
    response = await request(part, url, abort.signal);
    const total = await begin(part, url, response);
    if (total !== null && bytes !== undefined && total !== bytes) {
      throw new CommandError(
        `${url}: expected ${bytes} bytes but the server has a file of ${total}`,
      );
    }
    if (response.status === 416) return;
    options.onProgress?.(part.length, total ?? bytes ?? null);
    for await (const chunk of response.body ?? []) {
      alive();
      await part.append(chunk);
      options.onProgress?.(part.length, total ?? bytes ?? null);
    }
    if (total !== null && part.length < total) {
      throw new Interrupted(`the connection ended after ${part.length} of ${total} bytes`);
    }
  } catch (error) {
    if (error instanceof CommandError || error instanceof Interrupted) throw error;
    if (error instanceof Deno.errors.NotCapable) throw denied(url, error);
    const isDisk = error instanceof Error && "code" in error && error.code === "ENOSPC";
    if (isDisk) throw new CommandError(`${part.path}: the disk is full${part.kept()}`);
    throw new Interrupted(
      abort.signal.aborted ? `nothing arrived for ${patience / 1000} seconds` : reasonOf(error),
    );
  } finally {
    clearTimeout(alarm);
    // an unread body would keep its connection
    if (response?.body && !response.body.locked) await response.body.cancel().catch(() => {});
  }
}

async function request(part: PartFile, url: string, signal: AbortSignal): Promise<Response> {
  const headers = new Headers({ "accept-encoding": "identity" }); // ranges count plain bytes
  if (part.length > 0) {
    headers.set("range", `bytes=${part.length}-`);
    if (part.tag !== null) headers.set("if-range", part.tag);
  }
  return await fetch(url, { headers, signal });
}

/** Brings the part in line with what the server sends; returns the size of the whole file. */
async function begin(part: PartFile, url: string, response: Response): Promise<number | null> {
  const { status, headers } = response;
  const tag = strongTag(headers.get("etag"));
  if (status === 206) {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "");
    if (!range || Number(range[1]) !== part.length) {
      await part.restart(null);
      throw new Interrupted("the server sent another range than the one asked for");
    }
    return range[2] === "*" ? null : Number(range[2]);
  }
  if (status === 416) { // nothing behind the part: it is whole, or of another file
    const total = /^bytes \*\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1];
    if (Number(total) === part.length) return part.length;
    await part.restart(null);
    throw new Interrupted("the part on the disk is longer than the file");
  }
  if (status === 200) {
    await part.restart(tag);
    const length = headers.get("content-length");
    return length === null ? null : Number(length);
  }
  const text = `${status} ${response.statusText}`.trim();
  if (status === 408 || status === 429 || status >= 500) {
    throw new Interrupted(`the server answered ${text}`);
  }
  throw new CommandError(`${url}: the server answered ${text}`);
}

/** What fetch says, and why where it says that. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause ? ` (${messageOf(error.cause)})` : "";
  return messageOf(error) + cause;
}

/** A weak tag ("W/...") does not promise the same bytes. */
function strongTag(tag: string | null): string | null {
  return tag?.startsWith('"') ? tag : null;
}

function denied(url: string, cause: Error): CommandError {
  return new CommandError(
    `${url}: this command may not reach that address (${cause.message.split(",")[0]})`,
    { cause },
  );
}

/** `NAME.part`, and beside it `NAME.part.json` that says of what. */
class PartFile implements AsyncDisposable {
  readonly path: string;
  readonly #target: string;
  readonly #url: string;
  readonly #file: Deno.FsFile;
  #open = true;
  #length: number;
  #tag: string | null;

  private constructor(target: string, url: string, file: Deno.FsFile, length: number) {
    this.path = `${target}.part`;
    this.#target = target;
    this.#url = url;
    this.#file = file;
    this.#length = length;
    this.#tag = null;
  }

  /** Opens what an earlier attempt has left, or an empty part. Another process is kept out. */
  static async open(target: string, url: string): Promise<PartFile> {
    const path = `${target}.part`;
    const file = await Deno.open(path, { create: true, read: true, write: true });
    try {
      if (!await file.tryLock(true)) {
        throw new CommandError(`${target}: another process is downloading it`);
      }
      const part = new PartFile(target, url, file, (await file.stat()).size);
      if (part.length > 0) await part.#recall();
      return part;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Bytes that are there. */
  get length(): number {
    return this.#length;
  }

  /** What the server called the version of the file that the part is of. */
  get tag(): string | null {
    return this.#tag;
  }

  /** For messages: that a new attempt will continue. */
  kept(): string {
    return this.#length > 0 ? `; ${this.#length} bytes are kept, and continued next time` : "";
  }

  /** Empties the part, for a version of the file. */
  async restart(tag: string | null): Promise<void> {
    await this.#file.truncate(0);
    this.#length = 0;
    this.#tag = tag;
    const state: PartState = { url: this.#url, tag };
    await Deno.writeTextFile(`${this.path}.json`, JSON.stringify(state));
  }

  async append(chunk: Uint8Array): Promise<void> {
    await this.#file.seek(this.#length, Deno.SeekMode.Start);
    for (let done = 0; done < chunk.length;) {
      done += await this.#file.write(chunk.subarray(done));
    }
    this.#length += chunk.length;
  }

  /**
   * Checks the whole file and gives it its name.
   *
   * @throws {CommandError} where it is not the file expected; it is removed then.
   */
  async finish({ bytes, sha256 }: Expected): Promise<void> {
    const faults: string[] = [];
    if (bytes !== undefined && this.#length !== bytes) {
      faults.push(`expected ${bytes} bytes but got ${this.#length}`);
    } else if (sha256 !== undefined) {
      const found = await sha256Of(this.#file);
      if (!found.startsWith(sha256)) faults.push(`expected ${hashText(sha256)} but got ${found}`);
    }
    if (faults.length > 0) {
      this.#close();
      await Deno.remove(this.path);
      await this.#forget();
      throw new CommandError(`${this.#url}: ${faults[0]}; what arrived was removed`);
    }
    await this.#file.sync();
    this.#close();
    await Deno.rename(this.path, this.#target);
    await this.#forget();
  }

  /** Closes the part; an empty one goes away. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#open) return;
    this.#close();
    if (this.#length > 0) return;
    await Deno.remove(this.path);
    await this.#forget();
  }

  /** Reads what the part is of, and empties it where that is not this file. */
  async #recall(): Promise<void> {
    let state: PartState | undefined;
    try {
      state = JSON.parse(await Deno.readTextFile(`${this.path}.json`));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound || error instanceof SyntaxError)) throw error;
    }
    if (state?.url === this.#url) this.#tag = state.tag;
    else await this.restart(null);
  }

  async #forget(): Promise<void> {
    await Deno.remove(`${this.path}.json`).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }

  #close(): void {
    this.#file.close();
    this.#open = false;
  }
}

/** A SHA-256 that is expected, for messages: all of it, or its first digits. */
export function hashText(sha256: string): string {
  return sha256.length < 64 ? `a SHA-256 that begins with ${sha256}` : `the SHA-256 ${sha256}`;
}

/** The SHA-256 of an open file from its beginning, in hexadecimal. */
async function sha256Of(file: Deno.FsFile): Promise<string> {
  const hash = createHash("sha256"); // Web Crypto would need the whole file in memory
  const buffer = new Uint8Array(1 << 20);
  await file.seek(0, Deno.SeekMode.Start);
  for (let count; (count = await file.read(buffer)) !== null;) {
    hash.update(buffer.subarray(0, count));
  }
  return hash.digest("hex");
}

/** The SHA-256 of the file at `path`, in hexadecimal. */
export async function fileSha256(path: string): Promise<string> {
  using file = await Deno.open(path);
  return await sha256Of(file);
}
