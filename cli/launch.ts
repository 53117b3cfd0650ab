/**
 * Starts a command in a process of its own, with the V8 flags that suit the machine and no more
 * rights than the command line needs:
 *
 *     deno run --allow-run=deno --allow-env cli/launch.ts train --steps 100
 *
 * V8's flags act from the start of a process, so they cannot be set from inside the command. This
 * process can start others, and therefore reads nothing and computes nothing; the one that reads
 * pictures and weights can write to its results only.
 */
import { parseArgs } from "@std/cli";
import { dirname, join } from "@std/path";
import { FEATURES_OUT, RESULTS, SAMPLE_OUT, VAE_OUT } from "./shared/defaults.ts";
import { CommandError, EXIT } from "./shared/errors.ts";
import { EMOJI, MIRROR_VARIABLE, PRETRAINED_FOLDER, pretrainedHosts } from "./model/catalog.ts";

/** What a command needs beside reading. */
export interface Grants {
  /** Folders or files it writes to. */
  readonly write: readonly string[];
  /** Whether it may load native code: sharp, which decodes images, is native. */
  readonly native?: boolean;
  /** Hosts it fetches from. */
  readonly net?: readonly string[];
}

/** Flags that are paths, even those that look like numbers, and what stands without a flag. */
const TEXTS = [
  ...["out", "features-path", "results-dir", "resume", "export-demo", "dir", "data", "data-path"],
  "_",
];

/** Rights of each command by its flags. */
const COMMANDS: Readonly<Record<string, (flags: Record<string, unknown>) => Grants>> = {
  train: (flags) => ({
    write: [
      String(flags["results-dir"] ?? RESULTS),
      ...runFolder(flags["resume"]),
      ...given(flags["export-demo"]).map((file) => dirname(file)),
    ],
    // sharp reads images, and only folders of images need it
    native: flags["data"] !== undefined && flags["data"] !== "mnist" ||
      flags["data-path"] !== undefined || flags["resume"] !== undefined,
  }),
  "train-vae": (flags) => ({ write: [String(flags["out"] ?? VAE_OUT)], native: true }),
  "extract-features": (flags) => ({
    write: [String(flags["out"] ?? flags["features-path"] ?? FEATURES_OUT)],
    native: true,
  }),
  // the published weights are downloaded where they are asked for, and not otherwise
  sample: (flags) => ({
    write: [
      outFolder(flags["out"] ?? SAMPLE_OUT),
      ...given(flags["image-size"] && PRETRAINED_FOLDER),
    ],
    net: flags["image-size"] === undefined ? [] : downloadHosts(),
  }),
  // emoji come over npm and are cropped by sharp; weights come from their makers
  download: (flags) => {
    const emoji = (flags["_"] as unknown[]).includes(EMOJI);
    const folder = String(flags["dir"] ?? ".");
    return {
      write: [
        String(flags["dir"] ?? PRETRAINED_FOLDER),
        ...emoji ? [join(folder, EMOJI), join(folder, `${EMOJI}.unfinished`)] : [],
      ],
      native: emoji,
      net: downloadHosts(),
    };
  },
  export: (flags) => ({ write: given(flags["out"] && outFolder(flags["out"])) }),
};

/**
 * V8's flags of the fast tier: pairs of 128-bit instructions become 256-bit ones, where the processor
 * has them. Without effect on other processors than x86-64, so not given there: they would only
 * lose their checks.
 */
export const FAST_TIER =
  "--experimental-wasm-revectorize,--no-wasm-bounds-checks,--experimental-wasm-fp16";

/** The folder that a file goes to; a folder itself. */
function outFolder(path: unknown): string {
  return /\.\w+$/.test(String(path)) ? dirname(String(path)) : String(path);
}

function downloadHosts(): string[] {
  return pretrainedHosts(Deno.env.get(MIRROR_VARIABLE));
}

/**
 * The folder of the run that is continued, which a checkpoint in it stands for too: one that lies
 * elsewhere is continued in a new folder.
 */
function runFolder(resume: unknown): string[] {
  if (resume === "latest" || resume === "auto") return [];
  return given(resume).flatMap((path) => {
    if (!/\.safetensors$/.test(path)) return [path];
    return /(^|[\\/])checkpoints[\\/]\d{7,}\.safetensors$/.test(path) ? [join(path, "../..")] : [];
  });
}

function given(value: unknown): string[] {
  return value === undefined || value === "" ? [] : [String(value)]; // "" is refused later
}

/** A path that a list of rights can hold: Deno separates them by commas and has no other way. */
function grantable(path: string): string {
  if (!path.includes(",")) return path;
  throw new CommandError(`expected a path to write to without a comma but got "${path}"`);
}

/** Arguments of `deno` that start a command with the rights it needs. */
export function denoArguments(command: string, args: readonly string[]): string[] {
  const { write, native = false, net = [] } = COMMANDS[command]!(
    parseArgs([...args], { string: TEXTS }),
  );
  return [
    "run",
    "--quiet",
    "--no-prompt",
    "--allow-read",
    "--allow-sys=systemMemoryInfo",
    ...(write.length > 0 ? [`--allow-write=${write.map(grantable).join(",")}`] : []),
    native ? "--allow-env" : `--allow-env=DIT_LAUNCHED,${MIRROR_VARIABLE}`,
    ...(native ? ["--allow-ffi"] : []),
    ...(net.length > 0 ? [`--allow-net=${net.join(",")}`] : []),
    new URL("main.ts", import.meta.url).href,
    command,
    ...args,
  ];
}

/** Runs a command to its end, in the fast tier or not; returns its exit code. */
async function run(command: string, args: readonly string[], fast: boolean): Promise<number> {
  const child = new Deno.Command("deno", {
    args: denoArguments(command, args),
    env: {
      NODEVICE_SELECT: "1", // keeps a layer of Mesa's from complaining
      DIT_LAUNCHED: "1",
      ...(fast ? { DENO_V8_FLAGS: FAST_TIER } : {}),
    },
    // Never written to: it ends when this process ends, whatever ends it, and the command with it.
    stdin: "piped",
  }).spawn();
  const forward = (signal: Deno.Signal) => () => {
    try {
      child.kill(signal);
    } catch { // it has ended already
    }
  };
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  const handlers = signals.map((signal) => [signal, forward(signal)] as const);
  for (const [signal, handler] of handlers) Deno.addSignalListener(signal, handler);
  const { code } = await child.status;
  for (const [signal, handler] of handlers) Deno.removeSignalListener(signal, handler);
  return code;
}

if (import.meta.main) {
  const [command = "", ...args] = Deno.args;
  if (!Object.hasOwn(COMMANDS, command)) {
    console.error(`expected a command (${Object.keys(COMMANDS).join(", ")}) but got "${command}"`);
    Deno.exit(EXIT.usage);
  }
  const wanted = Deno.build.arch === "x86_64" && !args.includes("--safe-wasm") &&
    Deno.env.get("DENO_V8_FLAGS") === undefined;
  try {
    let code = await run(command, args, wanted);
    if (code === EXIT.unfit && wanted) code = await run(command, args, false);
    Deno.exit(code);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    console.error(`${command}: ${error.message}`);
    Deno.exit(EXIT.usage);
  }
}
