/** Files of commands: whether they are there, and written so that one that is there can be read. */
import { writeAtomically } from "@dit/core/io";
import { join } from "@std/path";
import { CommandError, messageOf } from "./errors.ts";

/** Writes a file under its name only once it is whole. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  try {
    await writeAtomically(path, (sink) => sink.writeAt(0, bytes));
  } catch (error) {
    throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** What `@dit/core/io` calls files that it is writing. */
const TEMPORARY = /\.[0-9a-f]{8}\.tmp$/;

/** Removes what a killed process left half written in a folder. */
export async function removeTemporaries(folder: string): Promise<void> {
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (isFile && TEMPORARY.test(name)) await Deno.remove(join(folder, name));
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

/** Whether there is something at a path. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A JSON file that holds an object. */
export async function readJson(path: string): Promise<Record<string, unknown>> {
  const text = await Deno.readTextFile(path);
  try {
    const value = JSON.parse(text);
    if (value && typeof value === "object" && !Array.isArray(value)) return value;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new CommandError(`${path}: expected a JSON object but found something else`);
}
