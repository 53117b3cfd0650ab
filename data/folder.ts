/** Listing folders of data: the one place that says which files and folders in one are meant. */
import { join } from "@std/path";
import { DataError } from "./errors.ts";

/** What is in a folder, but for what is hidden; names in the order of the system. */
export interface FolderContent {
  /** Names of folders, and of links to folders. */
  readonly folders: string[];
  /** Names of everything else. */
  readonly files: string[];
}

/** How a folder is listed. */
export interface ListOptions {
  /** What it should be, for the error that it is not there: "a folder" by default. */
  readonly expected?: string;
  /** The folders that it lies in, as they were reached: a link back to one of them is an error. */
  readonly around?: readonly string[];
}

/** Folders that systems and archivers put beside a person's files. Those with a dot are hidden. */
const SYSTEM_FOLDERS: readonly string[] = [
  "@eaDir",
  "#recycle",
  "$RECYCLE.BIN",
  "System Volume Information",
  "__MACOSX",
  "lost+found",
];

/**
 * Lists a folder. Hidden are names that begin with a dot, such as `.DS_Store` and the `._NAME` that
 * macOS writes beside a NAME on disks of others, and the folders of systems and archivers.
 *
 * @throws {DataError} If there is no such folder, a folder in it has a name that cannot be opened, or
 * a link leads back to where it lies.
 */
export async function listFolder(
  folder: string,
  { expected = "a folder", around = [] }: ListOptions = {},
): Promise<FolderContent> {
  const found: FolderContent = { folders: [], files: [] };
  try {
    for await (const entry of Deno.readDir(folder)) {
      if (entry.name.startsWith(".")) continue;
      const isFolder = entry.isSymlink
        ? await leadsToFolder(join(folder, entry.name), [...around, folder])
        : entry.isDirectory;
      if (!isFolder) {
        const isReadable = entry.isFile || entry.isSymlink; // a pipe or a socket may never end
        if (isReadable) found.files.push(entry.name);
      } else if (!SYSTEM_FOLDERS.includes(entry.name)) found.folders.push(entry.name);
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotADirectory) {
      throw new DataError(`${folder}: expected ${expected} but it is not a directory`);
    }
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new DataError(`${folder}: expected ${expected} but found nothing there`);
  }
  for (const name of found.folders) {
    if (!await isUnnameable(join(folder, name))) continue;
    throw new DataError(
      `${folder}: expected names of folders in UTF-8 but found ${shown(name)}; rename it`,
    );
  }
  return found;
}

/** What stands for the bytes of a name that are no UTF-8. */
const REPLACEMENT = "\ufffd";

/**
 * Whether a path that a folder was listed with leads nowhere because it is no UTF-8: the bytes that
 * are none were lost, and nothing has the name that is left.
 */
export async function isUnnameable(path: string): Promise<boolean> {
  return path.includes(REPLACEMENT) && await Deno.lstat(path).then(() => false, isNotFound);
}

/** A name or path to show: as it is, or in quotes and escaped where a terminal cannot show it. */
export function shown(path: string): string {
  if (!/[\p{Cc}\ufffd]/u.test(path)) return path;
  return JSON.stringify(path).replaceAll(REPLACEMENT, "\\ufffd");
}

/** Whether a link leads to a folder. One that leads nowhere is a file, and damaged if it is read. */
async function leadsToFolder(link: string, around: readonly string[]): Promise<boolean> {
  try {
    if (!(await Deno.stat(link)).isDirectory) return false;
  } catch (error) {
    if (isNotFound(error) || error instanceof Deno.errors.FilesystemLoop) return false;
    throw error;
  }
  await refuseLoop(link, around);
  return true;
}

async function refuseLoop(link: string, around: readonly string[]): Promise<void> {
  const target = await Deno.realPath(link);
  for (const folder of around) {
    if (await Deno.realPath(folder) !== target) continue;
    throw new DataError(
      `${link}: expected images but it is a link back to ${folder}, which has no end; remove it`,
    );
  }
}

/** Whether there is something at a path; a link that leads nowhere is nothing. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound;
}

/**
 * Compares by code point, as Python's `sorted` does, and with it torchvision's `ImageFolder`.
 * JavaScript's own order is that of UTF-16 code units, in which emoji (two surrogates, 0xd800 to
 * 0xdfff) come before U+E000 to U+FFFF rather than after.
 */
export function byCodePoint(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return isSurrogate(x) === isSurrogate(y) ? x - y : beyond(x) - beyond(y);
  }
  return a.length - b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

/** A code unit in the order of code points: surrogates stand for 0x10000 and above. */
function beyond(unit: number): number {
  return isSurrogate(unit) ? 0x10000 : unit;
}
