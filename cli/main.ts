/** Entry of every command, in the process that does the work; `launch.ts` starts it. */
import { CommandError, EXIT, UsageError } from "./shared/errors.ts";

/** A command: gets its arguments, returns its exit code. */
export interface Command {
  /** Runs to its end. */
  run(args: readonly string[]): Promise<number>;
}

const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  train: () => import("./commands/train/command.ts"),
  "train-vae": () => import("./commands/train_vae/command.ts"),
  "extract-features": () => import("./commands/extract/command.ts"),
  sample: () => import("./commands/sample/command.ts"),
  download: () => import("./commands/download/command.ts"),
  export: () => import("./commands/export/command.ts"),
};

async function main([name = "", ...args]: readonly string[]): Promise<number> {
  const load = COMMANDS[name];
  if (!load) {
    console.error(`expected a command (${Object.keys(COMMANDS).join(", ")}) but got "${name}"`);
    return EXIT.usage;
  }
  try {
    return await (await load()).run(args);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    console.error(`${name}: ${error.message}`);
    if (error.name === "SelfTestError") return EXIT.unfit; // named: its class is the device's
    if (error instanceof UsageError) console.error(`See: deno task ${name} --help`);
    return error instanceof UsageError ? EXIT.usage : EXIT.failed;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
