/**
 * Everything that must hold before a change goes in, one check after the other, with a summary at
 * the end.
 *
 *     deno task ok             all of it
 *     deno task check          all but the tests
 *
 * The checks inherit the environment: with `DENO_V8_FLAGS` set, the tests run in the fast tier.
 */
import { readTree } from "./check_imports.ts";

const root = new URL("../", import.meta.url);

interface Config {
  readonly exports: string | Readonly<Record<string, string>>;
}

/** The files that users import, over all packages. */
async function entryPoints(): Promise<string[]> {
  const out: string[] = [];
  for (const folder of ["", "data/", "cli/"]) {
    const text = await Deno.readTextFile(new URL(`${folder}deno.json`, root));
    const { exports } = JSON.parse(text) as Config;
    const paths = typeof exports === "string" ? [exports] : Object.values(exports);
    out.push(...paths.map((path) => folder + path.replace("./", "")));
  }
  return out;
}

/** Sources whose doc comments hold examples to run; those fenced as `ts ignore` need files. */
async function withExamples(): Promise<string[]> {
  const files = [...await readTree(root)];
  return files.filter(([, text]) => /^ *\* ```ts$/m.test(text)).map(([path]) => path);
}

/** Arguments of `deno` by the name of what they check. */
const checks: Record<string, string[]> = {
  format: ["fmt", "--check", "--quiet"],
  lint: ["lint", "--quiet"],
  types: ["check", "--quiet"],
  imports: ["task", "--quiet", "imports"],
  docs: ["doc", "--quiet", "--lint", ...await entryPoints()],
  // --no-check: Deno gives an example all exports of its file, which counts as unused variables
  examples: ["test", "--quiet", "--doc", "--no-check", "-P=test", ...await withExamples()],
  package: ["publish", "--quiet", "--dry-run", "--allow-dirty"],
  tests: ["test", "--quiet", "--parallel", "--no-check", "-P=test"],
};
if (Deno.args.includes("--no-tests")) delete checks["tests"];

const lines: string[] = [];
let failed = 0;
for (const [name, args] of Object.entries(checks)) {
  const start = performance.now();
  const { success } = await new Deno.Command("deno", { args, cwd: root }).spawn().status;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  lines.push(`${success ? "ok    " : "FAILED"} ${name.padEnd(8)} ${seconds.padStart(6)} s`);
  if (!success) failed++;
}

console.log(`\n${lines.join("\n")}`);
console.log(failed === 0 ? "\nAll is well" : `\n${failed} of ${lines.length} checks failed`);
if (failed > 0) Deno.exit(1);
