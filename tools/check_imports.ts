/**
 * Checks module boundaries: which folder may import from which (layers), that a folder is imported
 * through its `mod.ts` only, that a `mod.ts` holds nothing but re-exports, that `@dit/core` has no
 * dependencies, that every imported file exists, and that there are no import
 * cycles, of types included.
 *
 *     deno task imports
 */

/** The folders of the library, and which others each may import from: the layers below it. */
export const LAYERS: Readonly<Record<string, readonly string[]>> = {
  tensor: [],
  autograd: ["tensor"],
  nn: ["tensor", "autograd"],
  dit: ["tensor", "autograd", "nn"],
  diffusion: ["tensor", "autograd", "nn"],
  vae: ["tensor", "autograd", "nn"],
  io: ["tensor"],
  inception: ["tensor", "autograd", "nn"],
  pipeline: ["tensor", "autograd", "nn", "dit", "diffusion", "vae", "io"],
  data: ["tensor", "autograd", "nn", "dit", "diffusion", "vae", "io", "pipeline"],
  web: ["tensor", "autograd", "nn", "dit", "diffusion", "vae", "io", "pipeline", "data"],
  cli: [
    "tensor",
    "autograd",
    "nn",
    "dit",
    "diffusion",
    "vae",
    "inception",
    "io",
    "pipeline",
    "data",
    "web",
  ],
};

/** Folders that are packages of their own: imported by name, and free to have dependencies. */
const PACKAGES: readonly string[] = ["data", "web", "cli"];

/** Folders for development, which are not published. They may import from everywhere. */
const DEVELOPMENT: readonly string[] = ["tests", "tools", "bench"];

/** A broken rule and where. */
export interface Problem {
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
  readonly message: string;
}

interface Import {
  readonly line: number;
  readonly specifier: string;
}

