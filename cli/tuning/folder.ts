/** The folder that measured plans are kept in, one file a GPU. */
import { join } from "@std/path";

/** Names the folder, in place of the one below the user's cache. */
export const TUNE_VARIABLE = "DIT_TUNE_DIR";

/**
 * Where plans are kept: below the folder that the system has for what can be made again.
 *
 * @param get Reads a variable of the environment.
 * @returns Null where the system does not say.
 */
export function tuneFolder(
  get: (name: string) => string | undefined,
  os: typeof Deno.build.os = Deno.build.os,
): string | null {
  const named = get(TUNE_VARIABLE);
  if (named) return named;
  const home = get("HOME");
  const cache = os === "windows"
    ? get("LOCALAPPDATA")
    : os === "darwin"
    ? home && join(home, "Library", "Caches")
    : get("XDG_CACHE_HOME") || home && join(home, ".cache");
  return cache ? join(cache, "dit") : null;
}

/**
 * The folder that this process was told of by `launch.ts`, which gave it the right to write there.
 *
 * @returns Null where it was told of none.
 */
export function grantedTuneFolder(): string | null {
  const variable = TUNE_VARIABLE;
  if (Deno.permissions.querySync({ name: "env", variable }).state !== "granted") return null;
  return Deno.env.get(variable) || null;
}

/** The file of a GPU: `tune-nvidia-h200.json`. */
export function tuneFile(folder: string, adapter: string): string {
  const name = adapter.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  return join(folder, `tune-${name || "unnamed"}.json`);
}
