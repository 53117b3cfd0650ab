/**
 * The studio's page as static files, in Chromium on this machine: how long a visitor waits for the
 * first picture, and what a training step takes in the page beside the same step in Deno.
 *
 *     deno task bench page
 *     deno task bench page --tiny    a few steps of small batches, to see that it works
 */
import { fromFileUrl } from "@std/path";
import type { SuiteOptions } from "./main.ts";
import type { Report } from "./measure.ts";
import type { PageJob, PageTimes } from "./page/browse.ts";
import type { DenoJob } from "./page/deno_steps.ts";

/** Pages have the safe tier; of Deno both are measured. */
export const tiered = false;

const ROOT = new URL("../", import.meta.url);
const SITE = "bench/results/page";

/** V8's flags of the safe tier: a list of none would be no list. */
const SAFE = "--wasm-bounds-checks";

/** Runs the suite. */
export async function run(report: Report, { tiny }: SuiteOptions): Promise<void> {
  await deno(["task", "-q", "build-page", SITE]);
  const training = tiny
    ? { steps: 3, batchSize: 4, learningRate: 1e-3, seed: 0, sampleEvery: 0 }
    : { steps: 8, batchSize: 64, learningRate: 1e-3, seed: 0, sampleEvery: 0 };
  const site = fromFileUrl(new URL(SITE, ROOT));
  const job: PageJob = { site, training, drawingSteps: tiny ? 2 : null };
  const browse = new URL("page/browse.ts", import.meta.url).href;
  const times: PageTimes = await json(["run", "-q", "-P=test", browse, JSON.stringify(job)]);
  report.add(
    "the first picture, in seconds",
    times.drawings.map((row) => ({
      device: row.device,
      "page is ready": row.ready,
      "first preview": row.preview,
      "picture is finished": row.finished,
      "the next picture": row.next,
    })),
  );

  const rows = times.steps.map(({ device, seconds }) => ({ where: device, "a step, s": seconds }));
  const steps = new URL("page/deno_steps.ts", import.meta.url).href;
  for (const [tier, flags] of [["safe", SAFE], ["fast", await fastTier()]] as const) {
    if (flags === null) continue;
    for (const threads of tier === "safe" ? [1, navigator.hardwareConcurrency] : [1]) {
      const job: DenoJob = { site, training, threads };
      const { device, seconds } = await json<{ device: string; seconds: number }>(
        ["run", "-q", "-P=test", steps, JSON.stringify(job)],
        { DENO_V8_FLAGS: flags },
      );
      rows.push({ where: `Deno: ${device}`, "a step, s": seconds });
    }
  }
  report.add(`a training step of ${training.batchSize} images`, rows);
}

/** V8's flags of the fast tier; null where the processor has none. */
async function fastTier(): Promise<string | null> {
  const { FAST_TIER } = await import("../cli/launch.ts");
  return Deno.build.arch === "x86_64" ? FAST_TIER : null;
}

async function deno(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { success, stdout } = await new Deno.Command("deno", {
    args: [...args],
    cwd: ROOT,
    env: { NODEVICE_SELECT: "1", ...env },
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`deno ${args.join(" ")} failed`);
  return new TextDecoder().decode(stdout);
}

async function json<T>(args: readonly string[], env: Record<string, string> = {}): Promise<T> {
  return JSON.parse(await deno(args, env));
}
