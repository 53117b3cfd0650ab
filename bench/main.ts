/**
 * Runs benchmarks. A suite is a file of this folder that exports a {@linkcode Suite}; `full-size` is
 * in `full_size.ts`.
 *
 *     deno task bench engine              in the safe tier and, on x86-64, in the fast one
 *     deno task bench engine --tier fast  in one of them
 *     deno task bench engine --json       and keep the figures in bench/results
 *
 * `--results FOLDER` keeps them elsewhere. `--tiny`, `--only PARTS` and `--seconds N` are for suites
 * that say what they do with them.
 */
import { parseArgs } from "@std/cli";
import { resolve, toFileUrl } from "@std/path";
import { FAST_TIER } from "../cli/launch.ts";
import { Report } from "./measure.ts";

/** What a suite may be asked for. */
export interface SuiteOptions {
  /** Everything in miniature, to see that it works. */
  readonly tiny: boolean;
  /** The parts to run; all where it is undefined. */
  readonly only: readonly string[] | undefined;
  /** About how long it may take in all. */
  readonly seconds: number;
}

/** What a file of this folder exports to be a suite. */
export interface Suite {
  /** Measures, and hands its tables to the report. */
  run(report: Report, options: SuiteOptions): void | Promise<void>;
  /** Whether the figures depend on the tier of the WebAssembly kernels; true when left out. */
  readonly tiered?: boolean;
}

/** V8's flags of each tier, which act on the whole process from its start; no list may be empty. */
const TIERS = {
  safe: "--no-experimental-wasm-revectorize,--wasm-bounds-checks,--no-experimental-wasm-fp16",
  fast: FAST_TIER,
} as const;

type Tier = keyof typeof TIERS;

/** What a suite may do; the task in deno.json grants the same and `--allow-run`. */
const PERMISSIONS = ["--allow-read", "--allow-env", "--allow-write=bench/results", "--allow-ffi"];

const folder = new URL("./", import.meta.url);

async function suiteNames(): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    const isSuite = name.endsWith(".ts") && !/^(main|measure)\.ts$|_test\.ts$/.test(name);
    if (isSuite) names.push(name.slice(0, -".ts".length).replaceAll("_", "-"));
  }
  return names.sort();
}

/** Runs a suite in this process; with `results` it keeps what is found as it is found. */
async function runHere(
  name: string,
  suite: Suite,
  tier: Tier,
  options: SuiteOptions,
  results: URL | null,
): Promise<void> {
  const suffix = suite.tiered === false ? "" : tier;
  console.log(`\n# ${name}${suffix && `, ${suffix} tier`}`);
  const machine = { os: Deno.build.os, arch: Deno.build.arch, deno: Deno.version.deno };
  const save = ({ machine: of, facts, tables }: Report) => {
    if (results === null) return;
    const file = [name, suffix, of ?? ""].filter(Boolean).join("-") + ".json";
    const text = JSON.stringify({ ...machine, ...facts, tables }, null, 2);
    Deno.writeTextFileSync(new URL(file, results), `${text}\n`);
  };
  if (results !== null) await Deno.mkdir(results, { recursive: true });
  await suite.run(new Report(save), options);
}

/** Runs a suite in a process of its own, which starts in a tier. */
async function runIn(name: string, tier: Tier, args: readonly string[]): Promise<boolean> {
  const { success } = await new Deno.Command("deno", {
    args: [
      "run",
      ...PERMISSIONS,
      "bench/main.ts",
      name,
      "--tier",
      tier,
      "--here",
      ...args,
    ],
    env: { DENO_V8_FLAGS: TIERS[tier] },
    cwd: new URL("../", folder),
  }).spawn().status;
  return success;
}

const flags = parseArgs(Deno.args, {
  boolean: ["json", "here", "tiny"],
  string: ["tier", "results", "only", "seconds", "_"],
});
const names = flags._.map(String);
const known = await suiteNames();
const unknown = names.filter((name) => !known.includes(name));
const tier = flags.tier;
if (names.length === 0 || unknown.length > 0 || (tier !== undefined && !(tier in TIERS))) {
  console.error(
    "Usage: deno task bench SUITE... [--tier safe|fast] [--json] [--results FOLDER]\n" +
      "         [--tiny] [--only PART,...] [--seconds N]",
  );
  console.error(`Suites: ${known.join(", ")}`);
  Deno.exit(2);
}
const options: SuiteOptions = {
  tiny: flags.tiny,
  only: flags.only?.split(","),
  seconds: Number(flags.seconds ?? Infinity),
};
const results = flags.results === undefined
  ? flags.json ? new URL("results/", folder) : null
  : toFileUrl(`${resolve(flags.results)}/`);

let failed = false;
for (const name of names) {
  const suite = await import(new URL(`${name.replaceAll("-", "_")}.ts`, folder).href) as Suite;
  if (flags.here || suite.tiered === false) {
    await runHere(name, suite, tier as Tier ?? "safe", options, results);
    continue;
  }
  const both: Tier[] = Deno.build.arch === "x86_64" ? ["safe", "fast"] : ["safe"];
  for (const chosen of tier === undefined ? both : [tier as Tier]) {
    if (!await runIn(name, chosen, flags.json ? ["--json"] : [])) failed = true;
  }
}
if (failed) Deno.exit(1);
