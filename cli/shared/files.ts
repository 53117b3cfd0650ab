/** Files of commands: whether they are there, and written so that one that is there can be read. */
import { foreignKindOf, writeAtomically } from "@dit/core/io";
import { dirname, join } from "@std/path";
import { CommandError, messageOf, UsageError } from "./errors.ts";
export { exists } from "@dit/data";

/** Whether there is a folder at `path`. */
export async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Makes a folder, unless it is there.
 *
 * @param what Names the folder in messages, such as a flag; its path alone by default.
 * @throws {CommandError} where it cannot be made.
 */
export async function makeFolder(path: string, what?: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
  } catch (error) {
    const isFile = [Deno.errors.AlreadyExists, Deno.errors.NotADirectory]
      .some((kind) => error instanceof kind);
    const name = what === undefined ? path : `${what}: ${path}`;
    const found = isFile ? "a file is there" : messageOf(error);
    throw new CommandError(`${name}: expected a folder to write to but ${found}`, { cause: error });
  }
}

/**
 * Makes a folder that long work writes to, and tries whether files can be written in it: what stands
 * in its way is said before the work.
 *
 * @param what Names the folder in messages, such as a flag; its path alone by default.
 * @throws {CommandError} where it cannot be made, or written to.
 */
export async function prepareFolder(path: string, what?: string): Promise<void> {
  await makeFolder(path, what);
  await tryToWrite(what === undefined ? "" : `${what}: `, path, join(path, "probe"));
}

/** Writes a file of no content where `path` will be, under a name of its own, and removes it. */
async function tryToWrite(prefix: string, what: string, path: string): Promise<void> {
  const probe = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await Deno.writeFile(probe, new Uint8Array(), { createNew: true });
    await Deno.remove(probe);
  } catch (error) {
    throw new CommandError(`${prefix}could not write ${what}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/**
 * Makes the folder of a file that is written at the end of long work, and tries whether the file
 * can be written: what stands in its way is said before the work, not after it.
 *
 * @param what Names the file in messages, such as a flag.
 * @throws {UsageError} where a folder has its name.
 * @throws {CommandError} where nothing can be written beside it.
 */
export async function prepareFile(what: string, path: string): Promise<void> {
  await makeFolder(dirname(path), what);
  await tryToWrite(`${what}: `, path, path);
  if (await isFolder(path)) {
    throw new UsageError(`${what}: expected a file to write but ${path} is a folder`);
  }
}

/** Writes a file under its name only once it is whole. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  try {
    await writeAtomically(path, (sink) => sink.writeAt(0, bytes));
  } catch (error) {
    throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Writes a page that is looked at while it is written again and again: whole or not at all, but not
 * forced to the disk, which would cost more than the page.
 */
export async function writePage(path: string, content: string): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await Deno.writeTextFile(temporary, content, { createNew: true });
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Lines of a file, read bit by bit; none where there is no file. */
export async function* readLines(path: string): AsyncGenerator<string> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  let rest = "";
  for await (const text of file.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== "") yield rest;
}

/** Whether what is appended to a file begins a line: it ends one, is empty, or there is none. */
export async function endsLine(path: string): Promise<boolean> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return true;
    throw error;
  }
  using _ = file;
  if ((await file.stat()).size === 0) return true;
  await file.seek(-1, Deno.SeekMode.End);
  const last = new Uint8Array(1);
  return await file.read(last) === 1 && last[0] === 0x0a;
}

/** Leaves those lines of a file that are to stay; all or none of the others go. */
export async function rewriteLines(path: string, stays: (line: string) => boolean): Promise<void> {
  try {
    await writeAtomically(path, async (sink) => {
      const encoder = new TextEncoder();
      let at = 0;
      for await (const part of inParts(readLines(path), stays)) {
        const bytes = encoder.encode(part);
        await sink.writeAt(at, bytes);
        at += bytes.length;
      }
    });
  } catch (error) {
    throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Lines that stay, many in one piece. */
async function* inParts(
  lines: AsyncIterable<string>,
  stays: (line: string) => boolean,
): AsyncGenerator<string> {
  let part = "";
  for await (const line of lines) {
    if (stays(line)) part += `${line}\n`;
    if (part.length < PART) continue;
    yield part;
    part = "";
  }
  yield part;
}

/** Characters that are written at a time. */
const PART = 1 << 16;

/** What `@dit/core/io` calls files that it is writing. */
const TEMPORARY = /\.[0-9a-f]{8}\.tmp$/;

/** Which leftovers go. */
export interface Leftovers {
  /** The only file whose leftovers go, by its name; any by default. */
  readonly of?: string;
  /** Minutes since something was written to them last: another process may be at it. 0 by default. */
  readonly minutes?: number;
}

/** Removes what a killed process left half written in a folder. */
export async function removeTemporaries(
  folder: string,
  { of, minutes = 0 }: Leftovers = {},
): Promise<void> {
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (!isFile || !TEMPORARY.test(name)) continue;
    if (of !== undefined && name.replace(TEMPORARY, "") !== of) continue;
    const path = join(folder, name);
    if (minutes > 0) {
      const written = (await Deno.stat(path).catch(() => null))?.mtime?.getTime();
      if (written === undefined || Date.now() - written < minutes * 60_000) continue;
    }
    await Deno.remove(path);
  }
}

/** Adds lines to a file. */
export async function appendLines(path: string, lines: string): Promise<void> {
  try {
    await Deno.writeTextFile(path, lines, { append: true });
  } catch (error) {
    throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * A JSON file that holds an object.
 *
 * @throws {CommandError} where there is none, or something else.
 */
export async function readJson(path: string): Promise<Record<string, unknown>> {
  const bytes = await Deno.readFile(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new CommandError(`${path}: expected a JSON file but found nothing there`);
  });
  const text = new TextDecoder().decode(bytes);
  try {
    const value = JSON.parse(text);
    if (value && typeof value === "object" && !Array.isArray(value)) return value;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const found = foreignKindOf(bytes) ?? "something else";
  throw new CommandError(`${path}: expected a JSON object but found ${found}`);
}
