/**
 * `docs/adding.md` is true: each of its recipes is followed in a copy of the sources, with the files
 * that it lists and no others, and what was added works.
 */
import { assert, assertEquals } from "@std/assert";
import { dirname } from "@std/path";
import { readTree } from "../tools/check_imports.ts";
import type { Addition } from "./adding/addition.ts";
import { benchmark } from "./adding/benchmark.ts";
import { dataset } from "./adding/dataset.ts";
import { elementwiseOp } from "./adding/elementwise_op.ts";
import { flag } from "./adding/flag.ts";
import { kernel } from "./adding/kernel.ts";
import { process } from "./adding/process.ts";
import { sampler } from "./adding/sampler.ts";
import { trainee } from "./adding/trainee.ts";
import { commandTest } from "./commands.ts";

const ADDITIONS: readonly Addition[] = [
  elementwiseOp,
  kernel,
  sampler,
  process,
  flag,
  dataset,
  trainee,
  benchmark,
];

const root = new URL("../", import.meta.url);
/** What a copy of the sources needs beside them. */
const CONFIGURATION = ["deno.json", "cli/deno.json", "data/deno.json", "web/deno.json"];

/** The files that a recipe of docs/adding.md lists: those of the library, and those of tests. */
interface Recipe {
  readonly files: readonly string[];
  readonly tests: readonly string[];
}

/** The recipes of docs/adding.md by their headings. */
async function recipes(): Promise<Record<string, Recipe>> {
  const text = await Deno.readTextFile(new URL("docs/adding.md", root));
  const sections = text.split(/^## /m).slice(1);
  return Object.fromEntries(sections.map((section) => {
    const listed = (pattern: RegExp) => Array.from(section.matchAll(pattern), ([, file]) => file!);
    const heading = section.slice(0, section.indexOf("\n"));
    return [heading, {
      files: listed(/^\d+\. `([^`]+)`/gm),
      tests: listed(/^- `([^`]+)`/gm),
    }];
  }));
}

/** The stand-ins of @std that are linked where JSR cannot be reached; nothing where it can. */
async function linkedPackages(): Promise<Map<string, string>> {
  const linked = new URL(".std/", root);
  const files = new Map<string, string>();
  try {
    for (const [path, text] of await readTree(linked)) files.set(`.std/${path}`, text);
    for await (const { name } of Deno.readDir(linked)) {
      const path = `${name}/deno.json`;
      files.set(`.std/${path}`, await Deno.readTextFile(new URL(path, linked)));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return files;
}

/** The program that proves all additions, one after the other in a process of its own. */
function program(copy: URL): string {
  const proofs = ADDITIONS.map(({ heading, proof }) =>
    `try {\n${proof}\n} catch (error) {\n  throw new Error(${
      JSON.stringify(heading)
    }, { cause: error });\n}`
  );
  return `
import * as core from "@dit/core";
import * as data from "@dit/data";
import { COMMANDS } from "${new URL("cli/commands.ts", copy).href}";
const folder = "results";
const assert = (condition, message) => {
  if (!condition) throw new Error("expected: " + message);
};
/** A module of the copy. */
const load = (path) => import("${copy.href}" + path);
/** What a command prints. */
const run = async (command, ...args) => {
  const lines = [];
  const { log } = console;
  console.log = (...line) => lines.push(line.join(" "));
  try {
    const { run } = await load("cli/" + COMMANDS[command].module);
    await run(args);
  } finally {
    console.log = log;
  }
  return lines.join("\\n");
};
${proofs.map((proof) => `await (async () => {\n${proof}\n})();`).join("\n")}
`;
}

/** Runs `deno` in the copy and throws what it said where it fails. */
async function deno(args: readonly string[], cwd: string): Promise<void> {
  const { success, stderr, stdout } = await new Deno.Command("deno", {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  assert(success, `deno ${args[0]}: ${text.decode(stdout)}${text.decode(stderr)}`);
}

commandTest("docs/adding.md lists the files that each addition touches", async () => {
  const made = ADDITIONS.map(({ heading, files, tests = {} }) => [heading, {
    files: Object.keys(files),
    tests: Object.keys(tests),
  }]);
  assertEquals(await recipes(), Object.fromEntries(made));
});

commandTest("what docs/adding.md describes works with the files that it lists", async (folder) => {
  const files = await readTree(root);
  for (const path of CONFIGURATION) files.set(path, await Deno.readTextFile(new URL(path, root)));
  for (const [path, text] of await linkedPackages()) files.set(path, text);
  for (const { heading, files: touched, tests = {} } of ADDITIONS) {
    for (const [path, edits] of Object.entries({ ...touched, ...tests })) {
      try {
        let text = files.get(path);
        for (const edit of edits) text = edit(text, files);
        files.set(path, text!);
      } catch (error) {
        throw new Error(`${heading}: ${path}`, { cause: error });
      }
    }
  }
  for (const [path, text] of files) {
    await Deno.mkdir(`${folder}/${dirname(path)}`, { recursive: true });
    await Deno.writeTextFile(`${folder}/${path}`, text);
  }
  const copy = new URL(`${import.meta.resolve("../.tmp/")}${folder.split(/[\\/]/).at(-1)}/`);
  await Deno.writeTextFile(`${folder}/proof.ts`, program(copy));
  await deno(
    ["check", "--quiet", "mod.ts", "cli/main.ts", "cli/commands/train/command.ts"],
    folder,
  );
  await deno(["run", "--quiet", "--no-check", "--allow-all", "proof.ts"], folder);
});
