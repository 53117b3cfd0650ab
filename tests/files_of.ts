/** Reading the files of a page, to serve them from memory. */
import { relative } from "@std/path";
import type { Served } from "./browser.ts";

/** All files of a folder, by their paths in it. */
export async function filesOf(folder: string, root = folder): Promise<Map<string, Served>> {
  const files = new Map<string, Served>();
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) { for (const entry of await filesOf(path, root)) files.set(...entry); }
    else files.set(relative(root, path).replaceAll("\\", "/"), await Deno.readFile(path));
  }
  return files;
}
