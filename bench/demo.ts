/**
 * The main job, whole: `deno task train` with no flags, timed, and its final samples evaluated twice by
 * a classifier that is trained on real digits only: the second time it is kept from the first.
 */
import type { Report } from "./measure.ts";

/** The commands choose the tier by themselves. */
export const tiered = false;

const RESULTS = "bench/results/demo";
const ROOT = new URL("../", import.meta.url);

/** What `deno task evaluate` says, as far as it is reported. */
interface Evaluated {
  readonly accuracy: number;
  readonly frechetDistance: number;
  readonly samples: number;
  readonly nearest: { readonly ratio: number };
  readonly heldOut: { readonly accuracy: number; readonly frechetDistance: number };
}

/** Runs the suite. */
export async function run(report: Report): Promise<void> {
  await Deno.remove(new URL(RESULTS, ROOT), { recursive: true }).catch(() => {});
  const start = performance.now();
  await task("train", "--results-dir", RESULTS);
  const minutes = (performance.now() - start) / 60_000;
  report.add("deno task train, no flags", [{ minutes }]);

  const folders = Array.from(Deno.readDirSync(new URL(RESULTS, ROOT)), ({ name }) => name).sort();
  const samples = `${RESULTS}/${folders.at(-1)}/samples.npz`;
  for (const when of ["first", "second"]) {
    const begin = performance.now();
    const flags = ["--features", "classifier", "--cache", `${RESULTS}/evaluation`, "--json"];
    const found: Evaluated = JSON.parse(await task("evaluate", samples, "mnist", ...flags));
    report.add(`deno task evaluate, the ${when} time`, [{
      "seconds": (performance.now() - begin) / 1000,
      "samples": found.samples,
      "recognised, %": 100 * found.accuracy,
      "real digits recognised, %": 100 * found.heldOut.accuracy,
      "Fréchet distance": found.frechetDistance,
      "of real digits": found.heldOut.frechetDistance,
      "nearest training picture": found.nearest.ratio,
    }]);
    const { accuracy } = found.heldOut;
    if (accuracy < 0.98) {
      throw new Error(`the classifier reached ${accuracy}, expected 0.98 or more`);
    }
  }
}

/** Runs a command, whose output is shown; returns the last line of it. */
async function task(name: string, ...args: string[]): Promise<string> {
  const child = new Deno.Command("deno", {
    args: ["task", "--quiet", name, ...args],
    cwd: ROOT,
    stdout: "piped",
  }).spawn();
  let text = "";
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    await Deno.stdout.write(new TextEncoder().encode(part));
    text += part;
  }
  if (!(await child.status).success) throw new Error(`deno task ${name} failed`);
  return text.trim().split("\n").at(-1)!;
}
