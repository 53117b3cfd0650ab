/**
 * Where tests find reference files: a few small ones live in the repository (`tests/golden`), the
 * rest in `shared/golden` beside it on machines that have them.
 */
const OWN = new URL("../tests/golden/", import.meta.url);
const SHARED = new URL("../../shared/golden/", import.meta.url);

/** Path of a reference file, or undefined where this machine does not have it. */
export function goldenPath(name: string): string | undefined {
  for (const folder of [OWN, SHARED]) {
    const url = new URL(name, folder);
    try {
      Deno.statSync(url);
      return decodeURIComponent(url.pathname);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

/** Registers a test of reference files, reported as ignored, with the reason, without them. */
export function goldenTest(
  description: string,
  files: readonly string[],
  run: (paths: string[]) => Promise<void>,
): void {
  const paths = files.map(goldenPath);
  const missing = files.filter((_, i) => paths[i] === undefined);
  Deno.test({
    name: missing.length === 0
      ? description
      : `${description} (needs golden ${missing.join(", ")})`,
    ignore: missing.length > 0,
    fn: () => run(paths as string[]),
  });
}
