/** Entry of every command, in the process that does the work; `launch.ts` starts it. */
import { findCommand, unknownCommand } from "./commands.ts";
import { CommandError, EXIT, UsageError } from "./shared/errors.ts";

/** A command: gets its arguments, returns its exit code. */
export interface Command {
  /** Runs to its end. */
  run(args: readonly string[]): Promise<number>;
}

/** Runs one command line to its end; returns its exit code. */
export async function main([name = "", ...args]: readonly string[]): Promise<number> {
  const row = findCommand(name);
  if (!row) {
    console.error(unknownCommand(name));
    return EXIT.usage;
  }
  try {
    // by a computed name, so that only this command's modules are loaded
    const command: Command = await import(new URL(row.module, import.meta.url).href);
    return await command.run(args);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    console.error(`${name}: ${error.message}`);
    if (error.name === "FastTierError") return EXIT.unfit; // by name: its module loads the engine
    if (error instanceof UsageError) console.error(`See: deno task ${name} --help`);
    return error instanceof UsageError ? EXIT.usage : EXIT.failed;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
