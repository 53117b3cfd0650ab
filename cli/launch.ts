/**
 * Starts a command in a process of its own, with the V8 flags that suit the machine and no more
 * rights than the command line needs:
 *
 *     deno run --allow-run --allow-env cli/launch.ts train --steps 100
 *
 * Where a launcher of MPI has started this process, the command gets the right to load its library,
 * and with `--gpu dawn` that to load Dawn, which is native code too.
 * V8's flags act from the start of a process, so they cannot be set from inside the command. This
 * process can start others, and therefore reads nothing and computes nothing; the one that reads
 * pictures and weights can write to its results only. It needs `--allow-run` without a name: with
 * one, Deno starts nothing where `LD_LIBRARY_PATH` is set, as `mpirun` and a cluster's modules do,
 * and MPI's library and a GPU's driver may be found through it.
 */
import { COMMANDS, findCommand, unknownCommand } from "./commands.ts";
import { type Environment, findLauncher, type Launcher } from "./distributed/launcher.ts";
import { MIRROR_VARIABLE } from "./model/catalog.ts";
import { STOP_SIGNALS } from "./run/stop.ts";
import { CommandError, EXIT, UsageError } from "./shared/errors.ts";
import { rawFlags } from "./shared/flags.ts";
import { TUNE_VARIABLE, tuneFolder } from "./tuning/folder.ts";

/**
 * V8's flags of the fast tier, as `tensor/wasm/device/tier.ts` asks for them: pairs of 128-bit
 * instructions become 256-bit ones, where the processor has them. Without effect on other processors than x86-64, so not given there: they would only
 * lose their checks.
 */
export const FAST_TIER =
  "--experimental-wasm-revectorize,--no-wasm-bounds-checks,--experimental-wasm-fp16";

/** Variables that commands read. */
const VARIABLES = ["DIT_LAUNCHED", "DENO_WEBGPU_BACKEND", MIRROR_VARIABLE, TUNE_VARIABLE] as const;

/** A path that a list of rights can hold: Deno separates them by commas and has no other way. */
function grantable(path: string): string {
  if (!path.includes(",")) return path;
  throw new CommandError(`expected a path to write to without a comma but got "${path}"`);
}

/** What started this process as one of several that share the command's work; null without. */
export function launcherOf(
  command: string,
  args: readonly string[],
  get?: Environment,
): Launcher | null {
  if (rawFlags(args).values["distributed"] === "off") return null;
  const launcher = findLauncher(get);
  if (COMMANDS[command]!.shared || launcher === null) return launcher;
  if (launcher.size === 1) return null;
  const those = Object.entries(COMMANDS).filter(([, row]) => row.shared).map(([name]) => name);
  throw new UsageError(
    `expected to be started once, but ${launcher.name} started ${launcher.size ?? "several"} ` +
      `processes; ${those.join(", ")} share their work among processes`,
  );
}

/** Whether `--safe-wasm` declines the fast tier, in any way in which the command takes it. */
export function isSafe(args: readonly string[]): boolean {
  return (rawFlags(args).values["safe-wasm"] ?? "false") !== "false";
}

/**
 * Arguments of `deno` that start a command with the rights it needs.
 *
 * @param plans The folder of measured plans, which commands that compute may write to.
 */
export function denoArguments(
  command: string,
  args: readonly string[],
  launcher: Launcher | null = null,
  plans: string | null = null,
): string[] {
  const { computes = false, grants: grantsOf } = COMMANDS[command]!;
  const flags = rawFlags(args);
  const { net = [], ...grants } = grantsOf(flags);
  const native = grants.native || launcher !== null;
  const write = grants.write.filter((path) => path !== ""); // which the command refuses
  // nothing is kept in a folder that cannot be granted
  if (computes && plans !== null && !plans.includes(",")) write.push(plans);
  return [
    "run",
    "--quiet",
    "--no-prompt",
    "--allow-read",
    "--allow-sys=systemMemoryInfo",
    ...(write.length > 0 ? [`--allow-write=${write.map(grantable).join(",")}`] : []),
    native ? "--allow-env" : `--allow-env=${VARIABLES.join(",")}`,
    ...(native || flags.values["gpu"] === "dawn" ? ["--allow-ffi"] : []),
    ...(net.length > 0 ? [`--allow-net=${net.join(",")}`] : []),
    new URL("main.ts", import.meta.url).href,
    command,
    ...args,
  ];
}

/** Runs a command to its end, in the fast tier or not; returns its exit code. */
async function run(
  command: string,
  args: readonly string[],
  launcher: Launcher | null,
  fast: boolean,
): Promise<number> {
  const plans = tuneFolder((name) => Deno.env.get(name));
  const child = new Deno.Command("deno", {
    args: denoArguments(command, args, launcher, plans),
    env: {
      NODEVICE_SELECT: "1", // keeps a layer of Mesa's from complaining
      DIT_LAUNCHED: "1",
      ...(plans === null ? {} : { [TUNE_VARIABLE]: plans }),
      ...(fast ? { DENO_V8_FLAGS: FAST_TIER } : {}),
    },
    // Never written to: it ends when this process ends, whatever ends it, and the command with it.
    stdin: "piped",
  }).spawn();
  const watch = launcher && endWithParent(child);
  const forward = (signal: Deno.Signal) => () => {
    try {
      child.kill(signal);
    } catch { // it has ended already
    }
  };
  const handlers = STOP_SIGNALS.map((signal) => [signal, forward(signal)] as const);
  for (const [signal, handler] of handlers) Deno.addSignalListener(signal, handler);
  const { code, signal } = await child.status;
  if (launcher && signal) {
    const rest = (milliseconds: number) =>
      new Promise((resolve) => setTimeout(resolve, milliseconds));
    // MPI's library may end a rank where another one vanishes, which is the one to be named
    if (signal !== "SIGKILL") await rest(1000);
    console.error(`rank ${launcher.rank}: its process was ended by ${signal}`);
    await rest(300); // the launcher may end all without reading what is left
  }
  clearInterval(watch ?? undefined);
  for (const [signal, handler] of handlers) Deno.removeSignalListener(signal, handler);
  return code;
}

/**
 * Ends a rank when the process that started this one is gone, which may be killed for a rank's
 * failure: the other ranks, and their launcher, would wait for it for ever.
 *
 * @returns The timer that looks after it.
 */
function endWithParent(child: Deno.ChildProcess): ReturnType<typeof setInterval> {
  const parent = Deno.ppid;
  return setInterval(() => {
    if (Deno.ppid === parent) return;
    child.kill("SIGKILL");
    Deno.exit(EXIT.failed);
  }, 1000);
}

if (import.meta.main) {
  const [command = "", ...args] = Deno.args;
  if (!findCommand(command)) {
    console.error(unknownCommand(command));
    Deno.exit(EXIT.usage);
  }
  const wanted = Deno.build.arch === "x86_64" && !isSafe(args) &&
    Deno.env.get("DENO_V8_FLAGS") === undefined;
  try {
    const launcher = launcherOf(command, args);
    let code = await run(command, args, launcher, wanted);
    if (code === EXIT.unfit && wanted) code = await run(command, args, launcher, false);
    Deno.exit(code);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    console.error(`${command}: ${error.message}`);
    Deno.exit(EXIT.usage);
  }
}
