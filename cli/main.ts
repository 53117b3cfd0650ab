/** Entry of every command, in the process that does the work; `launch.ts` starts it. */
import { findCommand, unknownCommand } from "./commands.ts";
import { abortWorld, closeWorld } from "./distributed/open.ts";
import { CommandError, EXIT, UsageError } from "./shared/errors.ts";
import { rawFlags } from "./shared/flags.ts";
import { outliveTerminal } from "./shared/terminal.ts";

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
    const code = await command.run(args);
    await closeWorld();
    return code;
  } catch (error) {
    const isShared = row.shared === true && rawFlags(args).values["distributed"] !== "off";
    if (!(error instanceof CommandError)) {
      const text = error instanceof Error && error.stack ? error.stack : String(error);
      await abortWorld(text, EXIT.failed, isShared);
      throw error;
    }
    const text = `${name}: ${error.message}`;
    if (error.name === "FastTierError") { // by name: its module loads the engine
      await abortWorld(`${text}; start all ranks with --safe-wasm`, EXIT.failed, isShared);
      console.error(`${text}; starting again without the fast kernels`);
      return EXIT.unfit;
    }
    const isUsage = error instanceof UsageError;
    const code = isUsage ? EXIT.usage : EXIT.failed;
    const advice = isUsage ? `\nSee: deno task ${name} --help` : "";
    await abortWorld(text + advice, code, isShared);
    console.error(text + advice);
    return code;
  }
}

if (import.meta.main) {
  outliveTerminal();
  Deno.exit(await main(Deno.args));
}