// As `deno fmt` writes them: statements start a line, and examples in comments do not.
const STATEMENT =
  /^(?:import\s*[^;"'`()=]*?\bfrom\s*|export\s+(?:type\b)?\s*(?:\{[^}]*\}|\*[\w\s]*?)\s*from\s*|import\s*)"([^"\n]+)"/gm;
const DYNAMIC = /\bimport\(\s*"([^"\n]+)"/g;
const REEXPORT = /^export\s+(?:type\s+)?(?:\{[^}]*\}|\*[\w\s]*?)(?:\s*from\s*"[^"\n]+")?;/gm;
const COMMENT = /\/\*[\s\S]*?\*\/|(?<=^|[\s;{}(,])\/\/.*$/gm;

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

/** `text` with all but line ends blanked where `pattern` matches, so that positions stay. */
function blank(text: string, pattern: RegExp): string {
  return text.replace(pattern, (match) => match.replace(/[^\n]/g, " "));
}

function importsOf(text: string): Import[] {
  const code = blank(text, COMMENT);
  return [...code.matchAll(STATEMENT), ...code.matchAll(DYNAMIC)].map((match) => ({
    line: lineAt(code, match.index),
    specifier: match[1]!,
  }));
}

/** The top folder of a file; `""` for files of the root. */
function folderOf(file: string): string {
  return file.includes("/") ? file.slice(0, file.indexOf("/")) : "";
}

/** Whether a file is not part of what is published: development folders and tests. */
function isExempt(file: string): boolean {
  return DEVELOPMENT.includes(folderOf(file)) || /_test(_util)?\.ts$/.test(file);
}

/** The file of the repository that a specifier resolves to, or undefined for a dependency. */
function targetOf(file: string, specifier: string): string | undefined {
  if (specifier.startsWith(".")) return new URL(specifier, `file:///${file}`).pathname.slice(1);
  const own = /^@dit\/(core|data|web|cli)(?:\/(.+))?$/.exec(specifier);
  if (own === null) return undefined;
  const folder = own[1] === "core" ? own[2] : own[1];
  return folder === undefined ? "mod.ts" : `${folder}/mod.ts`;
}

/** The rule that one import of a published file breaks, or undefined. */
function brokenRule(
  file: string,
  specifier: string,
  target: string | undefined,
): string | undefined {
  const from = folderOf(file);
  if (target === undefined) {
    if (PACKAGES.includes(from)) return undefined;
    if (specifier.startsWith("node:")) {
      return `imports "${specifier}": @dit/core loads in browsers too, which have no such module`;
    }
    return `imports "${specifier}": @dit/core has no dependencies`;
  }
  const to = folderOf(target);
  if (from === to && from !== "") return undefined;
  if (isExempt(target)) return `imports ${target}, which is not part of the library`;
  if (to === "") {
    return `imports ${target}: the folders of the library import each other, not its mod.ts`;
  }
  if (target !== `${to}/mod.ts`) return `imports ${target}: import ${to}/ through ${to}/mod.ts`;
  const packageOf = (folder: string) => PACKAGES.includes(folder) ? folder : "core";
  if (packageOf(from) !== packageOf(to) && specifier.startsWith(".")) {
    const name = PACKAGES.includes(to) ? `@dit/${to}` : `@dit/core/${to}`;
    return `imports ${target}: another package is imported by name, as "${name}"`;
  }
  if (from === "") {
    return PACKAGES.includes(to) ? `imports ${target}: @dit/core has no dependencies` : undefined;
  }
  if (LAYERS[from]?.includes(to)) return undefined;
  const may = LAYERS[from]?.length
    ? `only from ${LAYERS[from].join(", ")}`
    : "from no other folder";
  return `imports ${target}: ${from} may import ${may}`;
}

/** The cycles of a graph, each once, as a path that ends where it began. */
function cycles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const done = new Set<string>();
  const path: string[] = [];
  const found: string[][] = [];
  const visit = (file: string): void => {
    const start = path.indexOf(file);
    if (start >= 0) found.push([...path.slice(start), file]);
    if (start >= 0 || done.has(file)) return;
    path.push(file);
    for (const next of graph.get(file) ?? []) visit(next);
    path.pop();
    done.add(file);
  };
  for (const file of graph.keys()) visit(file);
  return found;
}

/**
 * Checks a tree of sources.
 *
 * @param files text by path relative to the repository root, with `/`
 */
export function checkImports(files: ReadonlyMap<string, string>): Problem[] {
  const problems: Problem[] = [];
  const graph = new Map<string, string[]>();
  const lines = new Map<string, number>();

  for (const [file, text] of files) {
    const folder = folderOf(file);
    if (folder !== "" && !(folder in LAYERS) && !DEVELOPMENT.includes(folder)) {
      problems.push({
        file,
        line: 1,
        message: `${folder}/ is no folder that LAYERS or DEVELOPMENT lists`,
      });
      continue;
    }
    const imported: string[] = [];
    for (const { line, specifier } of importsOf(text)) {
      const target = targetOf(file, specifier);
      if (target !== undefined && !files.has(target)) {
        problems.push({ file, line, message: `imports ${target}, which does not exist` });
        continue;
      }
      const wrong = isExempt(file) ? undefined : brokenRule(file, specifier, target);
      if (wrong !== undefined) problems.push({ file, line, message: wrong });
      if (target === undefined) continue;
      imported.push(target);
      lines.set(`${file} ${target}`, line);
    }
    graph.set(file, imported);

    if (/(^|\/)mod\.ts$/.test(file) && !isExempt(file)) {
      const rest = blank(blank(text, COMMENT), REEXPORT);
      const index = rest.search(/\S/);
      if (index < 0) continue;
      const line = lineAt(rest, index);
      problems.push({ file, line, message: "a mod.ts holds re-exports only" });
    }
  }

  for (const cycle of cycles(graph)) {
    const [file, next] = cycle as [string, string];
    const line = lines.get(`${file} ${next}`) ?? 1;
    problems.push({ file, line, message: `import cycle: ${cycle.join(" -> ")}` });
  }
  return problems;
}

/** Reads every TypeScript file below a folder, hidden folders and outputs left out. */
export async function readTree(root: URL, at = ""): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for await (const { name, isDirectory } of Deno.readDir(new URL(at, root))) {
    const path = at + name;
    if (name.startsWith(".") || name === "node_modules") continue;
    if (isDirectory) {
      for (const [file, text] of await readTree(root, `${path}/`)) files.set(file, text);
    } else if (name.endsWith(".ts")) {
      files.set(path, await Deno.readTextFile(new URL(path, root)));
    }
  }
  return new Map([...files].sort(([a], [b]) => a < b ? -1 : 1));
}

if (import.meta.main) {
  const files = await readTree(new URL("../", import.meta.url));
  const problems = checkImports(files);
  for (const { file, line, message } of problems) console.error(`${file}:${line}: ${message}`);
  console.log(`${files.size} files, ${problems.length} broken import rules`);
  if (problems.length > 0) Deno.exit(1);
}
