/** Writing the files of a run, so that one that is there can be read. */
import { CommandError, messageOf } from "./errors.ts";

/** Writes a file under its name only once it is whole. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    if (typeof content === "string") await Deno.writeTextFile(temporary, content);
    else await Deno.writeFile(temporary, content);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {}); // it may not be there
    throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
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
