/** Starts ranks under the MPIs of this machine. */
import { FAST_TIER } from "../../cli/launch.ts";

/** A launcher of an MPI, as it is installed. */
export interface Mpi {
  readonly name: "Open MPI" | "MPICH";
  /** The program that starts ranks; null where there is none. */
  readonly program: string | null;
}

/** Programs of each family; where two are installed, Debian gives each a name of its own. */
const PROGRAMS = {
  "Open MPI": ["mpirun.openmpi", "mpirun"],
  "MPICH": ["mpirun.mpich", "mpirun"],
} as const;

/** What the launcher of each says of its version. */
const VERSIONS = { "Open MPI": /Open MPI|OpenRTE/, "MPICH": /HYDRA/i } as const;

/** Options that each needs on any machine: ranks may share cores, and no rank is bound to one. */
export const OPTIONS = {
  "Open MPI": ["--oversubscribe", "--bind-to", "none"],
  "MPICH": ["-bind-to", "none"],
} as const;

/** Variables that each needs in containers, where everything is root's. */
export const AS_ROOT = {
  OMPI_ALLOW_RUN_AS_ROOT: "1",
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
} as const;

/** The MPIs, installed or not. */
export async function findMpis(): Promise<Mpi[]> {
  return await Promise.all((["Open MPI", "MPICH"] as const).map(async (name) => {
    for (const program of PROGRAMS[name]) {
      if (await isOf(program, VERSIONS[name])) return { name, program };
    }
    return { name, program: null };
  }));
}

async function isOf(program: string, version: RegExp): Promise<boolean> {
  try {
    const { stdout } = await new Deno.Command(program, { args: ["--version"], stderr: "null" })
      .output();
    return version.test(new TextDecoder().decode(stdout));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    if (error instanceof Deno.errors.NotCapable) return false; // it was not there at the start
    throw error;
  }
}

/** Before a line of rank 0 that is a result. */
export const RESULT_MARK = "RESULT ";

/** Options of {@linkcode Ranks.start}. */
export interface RanksOptions {
  /** Who starts them; null for a process that is started alone. */
  readonly mpi: Mpi | null;
  readonly ranks: number;
  /** Threads of each that compute. */
  readonly threads: number;
}

/**
 * Processes that wait for jobs (see `rank.ts`), so that what is compared can be measured in turns,
 * each in its own processes.
 */
export class Ranks implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #jobs: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #errors: Promise<string>;
  readonly #name: string;

  private constructor(child: Deno.ChildProcess, name: string) {
    this.#child = child;
    this.#name = name;
    this.#jobs = child.stdin.getWriter();
    this.#lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream())
      .getReader();
    this.#errors = new Response(child.stderr).text();
  }

  /** Starts them. */
  static start({ mpi, ranks, threads }: RanksOptions): Ranks {
    const deno = ["run", "-q", "--no-check", "--allow-read", "--allow-env", "--allow-sys"];
    const program = [...deno, "--allow-ffi", new URL("rank.ts", import.meta.url).href];
    const args = [...program, String(threads)];
    const env = {
      NO_COLOR: "1",
      ...(Deno.build.arch === "x86_64" ? { DENO_V8_FLAGS: FAST_TIER } : {}),
      ...AS_ROOT,
    };
    const pipes = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
    if (mpi === null) {
      return new Ranks(new Deno.Command("deno", { args, env, ...pipes }).spawn(), "one process");
    }
    if (mpi.program === null) throw new Error(`${mpi.name} is not installed`);
    const command = new Deno.Command(mpi.program, {
      args: [...OPTIONS[mpi.name], "-n", String(ranks), "deno", ...args],
      env,
      ...pipes,
    });
    return new Ranks(command.spawn(), `${mpi.name}, ${ranks} ranks`);
  }

  /**
   * Has all ranks do something; returns what rank 0 says of it.
   *
   * @throws {Error} where they fail.
   */
  async run<Result>(job: object): Promise<Result> {
    await this.#jobs.write(new TextEncoder().encode(`${JSON.stringify(job)}\n`));
    const other: string[] = [];
    for (;;) {
      const { value, done } = await this.#lines.read();
      if (done) break;
      if (value.startsWith(RESULT_MARK)) return JSON.parse(value.slice(RESULT_MARK.length));
      other.push(value);
    }
    throw new Error(`${this.#name}: ended\n${other.join("\n")}\n${await this.#errors}`);
  }

  /** Ends them. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#jobs.close().catch(() => {}); // they have ended
    const late = setTimeout(() => this.#child.kill("SIGTERM"), PATIENCE);
    await this.#child.status;
    clearTimeout(late);
    await this.#lines.cancel();
    await this.#errors;
  }
}

/** Milliseconds that ranks have to end. */
const PATIENCE = 10_000;

/** Text in pieces to lines. */
export function lineStream(): TransformStream<string, string> {
  let rest = "";
  return new TransformStream({
    transform(text, controller) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) controller.enqueue(line);
    },
  });
}
