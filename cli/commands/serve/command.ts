/**
 * `deno task serve`: a studio on this machine, for its own browser and those that are let in.
 *
 *     deno task serve                        http://localhost:8000
 *     deno task serve --ckpt model.pt --device webgpu
 */
import type { SamplingFlags } from "../../model/sampling_flags.ts";
import { stopRequests } from "../../run/stop.ts";
import { CommandError } from "../../shared/errors.ts";
import { toCommandError } from "../../shared/failures.ts";
import { flagsHelp, parseFlags } from "../../shared/flags.ts";
import { OVERRIDE_FLAGS } from "../../model/overrides.ts";
import { DeviceThread } from "./device_thread.ts";
import { SERVE_FLAGS, type ServeFlags, WHAT, WHERE, WHO } from "./flags.ts";
import { Jobs } from "./jobs.ts";
import { Listener, type Server } from "./listener.ts";
import { Models } from "./models.ts";
import { Page } from "./page.ts";
import { RunFolders } from "./runs.ts";
import { Studio } from "./studio.ts";

/** How long answers have to end when the server is stopped, in milliseconds. */
const LAST_ANSWERS = 500;

const HELP =
  `Serves a studio: a page that samples, here or in the visitor's browser, and shows runs.

  deno task serve                          http://localhost:8000, for this machine only
  deno task serve --ckpt model.pt          a model of your own beside those of runs
  deno task serve --host 0.0.0.0           for everybody on your network: nobody is asked who they are

${
    flagsHelp({
      "Who is answered": WHO,
      "What is served": WHAT,
      "Where it samples": WHERE,
      "Of weights in files that do not say it": OVERRIDE_FLAGS,
    })
  }`;

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args, SERVE_FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  try {
    await serve(flags);
  } catch (error) {
    throw toCommandError(error);
  }
  return 0;
}

async function serve(flags: ServeFlags): Promise<void> {
  const { host = SERVE_FLAGS.host.default, port = SERVE_FLAGS.port.default, names = [] } = flags;
  const results = flags["results-dir"] ?? SERVE_FLAGS["results-dir"].default;
  const models = new Models({ results, ckpt: flags.ckpt, flags: samplingFlags(flags) });
  await models.checkCkpt();
  const unfit = Promise.withResolvers<never>();
  using thread = new DeviceThread({
    device: flags.device ?? SERVE_FLAGS.device.default,
    gpu: flags.gpu ?? SERVE_FLAGS.gpu.default,
    dtype: flags.half ? "f16" : "f32",
    tune: flags.tune ?? SERVE_FLAGS.tune.default,
  });
  const page = new Page();
  const studio = new Studio({
    models,
    runs: new RunFolders(results),
    thread,
    jobs: new Jobs(flags["max-queue"] ?? SERVE_FLAGS["max-queue"].default),
    page,
    names: { names, host },
    onUnfit: unfit.reject,
  });
  using stop = stopRequests(null);
  const server = new Listener((port) => listen(studio, host, port), port);
  page.prepare();
  console.log(`studio   ${addressOf(server.addr)} (Ctrl-C ends it)`);
  console.log("         its page is bundled by esbuild, which Deno takes from npm the first time");
  if (!isLoopback(host)) {
    console.log("         whoever reaches this machine can sample on it and see its runs");
  }
  try {
    await Promise.race([stop.whenRequested, unfit.promise]);
  } finally {
    studio.stop();
    await Promise.race([
      server.shutdown(),
      new Promise((resolve) => setTimeout(resolve, LAST_ANSWERS)),
    ]);
  }
}

/** @throws {CommandError} where it cannot listen there. */
function listen(studio: Studio, hostname: string, port: number): Server {
  try {
    return Deno.serve({
      hostname,
      port,
      onListen() {},
      handler: (request, info) => studio.answer(request, info),
    });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) {
      throw new CommandError(
        `--port: expected a port that is free but ${port} is taken, perhaps by another studio; ` +
          "choose another, or 0 for any",
        { cause: error },
      );
    }
    const isPort = error instanceof Deno.errors.PermissionDenied;
    if (isPort) {
      throw new CommandError(`--port ${port}: this port needs more rights; take one above 1023`);
    }
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new CommandError(`--host ${hostname}: ${(error as Error).message}`, { cause: error });
  }
}

/** Such as `http://localhost:8000/`. */
function addressOf({ hostname, port }: Server["addr"]): string {
  if (hostname === "127.0.0.1" || hostname === "::1") return `http://localhost:${port}/`;
  return `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}/`;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\./.test(host);
}

/** Those of the flags that `openSampled()` takes. */
function samplingFlags(flags: ServeFlags): SamplingFlags {
  const names = ["weights", "vae", ...Object.keys(OVERRIDE_FLAGS)] as (keyof ServeFlags)[];
  const given = names.filter((name) => flags[name] !== undefined);
  return Object.fromEntries(given.map((name) => [name, flags[name]])) as SamplingFlags;
}
