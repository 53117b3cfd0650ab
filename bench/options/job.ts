/** What the processes of the options' table are asked for, and how they are started and end. */
import { FAST_TIER } from "../../cli/launch.ts";
import { messageOf } from "../../cli/shared/errors.ts";
import { lineStream, RESULT_MARK } from "../distributed/launch.ts";

/** The model, its data and the device: what all rows have in common. */
export interface Setup {
  /** Such as `DiT-XL/2`. */
  readonly model: string;
  readonly batchSize: number;
  /** Side of the images in pixels. */
  readonly imageSize: number;
  /** What `--device` gets. */
  readonly device: "webgpu" | "wasm";
  /** Steps before those that are timed: kernels are compiled, memory is taken. */
  readonly warmup: number;
  /** Steps that are timed. */
  readonly steps: number;
  /** The autoencoder: `ema`, `mse` or a path. */
  readonly vae: string;
  /** Other flags of `deno task train`. */
  readonly others: readonly string[];
}

/** What may be switched on and off. */
export interface Options {
  readonly checkpointing: boolean;
  readonly mixedPrecision: boolean;
  /** Whether latents were made before; otherwise each step encodes its images. */
  readonly features: boolean;
}

/** What the flags say of it. */
export type Asked =
  & { readonly [Key in Exclude<keyof Setup, "device">]?: Setup[Key] | undefined }
  & {
    readonly device?: Setup["device"] | "auto" | undefined;
  };

/** Says what there is to measure, and makes the data. */
export interface PrepareJob {
  readonly what: "prepare";
  /** What was asked for; the rest is chosen by the device. */
  readonly asked: Asked;
  /** Where the data go. */
  readonly folder: string;
  /** Whether the autoencoder is a tiny one. */
  readonly tiny: boolean;
  /** Whether any row trains on features. */
  readonly features: boolean;
}

/** What was prepared. */
export interface Prepared {
  readonly setup: Setup;
  /** Such as `wasm (2 threads, ...)`. */
  readonly device: string;
  /** For the name of a file: `nvidia-h200`. */
  readonly machine: string;
  /** What the autoencoder is. */
  readonly vae: string;
}

/** Takes the steps of a row. */
export interface RowJob {
  readonly what: "row";
  readonly setup: Setup;
  readonly options: Options;
  /** Where the data are. */
  readonly folder: string;
}

/** What a row measured. */
export interface Measured {
  readonly stepsPerSecond: number;
  /** The most that tensors took on the device. */
  readonly tensorBytes: number;
  /** What the engine holds of the device's memory: tensors, and what it keeps to use again. */
  readonly reservedBytes: number;
  /** The most resident memory of the process; null where the system does not tell. */
  readonly residentBytes: number | null;
  /** Share of the time in which data were waited for. */
  readonly waiting: number;
  /** Mean loss of the steps that were timed. */
  readonly loss: number;
}

/** How a job ended. */
export type Ended<Result> =
  | { readonly how: "done"; readonly result: Result }
  | { readonly how: "out of memory" | "failed"; readonly reason: string };

/** Before a line that says how many steps are taken. */
export const STEP_MARK = "STEP ";

/** The end of what a process wrote to standard error, for a message. */
const SHOWN = 2000;

/** Runs a job in a process of its own, in the fast tier where the processor has it. */
export async function runJob<Result>(
  job: PrepareJob | RowJob,
  onStep: (step: number) => void = () => {},
): Promise<Ended<Result>> {
  const isShown = job.what === "prepare"; // extract-features says itself how far it is
  const rights = ["read", "env", "ffi", "sys", ...(job.what === "prepare" ? ["write"] : [])];
  const child = new Deno.Command("deno", {
    args: [
      "run",
      "--quiet",
      "--no-check",
      "--no-prompt",
      ...rights.map((right) => `--allow-${right}${right === "write" ? `=${job.folder}` : ""}`),
      new URL("worker.ts", import.meta.url).href,
      JSON.stringify(job),
    ],
    env: {
      NO_COLOR: "1",
      NODEVICE_SELECT: "1", // keeps a layer of Mesa's from complaining
      ...(Deno.build.arch === "x86_64" ? { DENO_V8_FLAGS: FAST_TIER } : {}),
    },
    stdin: "null",
    stdout: "piped",
    stderr: isShown ? "inherit" : "piped",
  }).spawn();
  const errors = isShown ? "" : new Response(child.stderr).text();
  let ended: Ended<Result> | undefined;
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream());
  for await (const line of lines) {
    if (line.startsWith(STEP_MARK)) onStep(Number(line.slice(STEP_MARK.length)));
    else if (line.startsWith(RESULT_MARK)) ended = JSON.parse(line.slice(RESULT_MARK.length));
  }
  return ended ?? endOf(await child.status, await errors);
}

/** How a process ended that said nothing of it. */
export function endOf(
  { code, signal }: Pick<Deno.CommandStatus, "code" | "signal">,
  errors: string,
): Exclude<Ended<never>, { how: "done" }> {
  if (signal === "SIGKILL" || code === 137) {
    return { how: "out of memory", reason: "the system ended the process" };
  }
  const how = /out of memory/i.test(errors) ? "out of memory" : "failed";
  return { how, reason: errors.trim().slice(-SHOWN) || `the process ended with ${code}` };
}

/** What a job says of an error that ends it. */
export function endingOf(error: unknown): Ended<never> {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause.name === "OutOfMemoryError") return { how: "out of memory", reason: cause.message };
  }
  return { how: "failed", reason: messageOf(error) };
}
