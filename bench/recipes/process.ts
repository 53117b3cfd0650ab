/** The processes of the recipes' table, and how they are started. */
import { FAST_TIER } from "../../cli/launch.ts";
import { lineStream, RESULT_MARK } from "../distributed/launch.ts";
import type { RecipeRow } from "./rows.ts";
import type { Timed } from "./table.ts";

/** Times steps and samples of rows. */
export interface TimingJob {
  readonly data: string;
  readonly rows: readonly RecipeRow[];
  readonly tiny: boolean;
}

/** Runs a job in a process of its own, in the fast tier where the processor has it. */
export async function runJob(job: TimingJob): Promise<Timed[]> {
  const child = new Deno.Command("deno", {
    args: [
      ...["run", "--quiet", "--no-check", "--no-prompt", "--allow-read", "--allow-env"],
      ...["--allow-sys", "--allow-ffi", new URL("worker.ts", import.meta.url).href],
      JSON.stringify(job),
    ],
    env: Deno.build.arch === "x86_64" ? { DENO_V8_FLAGS: FAST_TIER } : {},
    stdin: "null",
    stdout: "piped",
  }).spawn();
  let result: Timed[] | undefined;
  for await (
    const line of child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream())
  ) {
    if (line.startsWith(RESULT_MARK)) result = JSON.parse(line.slice(RESULT_MARK.length));
    else console.log(line);
  }
  if (result === undefined) throw new Error("recipes: the process that times rows failed");
  return result;
}

/** Runs a command to its end; returns the last line that it wrote. */
export async function task(name: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("deno", {
    args: ["task", "--quiet", name, ...args],
    cwd: new URL("../../", import.meta.url),
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (!success) {
    throw new Error(`deno task ${name} ${args.join(" ")}\n${text(stderr).slice(-2000)}`);
  }
  return text(stdout).split("\n").at(-1)!;
}
