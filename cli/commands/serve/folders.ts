/** What may be served of folders that others write to: what is really in them, and files only. */
import { crc32 } from "@dit/core/io";
import { join } from "@std/path";

/** Most characters of an id that come from one name. */
const LONGEST = 80;

/**
 * An id of names, the same for the same names: their letters, digits, `-`, `_` and `.`; with a
 * checksum where that is not all of a name.
 */
export function idOf(...names: readonly string[]): string {
  const simple = names.map((name) => name.replaceAll(/[^A-Za-z0-9_.-]/g, "_").slice(0, LONGEST));
  const id = simple.join(".").replace(/^[.-]/, "_").slice(0, LONGEST + 8);
  if (id === names.join(".")) return id;
  return `${id}.${crc32(new TextEncoder().encode(names.join("/"))).toString(16)}`;
}

/** Whether a path leads to something in a folder, links followed; false where there is nothing. */
export async function isWithin(path: string, folder: string): Promise<boolean> {
  try {
    const [real, root] = await Promise.all([Deno.realPath(path), Deno.realPath(folder)]);
    return real.startsWith(join(root, "_").slice(0, -1)); // the folder with its separator
  } catch {
    return false;
  }
}

/** Whether a path leads to a file, and not to a pipe or a device, which reading may never end. */
export async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}
