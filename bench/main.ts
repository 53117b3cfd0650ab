/**
 * Runs benchmarks. A suite is a file of this folder that exports a {@linkcode Suite}; `full-size` is
 * in `full_size.ts`.
 *
 *     deno task bench engine              in the safe tier and, on x86-64, in the fast one
 *     deno task bench engine --tier fast  in one of them
 *     deno task bench engine --json       and keep the figures in bench/results
 *     deno task bench options --help      the flags, those of a suite too
 *
 * `--results FOLDER` keeps them elsewhere. `--only PARTS` is for suites that have parts, `--tiny` and
 * `--seconds N` are for those that say what they do with them.
 */
import { fromFileUrl, resolve, toFileUrl } from "@std/path";
import { FAST_TIER } from "../cli/launch.ts";
import { HELP } from "../cli/shared/common_flags.ts";
import { CommandError, didYouMean, UsageError } from "../cli/shared/errors.ts";
import {
  choice,
  flagsHelp,
  type FlagTable,
  parseFlags,
  real,
  text,
  toggle,
} from "../cli/shared/flags.ts";
import { Report } from "./measure.ts";

/** What a suite may be asked for. */
export interface SuiteOptions {
  /** Everything in miniature, to see that it works. */
  readonly tiny: boolean;
  /** The parts to run, each one of the suite's {@linkcode Suite.parts}; all where it is undefined. */
  readonly only: readonly string[] | undefined;
  /** About how long it may take in all. */
  readonly seconds: number;
  /** What was given of the suite's own flags. */
  readonly given?: Readonly<Record<string, unknown>>;
}

/** What a file of this folder exports to be a suite. */
export interface Suite {
  /** Measures, and hands its tables to the report. */
  run(report: Report, options: SuiteOptions): void | Promise<void>;
  /** Whether the figures depend on the tier of the WebAssembly kernels; true when left out. */
  readonly tiered?: boolean;
  /** What `--only` may choose from, in order; a suite without it is measured as a whole. */
  readonly parts?: readonly string[];
  /** Flags of its own. */
  readonly flags?: FlagTable;
  /** What it may do beside {@linkcode PERMISSIONS}. */
  readonly permissions?: readonly string[];
}

/** V8's flags of each tier, which act on the whole process from its start; no list may be empty. */
const TIERS = {
  safe: "--no-experimental-wasm-revectorize,--wasm-bounds-checks,--no-experimental-wasm-fp16",
  fast: FAST_TIER,
} as const;

type Tier = keyof typeof TIERS;

