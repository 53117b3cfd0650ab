/**
 * What tests of many folders share: where reference values are, and folders to write in.
 *
 * Reference values ("goldens") were computed with the original PyTorch programs. A few small ones
 * live in the repository (`tests/golden`); the whole set, where a machine has it, in `shared/golden`
 * beside the repository.
 */
const ROOT = new URL("../", import.meta.url);

/** Whether a right was granted, without asking for it: plain `deno test` has none. */
export function granted(right: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(right).state === "granted";
}

/** An environment variable, where reading it is allowed. */
export function env(variable: string): string | undefined {
  return granted({ name: "env", variable }) ? Deno.env.get(variable) : undefined;
}

/** Why tests that read files cannot run, or undefined where they can. */
export const unreadable: string | undefined = granted({ name: "read", path: ROOT })
  ? undefined
  : "needs --allow-read";
const FOLDERS = [new URL("tests/golden/", ROOT), new URL("../shared/golden/", ROOT)];

/** Where tests may write: inside the repository, so that they need no right to write elsewhere. */
const TEMPORARY = new URL(".tmp/", ROOT);

function pathOf(url: URL): string {
  const path = decodeURIComponent(url.pathname);
  return Deno.build.os === "windows" ? path.slice(1) : path;
}

/** The path of a reference file such as `dit/dit_a.json`, or undefined where it is missing. */
export function goldenPath(file: string): string | undefined {
  if (unreadable) return undefined;
  for (const folder of FOLDERS) {
    const url = new URL(file, folder);
    try {
      Deno.statSync(url);
      return pathOf(url);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

/**
 * Registers a test that compares with reference files. Where one is missing the test is reported as
 * ignored, and its name says what it lacks.
 *
 * @param name what the test shows
 * @param files the reference files, such as `dit/dit_a.safetensors`
 * @param run gets their paths, in the order of `files`
 */
export function goldenTest(
  name: string,
  files: readonly string[],
  run: (paths: string[]) => void | Promise<void>,
): void {
  const paths = files.map((file) => goldenPath(file));
  const missing = files.filter((_, i) => paths[i] === undefined);
  Deno.test({
    name: missing.length === 0
      ? name
      : `${name} (${unreadable ?? `needs golden ${missing.join(", ")}`})`,
    ignore: missing.length > 0,
    fn: () => run(paths as string[]),
  });
}

/** A folder that goes away at the end of its block: `await using folder = await tempDir()`. */
export interface TempDir extends AsyncDisposable {
  /** Without a separator at its end. */
  readonly path: string;
}

/** Makes a new, empty folder to write in. */
export async function tempDir(): Promise<TempDir> {
  await Deno.mkdir(TEMPORARY, { recursive: true });
  const path = await Deno.makeTempDir({ dir: pathOf(TEMPORARY) });
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/**
 * Registers a test that gets the path of an empty folder to write in. Where writing or reading is
 * not allowed the test is reported as ignored, and its name says so.
 *
 * @param missing What else it lacks.
 */
export function diskTest(
  name: string,
  run: (folder: string) => Promise<void>,
  missing?: string,
): void {
  const allowed = !unreadable && granted({ name: "write", path: TEMPORARY });
  const why = allowed ? missing : "needs --allow-read and --allow-write";
  Deno.test({
    name: why === undefined ? name : `${name} (${why})`,
    ignore: why !== undefined,
    fn: async () => {
      await using folder = await tempDir();
      await run(folder.path);
    },
  });
}

/**
 * Makes links, which needs the right to write everywhere and therefore a process of its own.
 *
 * @param links where each is, and what it leads to
 */
export async function makeLinks(links: Readonly<Record<string, string>>): Promise<void> {
  const script = `for (const [path, target] of Object.entries(${JSON.stringify(links)})) {
    Deno.symlinkSync(target, path, { type: /\\.\\w+$/.test(path) ? "file" : "dir" });
  }`;
  const { success } = await new Deno.Command("deno", { args: ["eval", script], stderr: "inherit" })
    .output();
  if (!success) throw new Error("could not make links");
}
