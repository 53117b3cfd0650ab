/**
 * One JavaScript module for browsers out of a TypeScript module and all that it imports.
 *
 * Deno's own bundler resolves imports as `deno.json` has them; esbuild, as WebAssembly, then writes
 * the result for browsers that are a few years old, and shorter (the `minify` of Deno 2.9's own
 * bundler takes what `using` declares for unused, and scopes with it). Both need the right to read and no
 * other, and leave nothing on the disk but Deno's cache of npm packages: the first time, Deno takes
 * both from npm. A process that was started with `--quiet` does not say so; whoever calls this does.
 */
import type * as esbuildModule from "npm:esbuild-wasm@0.28.2/esm/browser.js";

/** A variable, so that it is downloaded only where something is bundled. */
const ESBUILD = "npm:esbuild-wasm@0.28.2";

/** Browsers must know this much: private members, top-level `await`, `Array.prototype.at`. */
const TARGET = "es2022";

/** What `using` is written with needs these, which Safari has not. */
const SYMBOLS = 'Symbol.dispose??=Symbol.for("Symbol.dispose");' +
  'Symbol.asyncDispose??=Symbol.for("Symbol.asyncDispose");';

/** What is used of `Deno.bundle`, whose types are only there where all unstable ones are. */
type Bundle = (
  options: { entrypoints: string[]; platform: "browser"; format: "esm"; write: false },
) => Promise<{
  success: boolean;
  errors: { text: string; location?: { file: string; line: number } | null }[];
  outputFiles?: { contents?: Uint8Array<ArrayBuffer> }[];
}>;

/** How a module is bundled. */
export interface BundleOptions {
  /**
   * Leaves the code as long and as new as it was written, in a third of the time: for browsers of
   * this year, and to look at.
   */
  readonly draft?: boolean;
}

/**
 * Bundles `entry` into one ES module that imports nothing, neither other files nor modules of Deno
 * or Node: what it imports by `import()` is in it too, and runs when it is first asked for.
 *
 * @param entry Address of a module on this machine's disk.
 * @throws {Error} where a module is missing or is no TypeScript, and where npm cannot be reached the
 * first time.
 */
export async function bundleModule(
  entry: URL,
  { draft = false }: BundleOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { bundle } = Deno as unknown as { bundle?: Bundle };
  if (bundle === undefined) {
    throw new Error(
      `expected Deno.bundle, which "unstable": ["bundle"] of deno.json gives, but there is none`,
    );
  }
  const { success, errors, outputFiles } = await bundle({
    entrypoints: [entry.href],
    platform: "browser",
    format: "esm",
    write: false,
  });
  const contents = outputFiles?.[0]?.contents;
  if (!success || outputFiles?.length !== 1 || contents === undefined) {
    const reasons = errors.map(({ text, location }) =>
      location ? `${location.file}:${location.line}: ${text}` : text
    );
    throw new Error(`could not bundle ${entry.href}: ${reasons.join("; ") || "no output"}`);
  }
  if (draft) return contents;
  const esbuild = await (started ??= start());
  const { code } = await esbuild.transform(contents, {
    format: "esm",
    target: TARGET,
    minify: true,
    charset: "utf8",
    legalComments: "none",
    banner: SYMBOLS,
  });
  return new TextEncoder().encode(code);
}

let started: Promise<typeof esbuildModule> | undefined;

/** Starts esbuild, once a process. */
async function start(): Promise<typeof esbuildModule> {
  const esbuild: typeof esbuildModule = await import(`${ESBUILD}/esm/browser.js`);
  const bytes = await Deno.readFile(new URL(import.meta.resolve(`${ESBUILD}/esbuild.wasm`)));
  await esbuild.initialize({ wasmModule: await WebAssembly.compile(bytes), worker: false });
  return esbuild;
}