/** What a suite may do, besides writing; the task in deno.json grants the same and `--allow-run`. */
const PERMISSIONS = ["--allow-read", "--allow-env", "--allow-ffi"];
/** Where the task may write. */
const WRITABLE = "bench/results";

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
async function runIn(
  name: string,
  suite: Suite,
  tier: Tier,
  results: URL | null,
  args: readonly string[],
): Promise<boolean> {
  const writable = [WRITABLE, ...results === null ? [] : [fromFileUrl(results)]];
  const { success } = await new Deno.Command("deno", {
    args: [
      "run",
      ...PERMISSIONS,
      `--allow-write=${writable.join()}`,
      ...suite.tiered === false ? ["--allow-run"] : [], // as in the task's own process
      ...suite.permissions ?? [],
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

/** Flags of all suites. */
const FLAGS = {
  "tier": choice(["safe", "fast"], "of the WebAssembly kernels; each in turn without it"),
  "json": toggle("keep the figures in bench/results"),
  "results": text("FOLDER", "keep them there"),
  "tiny": toggle("everything in miniature, to see that it works"),
  "only": text("PART,...", "some parts of a suite that has parts"),
  "seconds": real("about how long it may take in all"),
  "here": toggle("in this process, whatever its tier is"),
  "help": HELP,
};

/** The suites that the command line begins with, and the flags behind them. */
export async function parse(args: readonly string[]) {
  const known = await suiteNames();
  const usage = `Usage: deno task bench SUITE... [FLAGS]\nSuites: ${known.join(", ")}`;
  const first = args.findIndex((arg) => arg.startsWith("-"));
  const names = first < 0 ? args : args.slice(0, first);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(`no suite "${unknown}"${didYouMean(unknown, known)}\n${usage}`);
  }
  const suites = await Promise.all(names.map(async (name) => {
    const suite: Suite = await import(new URL(`${name.replaceAll("-", "_")}.ts`, folder).href);
    return { name, suite };
  }));
  const own: FlagTable = Object.assign({}, ...suites.map(({ suite }) => suite.flags ?? {}));
  const flags = parseFlags(args.slice(names.length), { ...own, ...FLAGS });
  if (flags.help) {
    const groups = Object.keys(own).length > 0 ? { [names.join(", ")]: own } : {};
    const parts = suites.flatMap(({ name, suite }) =>
      suite.parts === undefined ? [] : [`Parts of ${name}: ${suite.parts.join(", ")}\n`]
    );
    console.log([`${usage}\n`, ...parts, flagsHelp({ ...groups, "All suites": FLAGS })].join("\n"));
    Deno.exit(0);
  }
  if (names.length === 0) throw new UsageError(usage);
  const only = flags.only === undefined
    ? undefined
    : splitParts(flags.only, suites.flatMap(({ suite }) => suite.parts ?? []));
  if (only) suites.forEach(({ name, suite }) => checkParts(name, suite, only));
  return { suites, flags, only };
}

/** Splits what `--only` names at its commas, but for those within a name of a part. */
function splitParts(text: string, known: readonly string[]): string[] {
  const longest = known.filter((part) => `${text},`.startsWith(`${part},`))
    .reduce((a, b) => b.length > a.length ? b : a, "");
  const part = longest || text.split(",", 1)[0]!;
  return part.length === text.length
    ? [part]
    : [part, ...splitParts(text.slice(part.length + 1), known)];
}

/** Refuses parts that a suite does not have, before any is measured. */
function checkParts(name: string, { parts }: Suite, only: readonly string[]): void {
  if (parts === undefined) {
    throw new UsageError(`--only: ${name} has no parts to choose from, but got ${only.join()}`);
  }
  const unknown = only.filter((part) => !parts.includes(part));
  if (unknown.length === 0) return;
  throw new UsageError(
    `--only: expected some of ${parts.join()}, which ${name} has, but got ${
      unknown.join() || "nothing"
    }${didYouMean(unknown[0]!, parts)}`,
  );
}

/** Whether this process has the right to write there, which another would have to be given. */
export function mayWrite(results: URL | null): boolean {
  return results === null ||
    Deno.permissions.querySync({ name: "write", path: results }).state === "granted";
}

/** Runs what the command line asks for; returns whether all went well. */
async function main(args: readonly string[]): Promise<boolean> {
  const { suites, flags, only } = await parse(args);
  const { tier } = flags;
  const options: SuiteOptions = {
    tiny: flags.tiny ?? false,
    only,
    seconds: flags.seconds ?? Infinity,
    given: flags,
  };
  const results = flags.results === undefined
    ? flags.json ? new URL("results/", folder) : null
    : toFileUrl(`${resolve(flags.results)}/`);
  if (results?.pathname.includes(",")) {
    throw new UsageError(`--results: expected a path without a comma but got ${flags.results}`);
  }
  const passed = Object.entries(flags)
    .filter(([name, value]) => name !== "tier" && value !== undefined && value !== false)
    .map(([name, value]) => value === true ? `--${name}` : `--${name}=${value}`);
  let isWell = true;
  for (const { name, suite } of suites) {
    const isUntiered = suite.tiered === false;
    if (flags.here || isUntiered && mayWrite(results)) {
      await runHere(name, suite, tier ?? "safe", options, results);
      continue;
    }
    if (isUntiered) {
      if (!await runIn(name, suite, "safe", results, passed)) isWell = false;
      continue;
    }
    const both: Tier[] = Deno.build.arch === "x86_64" ? ["safe", "fast"] : ["safe"];
    for (const chosen of tier === undefined ? both : [tier]) {
      if (!await runIn(name, suite, chosen, results, passed)) isWell = false;
    }
  }
  return isWell;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args) ? 0 : 1);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    console.error(error.message);
    Deno.exit(error instanceof UsageError ? 2 : 1);
  }
}
